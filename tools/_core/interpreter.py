"""Which Python runs the caller's code."""

import os
import sys
from pathlib import Path

from .errors import ToolError
from .workspace import Workspace

_BIN = Path("Scripts/python.exe") if sys.platform == "win32" else Path("bin/python")


def resolve_python(named: str | None, workspace: Workspace) -> Path:
    """The interpreter the caller names; else the active VIRTUAL_ENV's, the workspace's .venv's, our own.

    A folder is taken as a virtual environment. A link is kept: following it would leave the environment.
    """
    if named:
        path = Path(os.path.abspath(workspace.root / os.path.expanduser(named)))
        path = path / _BIN if path.is_dir() else path
        if not (path.is_file() and os.access(path, os.X_OK)):
            raise ToolError(
                "No Python interpreter there",
                saw=named,
                try_next="the output of `which python` in your training environment",
            )
        return path
    for environment in (os.environ.get("VIRTUAL_ENV"), workspace.root / ".venv"):
        if environment and (candidate := Path(environment) / _BIN).is_file():
            return candidate
    return Path(sys.executable)
