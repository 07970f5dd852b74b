"""The tools: every public name in this folder is one tool.

To add one, drop in NAME.py (or a folder NAME/) that defines NameRequest, NameReport and a function NAME decorated
with @tool; a new folder is also a line in pyproject.toml. Names that start with an underscore are shared ground.
A tool that needs a further word on the command line (`undo` beside apply_amp_patch) declares it in NAME/command.py:
a function from its Request to its Report, decorated with @command(...). Hosts are not offered it.
"""

import importlib
import pkgutil
from pathlib import Path

from ._core.contract import Command, Tool


def load_tools() -> dict[str, Tool]:
    """Every tool by name, in the order of the folder listing."""
    return {name: getattr(importlib.import_module(f".{name}", __name__), name).tool for name in _names()}


def load_commands() -> dict[str, Command]:
    """The words that the tools' `command.py` files add to the command line, by name."""
    files = [path for name in _names() for path in Path(__path__[0]).glob(f"{name}/command.py")]
    modules = [importlib.import_module(f".{path.parent.name}.command", __name__) for path in files]
    return {
        value.name: value
        for module in modules
        for value in vars(module).values()
        if isinstance(value, Command)
    }


def _names() -> list[str]:
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))
