"""Runs one engine inside a child process: `python child.py PARENT ENGINE [CALL]`.

Started by process.py under the caller's interpreter, so: Python 3.9 syntax, standard library only. ENGINE is a folder
whose __main__.py defines `answer(request, progress)`; it returns a JSON-able dict, or {"refused": {"problem", "saw",
"try_next"}} for what the caller can mend. CALL is a folder of files (request, reply, progress, log), so stdout stays
the caller's own. PARENT is the process that started us. Without CALL we stay warm and fork for each: warm_child.py.
"""

import atexit
import contextlib
import ctypes
import json
import os
import runpy
import signal
import sys
from collections.abc import Callable
from typing import Any, Optional


def bind_to(parent: int) -> None:
    """On Linux the kernel ends this process when `parent` does, however that ends."""
    if sys.platform.startswith("linux"):
        libc = ctypes.CDLL(None)
        libc.prctl(1, signal.SIGKILL)  # 1 = PR_SET_PDEATHSIG
        libc.prctl(36, 1)  # 36 = PR_SET_CHILD_SUBREAPER: daemons stay below us, where process.py finds them
        if os.getppid() != parent:  # it died before the call above
            os._exit(1)


def loaded(engine: str) -> dict[str, Any]:
    """What the engine's __main__.py defines."""
    return runpy.run_path(os.path.join(engine, "__main__.py"), run_name="__engine__")


def reply(folder: str, answer: Callable[..., Any]) -> None:
    """Answer the request in the folder of a call."""

    def progress(done: float, total: Optional[float], note: str) -> None:
        with open(os.path.join(folder, "progress"), "a", encoding="utf-8") as file:
            file.write(json.dumps([done, total, note]) + "\n")

    with open(os.path.join(folder, "request"), encoding="utf-8") as file:
        request = json.load(file)
    answered = answer(request, progress)
    with open(os.path.join(folder, "reply"), "w", encoding="utf-8") as file:
        json.dump(answered, file)


def leave() -> None:
    """End without taking every module apart, which with torch takes as long as an answer. A reply is there already."""
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(
            AttributeError, OSError, ValueError
        ):  # the caller's code put another there, or none
            stream.flush()
    os._exit(0)


def main() -> None:
    parent, engine, *folders = sys.argv[1:]
    bind_to(int(parent))
    sys.argv = [engine]
    sys.path[0] = engine
    if folders:
        reply(folders[0], loaded(engine)["answer"])
    else:
        beside = os.path.join(os.path.dirname(os.path.abspath(__file__)), "warm_child.py")
        fork_for_each = runpy.run_path(beside)["fork_for_each"]
        reply(*fork_for_each(lambda: loaded(engine), bind_to))
    leave()


main()
