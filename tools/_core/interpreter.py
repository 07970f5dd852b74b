"""Which Python runs the caller's code."""

import os
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

from .errors import ToolError
from .workspace import Workspace

_BIN = Path("Scripts/python.exe") if sys.platform == "win32" else Path("bin/python")
_ANSWER_SECONDS = 20


def resolve_python(named: str | None, workspace: Workspace) -> Path:
    """The interpreter the caller names; else the active VIRTUAL_ENV's, the workspace's .venv's, our own.

    A folder is taken as a virtual environment. A link is kept: following it would leave the environment.
    """
    if named:
        path = Path(os.path.abspath(workspace.root / os.path.expanduser(named)))
        path = path / _BIN if path.is_dir() else path
        if not (path.is_file() and os.access(path, os.X_OK) and _is_python(path, path.stat().st_mtime_ns)):
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


@lru_cache(maxsize=64)
def _is_python(path: Path, modified_ns: int) -> bool:
    """Whether the program runs Python: /bin/true would "finish" any script. `modified_ns` is for the cache alone."""
    try:
        done = subprocess.run(
            [str(path), "-I", "-S", "-c", "print(6 * 7)"], capture_output=True, timeout=_ANSWER_SECONDS
        )
    except subprocess.TimeoutExpired as error:  # raised, so that the cache does not keep it
        saw = f"{path} after {_ANSWER_SECONDS} s"
        raise ToolError("The interpreter does not answer", saw=saw, try_next="again, or another") from error
    except OSError:
        return False
    return done.stdout.strip() == b"42"
