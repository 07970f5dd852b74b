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
    names = [module.name for module in _public()]
    return {name: getattr(importlib.import_module(f".{name}", __name__), name).tool for name in names}


def load_commands() -> dict[str, Command]:
    """The words that the tools' `command.py` files add to the command line, by name."""
    packages = [module for module in _public() if _file_of_commands(module).exists()]
    modules = [importlib.import_module(f".{package.name}.command", __name__) for package in packages]
    values = [value for module in modules for value in vars(module).values()]
    return {value.name: value for value in values if isinstance(value, Command)}


def _file_of_commands(module: pkgutil.ModuleInfo) -> Path:
    return Path(module.module_finder.path, module.name, "command.py")  # type: ignore[union-attr]


def _public() -> list[pkgutil.ModuleInfo]:
    found = [module for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_")]
    return sorted(found, key=lambda module: module.name)
