"""The child's side of warm.py: a process that imports what an engine needs once, and forks for each call.

It reads the folders of calls from standard input, one a line. Python 3.9 syntax, standard library only. A fork is what
a new process would be: its own session, log, random state, and no descriptor of ours. What cannot be kept the same
is declined, and the server starts a new process instead.
"""

import contextlib
import ctypes
import os
import select
import signal
import sys
from collections.abc import Callable
from importlib.machinery import PathFinder
from typing import Any, Optional

Answer = Callable[[dict[str, Any], Callable[..., None]], dict[str, Any]]

NOT_WARM = 77  # the exit code of a call that is declined


def fork_for_each(load: Callable[[], dict[str, Any]], bind_to: Callable[[int], None]) -> tuple[str, Answer]:
    """Returns in a fork for each call, with the call's folder and the engine's `answer`; never here.

    Only where this process cannot be forked it returns here, once: it takes the first call itself.
    """
    calls = _Calls()
    folder = calls.next()
    if folder is None:
        sys.exit()
    _log_into(folder)
    engine = load()
    engine["prepare"]()
    if not _can_fork():
        _note(folder, "began", os.getpid())
        return folder, engine["answer"]
    imported, us = _stamps(), os.getpid()
    while folder is not None and _stamps() == imported:
        _log_into(folder)
        pid = os.fork()
        if pid == 0:
            os.setsid()
            bind_to(us)
            calls.close()
            if "numpy.random" in sys.modules:  # seeded on import; Python's own generator heeds a fork
                sys.modules["numpy.random"].seed()
            return folder, _unless_shadowed(engine["answer"])
        _note(folder, "began", pid)
        code = calls.outlive(pid)
        ctypes.CDLL(None).prctl(1, 0)  # now the pipe tells of the server's end: its thread may end before
        _redirect(os.devnull, os.O_WRONLY, 1, 2)
        _note(folder, "ended", code)
        folder = calls.next()
        _reap()
    os._exit(0)


class _Calls:
    """What the server asks of us. Nothing else reads standard input; the engine finds it empty."""

    def __init__(self) -> None:
        self._pipe = os.dup(0)  # not inherited by programs that are run
        _redirect(os.devnull, os.O_RDONLY, 0)

    def next(self) -> Optional[str]:
        """The folder of the next call; None once the server is gone."""
        line = b""
        while not line.endswith(b"\n"):
            piece = os.read(self._pipe, 4096)
            if not piece:
                return None
            line += piece
        return line[:-1].decode()

    def outlive(self, pid: int) -> int:
        """How the child ended: its exit code, or the signal's number below zero. Ends it when the server goes first."""
        handle = os.pidfd_open(pid)
        ready, _, _ = select.select([self._pipe, handle], [], [])
        os.close(handle)
        if self._pipe in ready:  # only its end can make it so: the server waits for this call
            with contextlib.suppress(ProcessLookupError):  # it has no group yet; then our end is its end
                os.killpg(pid, signal.SIGKILL)
            os._exit(1)
        status = os.waitpid(pid, 0)[1]
        return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)

    def close(self) -> None:
        """In a fork, which must neither read the server's words nor keep its pipe open."""
        os.close(self._pipe)


def _can_fork() -> bool:
    """Whether a fork finds everything as it was: no thread is left that did not heed it, as those of OpenBLAS do."""
    try:
        os.close(os.pidfd_open(os.getpid()))  # Linux 5.3
        pid = os.fork()
    except (AttributeError, OSError):
        return False
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return len(os.listdir("/proc/self/task")) == 1


def _stamps() -> dict[str, Optional[tuple[int, int, int]]]:
    """The state of all files and folders from which this process imported."""
    files = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
    config = os.path.join(sys.prefix, "pyvenv.cfg")
    return {path: _stamp(path) for path in [*files, *sys.path[1:], sys.executable, config] if path}


def _stamp(path: str) -> Optional[tuple[int, int, int]]:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _unless_shadowed(answer: Answer) -> Answer:
    """`answer`, which declines where a folder that the call adds to sys.path holds a module imported here already.

    A new process would import that one.
    """
    names = {name.partition(".")[0] for name in sys.modules} - {"__main__"}
    seen = set(sys.path)

    def look() -> None:
        added = [folder for folder in sys.path if folder not in seen]
        seen.update(added)
        for name in names if added else ():
            found = PathFinder.find_spec(name, added)
            if found and found.loader:  # a folder without __init__.py stands behind any module
                os._exit(NOT_WARM)

    def answered(request: dict[str, Any], progress: Callable[..., None]) -> dict[str, Any]:
        def say(done: float, total: Optional[float], note: str) -> None:
            look()
            progress(done, total, note)

        try:
            return answer(request, say)
        finally:
            look()

    return answered


def _reap() -> None:
    """Take leave of orphans that came to us and ended."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def _note(folder: str, name: str, value: int) -> None:
    """Tell the server, which looks for such files; it sees each whole or not at all."""
    path = os.path.join(folder, name)
    with open(path + ".new", "w", encoding="utf-8") as file:
        file.write(str(value))
    os.replace(path + ".new", path)


def _log_into(folder: str) -> None:
    _redirect(os.path.join(folder, "log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 1, 2)


def _redirect(path: str, flags: int, *descriptors: int) -> None:
    opened = os.open(path, flags)
    for descriptor in descriptors:
        os.dup2(opened, descriptor)
    os.close(opened)
