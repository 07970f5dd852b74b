"""The child process that runs an engine: the caller's interpreter, JSON in and out, limits, and a certain end."""

import contextlib
import json
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .contract import current_call
from .errors import ToolError
from .process import Process, resident_bytes
from .quantity import human_bytes
from .warm import WarmCall, end_idle, keeps_warm

_POLL_SECONDS = 0.02
_MEMORY_SECONDS = 0.1  # between looks at the memory: each walks over all processes
_TAIL_BYTES = 2000
TOO_SLOW = "The work did not finish in time"


@dataclass(frozen=True)
class Limits:
    """When a child is ended: its wall time, and the resident memory of its whole process tree."""

    seconds: float
    memory_bytes: int | None = None


class _NotWarm(Exception):
    """The call was not taken on, or not as a new process would have done it."""


def run(
    engine: Path, request: dict[str, Any], *, python: Path, limits: Limits, warm: bool = False
) -> dict[str, Any]:
    """Run the engine folder under `python` and return its reply.

    Progress written by the engine reaches the caller; what the child prints does not. Raises ToolError when the
    interpreter does not start, the engine declines, a limit is passed or the child dies; whatever happens, no
    process of the child's tree survives this call. With `warm` a server keeps what the engine's `prepare()` imports;
    without, nothing kept shares the machine with the child.
    """
    if not warm:
        end_idle()
    elif keeps_warm():
        with contextlib.suppress(_NotWarm):
            return _answer(WarmCall, engine, request, python, limits)
    return _answer(_new, engine, request, python, limits)


def _new(python: Path, engine: Path, folder: Path) -> Process:
    with (folder / "log").open("wb") as log:
        return Process(python, [str(engine), str(folder)], stdin=subprocess.DEVNULL, output=log)


def _answer(
    start: Callable[[Path, Path, Path], Process | WarmCall],
    engine: Path,
    request: dict[str, Any],
    python: Path,
    limits: Limits,
) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="optimizing-resources-") as scratch:
        folder = Path(scratch)
        (folder / "request").write_text(json.dumps(request), encoding="utf-8")
        (folder / "progress").touch()
        child = start(python, engine, folder)
        try:
            code = _wait(child, limits, folder / "progress")
        finally:
            child.end()
        if not child.began:
            raise _NotWarm
        if code != 0 or not (folder / "reply").exists():
            raise _death(code, _tail(folder / "log"))
        reply: dict[str, Any] = json.loads((folder / "reply").read_text(encoding="utf-8"))
    if refused := reply.get("refused"):
        raise ToolError(refused["problem"], saw=refused.get("saw"), try_next=refused.get("try_next", ""))
    return reply


def _wait(child: Process | WarmCall, limits: Limits, progress: Path) -> int:
    """The child's exit code; raises ToolError at a limit, and whatever a cancelled call raises."""
    call = current_call()
    next_look, deadline = 0.0, time.monotonic() + limits.seconds
    read = 0
    while (code := child.poll()) is None:
        call.check_cancelled()
        read = _pass_on(progress, read)
        if time.monotonic() > deadline:
            raise ToolError(TOO_SLOW, saw=f"{limits.seconds:g} s", try_next="a smaller input")
        if limits.memory_bytes and time.monotonic() > next_look:
            next_look = time.monotonic() + _MEMORY_SECONDS
            _check_memory(child.pid, limits.memory_bytes)
        time.sleep(_POLL_SECONDS)
    _pass_on(progress, read)
    return code


def _pass_on(progress: Path, read: int) -> int:
    with progress.open("rb") as file:
        file.seek(read)
        whole, newline, _ = file.read().rpartition(b"\n")
    for line in whole.splitlines():
        done, total, note = json.loads(line)
        current_call().progress(done, total, note)
    return read + len(whole) + len(newline)


def _check_memory(pid: int, limit_bytes: int) -> None:
    if (used := resident_bytes(pid)) > limit_bytes:
        raise ToolError(
            f"The child passed its memory limit of {human_bytes(limit_bytes)}",
            saw=human_bytes(used),
            try_next="a smaller input or a higher limit",
        )


def _tail(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
        return file.read().decode("utf-8", "replace").strip()


def _death(code: int, tail: str) -> ToolError:
    last = tail.splitlines()[-1] if tail else f"exit code {code}, no output"
    if code < 0:
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
