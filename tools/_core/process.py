"""A process under the caller's interpreter, and its certain end with all that descends from it."""

import contextlib
import os
import signal
import subprocess
import uuid
from pathlib import Path
from typing import Any

import psutil

from .errors import ToolError

_SWEEPS = 50
_SWEEP_SECONDS = 0.02
_MARK = "OPTIMIZING_RESOURCES_CALL"  # inherited by every process of one child, so none is overlooked
_CHILD = Path(__file__).with_name("child.py")

# Libraries that phone home, and the variable with which each lets the user opt out.
QUIET = {
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "ORT_DISABLE_TELEMETRY": "1",  # ONNX Runtime 1.32 reports to its maker from Linux wheels, and leaves a file .ses
    "RAY_USAGE_STATS_ENABLED": "0",
    "SKYPILOT_DISABLE_USAGE_COLLECTION": "1",
    "NNCF_CI": "1",  # nncf/definitions.py: mocks its telemetry, which is all that it changes there
    "PYTHONUNBUFFERED": "1",
    "PYTHONHASHSEED": "0",  # a script that iterates over a set gives the same numbers in every run
}


class Process:
    """A child of ours that runs child.py under `python`, and the mark by which all that it starts is known.

    Raises ToolError when that is no interpreter.
    """

    began = True

    def __init__(self, python: Path, arguments: list[str], *, stdin: int, output: Any) -> None:
        self._mark = uuid.uuid4().hex
        try:
            self._child = subprocess.Popen(
                [str(python), str(_CHILD), str(os.getpid()), *arguments],
                stdin=stdin,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**environment(), _MARK: self._mark},
                start_new_session=True,
            )
        except OSError as error:
            raise ToolError(
                "The interpreter does not start",
                saw=f"{python}: {error.strerror}",
                try_next="another `python`",
            ) from error
        self.pid = self._child.pid

    def poll(self) -> int | None:
        """The exit code once it has ended; a signal's number below zero."""
        return self._child.poll()

    def say(self, text: str) -> None:
        """Write to its standard input, which must be a pipe."""
        assert self._child.stdin
        self._child.stdin.write(text.encode())
        self._child.stdin.flush()

    def end(self) -> None:
        """End the child, what descends from it, and what inherited its mark, also daemons that left group and tree."""
        family = descendants(self.pid)
        if os.name == "posix":
            with contextlib.suppress(ProcessLookupError, PermissionError):  # the group is empty already
                os.killpg(self.pid, signal.SIGKILL)
        self._child.kill()
        self._child.wait()
        if self._child.stdin:
            with contextlib.suppress(BrokenPipeError):
                self._child.stdin.close()
        for _ in range(_SWEEPS):  # one may fork while we look
            family = [process for process in {*family, *self._marked()} if is_alive(process)]
            if not family:
                return
            for process in family:
                with contextlib.suppress(psutil.Error):
                    process.kill()
            psutil.wait_procs(family, timeout=_SWEEP_SECONDS)

    def is_alone(self) -> bool:
        """Whether nothing that it started lives any more."""
        return not any(is_alive(process) for process in descendants(self.pid))

    def _marked(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):  # gone meanwhile, or another user's
                if process.environ().get(_MARK) == self._mark:
                    found.append(process)
        return found


def environment() -> dict[str, str]:
    """What every child of ours finds in its environment."""
    return {**os.environ, **QUIET}


def descendants(pid: int) -> list[psutil.Process]:
    """The processes below `pid`; none where it is gone."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).children(recursive=True)
    return []


def is_alive(process: psutil.Process) -> bool:
    """Whether it runs, and is no zombie."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False


def resident_bytes(pid: int) -> int:
    """The resident memory of a process and what descends from it."""
    total = 0
    with contextlib.suppress(psutil.NoSuchProcess):  # ended while we looked
        for member in [psutil.Process(pid), *descendants(pid)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                total += member.memory_info().rss
    return total
