"""From the words a caller gives to the command that is started: interpreter, script, environment."""

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from .._core.errors import ToolError

_ENGINE = Path(__file__).with_name("engine")
_PYTHONS = {"python", "python3", "python.exe"}


@dataclass(frozen=True)
class Launch:
    """A command that is ready to start."""

    command: list[str]
    cwd: Path
    environment: dict[str, str]
    python: Path
    script: Path | None  # the program's own file, where the command names one
    words: list[str]  # the command as the ledger keeps it
    inputs: dict[Path, int]  # files that the words name, with the time they were last written before the run


def prepare(command: list[str], *, python: Path, cwd: Path, max_steps: int | None) -> Launch:
    """The command under `python`: a bare `python` or a .py file runs with it, other programs find its folder first.

    Raises ToolError when the program or the script is not there.
    """
    path = os.pathsep.join([str(python.parent), os.environ.get("PATH", "")])
    first, *rest = command
    program = next((word for word in rest if not word.startswith("-")), "") if first in _PYTHONS else first
    if program.endswith(".ipynb"):  # it parses as Python, and would run in no time
        raise ToolError(
            "A notebook is no program",
            saw=program,
            try_next=f"jupyter nbconvert --to script {program}, then python {Path(program).with_suffix('.py').name}",
        )
    if first in _PYTHONS:
        command = [str(python), *rest]
    elif first.endswith(".py") and (cwd / first).is_file():
        command = [str(python), *command]
    else:
        command = [_program(first, cwd, path), *rest]
    script = _script(command, cwd)
    environment = {
        "PATH": path,
        "PYTHONPATH": os.pathsep.join(
            [str(_ENGINE / "start_hook"), *filter(None, [os.environ.get("PYTHONPATH")])]
        ),
        "OPTIMIZING_RESOURCES_MAX_STEPS": str(max_steps or 0),
    }
    return Launch(command, cwd, environment, python, script, command, _inputs(command[1:], cwd))


def _program(name: str, cwd: Path, path: str) -> str:
    found = shutil.which(name, path=path) if os.sep not in name else shutil.which(str(cwd / name))
    if found is None:
        raise ToolError(
            "Command not found",
            saw=name,
            try_next='its full path, or ["python", "script.py", ...] as a list of words',
        )
    return found


def _script(command: list[str], cwd: Path) -> Path | None:
    """The first Python file among the words; refused when `python FILE` names one that is not there."""
    words = [word for word in command[1:] if not word.startswith("-")]
    script = next((cwd / word for word in words if word.endswith(".py")), None)
    direct = len(command) > 1 and command[1].endswith(".py")
    if script and direct and not script.is_file():
        raise ToolError("No such script", saw=command[1], try_next=f"a path relative to {cwd}")
    return script if script and script.is_file() else None


def _inputs(words: list[str], cwd: Path) -> dict[Path, int]:
    paths = [cwd / word.rpartition("=")[2] for word in words if len(word) < 4096]
    return {path: path.stat().st_mtime_ns for path in paths if path.is_file()}


def own_python() -> Path:
    """Our interpreter, which runs the supervisor."""
    return Path(sys.executable)
