"""Runs one engine inside a child process: `python child.py ENGINE REQUEST REPLY PROGRESS`.

Started by worker.py under the caller's interpreter, so: Python 3.9 syntax, standard library only. ENGINE is a folder
whose __main__.py defines `answer(request, progress)`; it returns a JSON-able dict, or {"refused": {"problem", "saw",
"try_next"}} for what the caller can mend. REQUEST, REPLY and PROGRESS are files, so stdout stays the caller's own.
"""

import ctypes
import json
import os
import runpy
import signal
import sys
from typing import Optional


def die_with_parent(parent: int) -> None:
    """On Linux the kernel ends this process when the server dies, however it dies."""
    if sys.platform.startswith("linux"):
        libc = ctypes.CDLL(None)
        libc.prctl(1, signal.SIGKILL)  # 1 = PR_SET_PDEATHSIG
        libc.prctl(36, 1)  # 36 = PR_SET_CHILD_SUBREAPER: daemons stay below us, where worker.py finds them
        if os.getppid() != parent:  # it died before the call above
            os._exit(1)


def main() -> None:
    engine, request_path, reply_path, progress_path, parent = sys.argv[1:6]
    die_with_parent(int(parent))
    with open(request_path, encoding="utf-8") as file:
        request = json.load(file)

    def progress(done: float, total: Optional[float], note: str) -> None:
        with open(progress_path, "a", encoding="utf-8") as file:
            file.write(json.dumps([done, total, note]) + "\n")

    sys.argv = [engine]
    sys.path[0] = engine
    answer = runpy.run_path(os.path.join(engine, "__main__.py"), run_name="__engine__")["answer"]
    reply = answer(request, progress)
    with open(reply_path, "w", encoding="utf-8") as file:
        json.dump(reply, file)


main()
