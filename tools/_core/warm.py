"""Engines that a server keeps loaded, so that a second call does not import torch again.

Per interpreter and engine one process reads calls and forks a child for each (warm_child.py). A call that is cancelled,
passes a limit or leaves a process behind ends it with all that descends from it. So does the server's end, work of
another kind, and IDLE_SECONDS without a call. Only Linux has what this needs; elsewhere, and outside of servers, every
call gets a new process.
"""

import atexit
import contextlib
import subprocess
import sys
import threading
from pathlib import Path

from .process import Process, environment
from .warm_child import NOT_WARM

IDLE_SECONDS = 120.0
MOST_IDLE = 2  # each holds some 300 MB

_Key = tuple[str, str, frozenset[tuple[str, str]]]

_lock = threading.Lock()
_idle: dict[_Key, "_Engine"] = {}  # in order of their last use
_is_on = False


def keep_warm() -> None:
    """From here on this process keeps engines; for servers."""
    global _is_on
    _is_on = sys.platform == "linux"
    atexit.register(end_idle)


def keeps_warm() -> bool:
    """Whether this process keeps engines."""
    return _is_on


def end_idle(leave: int = 0) -> None:
    """End what waits for a call, but for those used last."""
    with _lock:
        keys = list(_idle)[: max(0, len(_idle) - leave)]
        engines = [_idle.pop(key) for key in keys]
    for engine in engines:
        engine.end()


class WarmCall:
    """One call of a kept engine, which is started where none waits: a child as process.py's Process is one."""

    def __init__(self, python: Path, engine: Path, folder: Path) -> None:
        self._folder = folder
        self._key: _Key = (str(python), str(engine), frozenset(environment().items()))
        with _lock:
            waiting = _idle.pop(self._key, None)
        self._engine = waiting or _Engine(python, engine)
        self._engine.ask(folder)

    @property
    def began(self) -> bool:
        """Whether the call was taken on and not declined; if not, a new process must do it."""
        return self._noted("began") is not None and self._noted("ended") != NOT_WARM

    @property
    def pid(self) -> int:
        """The process that works on the call; until there is one, that which prepares for it."""
        return self._noted("began") or self._engine.process.pid

    def poll(self) -> int | None:
        """The exit code once the call is over."""
        ended = self._noted("ended")
        return self._engine.process.poll() if ended is None else ended

    def end(self) -> None:
        """Keep the engine if the call is over and left nothing behind; else end it and all that descends from it."""
        if self._noted("ended") is not None and self._engine.process.is_alone():
            self._engine.wait_idle(self._key)
        else:
            self._engine.end()

    def _noted(self, name: str) -> int | None:
        with contextlib.suppress(FileNotFoundError):
            return int((self._folder / name).read_text(encoding="utf-8"))
        return None


class _Engine:
    """A process that has imported what an engine needs, or is about to."""

    def __init__(self, python: Path, engine: Path) -> None:
        self.process = Process(python, [str(engine)], stdin=subprocess.PIPE, output=subprocess.DEVNULL)
        self._timer: threading.Timer | None = None

    def ask(self, folder: Path) -> None:
        """Hand it a call."""
        if self._timer:
            self._timer.cancel()
        with contextlib.suppress(BrokenPipeError):  # it is gone: the call will not begin
            self.process.say(f"{folder}\n")

    def wait_idle(self, key: _Key) -> None:
        """Wait for a further call, if no other waits for the same."""
        self._timer = threading.Timer(IDLE_SECONDS, self._expire, [key])
        self._timer.daemon = True
        self._timer.start()
        with _lock:
            other = _idle.pop(key, None)
            _idle[key] = self
        if other:
            other.end()
        end_idle(leave=MOST_IDLE)

    def end(self) -> None:
        """End it with all that descends from it."""
        if self._timer:
            self._timer.cancel()
        self.process.end()

    def _expire(self, key: _Key) -> None:
        with _lock:
            if _idle.get(key) is not self:  # a call took it
                return
            del _idle[key]
        self.process.end()
