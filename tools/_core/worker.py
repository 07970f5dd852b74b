"""The child process that runs an engine: the caller's interpreter, JSON in and out, limits, and a certain end."""

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from .contract import current_call
from .errors import ToolError
from .quantity import human_bytes

_POLL_SECONDS = 0.02
_MEMORY_SECONDS = 0.1  # between looks at the memory: each walks over all processes
_TAIL_BYTES = 2000
_SWEEPS = 50
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


@dataclass(frozen=True)
class Limits:
    """When a child is ended: its wall time, and the resident memory of its whole process tree."""

    seconds: float
    memory_bytes: int | None = None


def run(engine: Path, request: dict[str, Any], *, python: Path, limits: Limits) -> dict[str, Any]:
    """Run the engine folder under `python` and return its reply.

    Progress written by the engine reaches the caller; what the child prints does not. Raises ToolError when the
    interpreter does not start, the engine declines, a limit is passed or the child dies; whatever happens, no
    process of the child's tree survives this call.
    """
    with tempfile.TemporaryDirectory(prefix="optimizing-resources-") as scratch:
        files = {name: Path(scratch) / name for name in ("request", "reply", "progress", "log")}
        files["request"].write_text(json.dumps(request), encoding="utf-8")
        files["progress"].touch()
        command = [
            str(python),
            str(_CHILD),
            str(engine),
            *(str(files[n]) for n in ("request", "reply", "progress")),
        ]
        with files["log"].open("wb") as log:
            mark = uuid.uuid4().hex
            child = _start([*command, str(os.getpid())], mark, log)
        try:
            _wait(child, limits, files["progress"])
        finally:
            kill_tree(child, mark)
        if child.returncode != 0 or not files["reply"].exists():
            raise _death(child.returncode, _tail(files["log"]))
        reply: dict[str, Any] = json.loads(files["reply"].read_text(encoding="utf-8"))
    if refused := reply.get("refused"):
        raise ToolError(refused["problem"], saw=refused.get("saw"), try_next=refused.get("try_next", ""))
    return reply


def kill_tree(child: subprocess.Popen[bytes], mark: str) -> None:
    """End the child, what descends from it, and whatever inherited `mark`, also daemons that left group and tree."""
    family = _descendants(child.pid)
    if os.name == "posix":
        with contextlib.suppress(ProcessLookupError, PermissionError):  # the group is empty already
            os.killpg(child.pid, signal.SIGKILL)
    child.kill()
    child.wait()
    for _ in range(_SWEEPS):  # one may fork while we look
        family = [process for process in {*family, *_marked(mark)} if _is_alive(process)]
        if not family:
            return
        for process in family:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(family, timeout=_POLL_SECONDS)


def _descendants(pid: int) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).children(recursive=True)
    return []


def _is_alive(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False


def _marked(mark: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):  # gone meanwhile, or another user's
            if process.environ().get(_MARK) == mark:
                found.append(process)
    return found


def _start(command: list[str], mark: str, log: Any) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **QUIET, _MARK: mark},
            start_new_session=True,
        )
    except OSError as error:
        raise ToolError(
            "The interpreter does not start",
            saw=f"{command[0]}: {error.strerror}",
            try_next="another `python`",
        ) from error


def _wait(child: subprocess.Popen[bytes], limits: Limits, progress: Path) -> None:
    call = current_call()
    next_look, deadline = 0.0, time.monotonic() + limits.seconds
    read = 0
    while child.poll() is None:
        call.check_cancelled()
        read = _pass_on(progress, read)
        if time.monotonic() > deadline:
            raise ToolError(
                "The work did not finish in time", saw=f"{limits.seconds:g} s", try_next="a smaller input"
            )
        if limits.memory_bytes and time.monotonic() > next_look:
            next_look = time.monotonic() + _MEMORY_SECONDS
            _check_memory(child.pid, limits.memory_bytes)
        time.sleep(_POLL_SECONDS)
    _pass_on(progress, read)


def _pass_on(progress: Path, read: int) -> int:
    with progress.open("rb") as file:
        file.seek(read)
        whole, newline, _ = file.read().rpartition(b"\n")
    for line in whole.splitlines():
        done, total, note = json.loads(line)
        current_call().progress(done, total, note)
    return read + len(whole) + len(newline)


def _check_memory(pid: int, limit_bytes: int) -> None:
    if (used := _resident_bytes(pid)) > limit_bytes:
        raise ToolError(
            f"The child passed its memory limit of {human_bytes(limit_bytes)}",
            saw=human_bytes(used),
            try_next="a smaller input or a higher limit",
        )


def _resident_bytes(pid: int) -> int:
    total = 0
    with contextlib.suppress(psutil.NoSuchProcess):  # ended while we looked
        for member in [psutil.Process(pid), *_descendants(pid)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                total += member.memory_info().rss
    return total


def _tail(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
        return file.read().decode("utf-8", "replace").strip()


def _death(code: int | None, tail: str) -> ToolError:
    last = tail.splitlines()[-1] if tail else "no output"
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        hint = (
            "a smaller input or more memory"
            if name == "SIGKILL"
            else "the same code by hand in that environment"
        )
        return ToolError(f"The child process was ended by {name}", saw=last, try_next=hint)
    if "SyntaxError" in tail and "child.py" in tail:
        return ToolError("The interpreter is older than Python 3.9", saw=last, try_next="a newer `python`")
    return ToolError(
        "The code failed in the child process", saw=last, try_next="running it by hand in that environment"
    )
