"""The tools: every public name in this folder is one tool.

To add one, drop in NAME.py (or a folder NAME/) that defines NameRequest, NameReport and a function NAME decorated
with @tool; a new folder is also a line in pyproject.toml. Names that start with an underscore are shared ground.
"""

import importlib
import pkgutil

from ._core.contract import Tool


def load_tools() -> dict[str, Tool]:
    """Every tool by name, in the order of the folder listing."""
    names = sorted(
        module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_")
    )
    return {name: getattr(importlib.import_module(f".{name}", __name__), name).tool for name in names}
