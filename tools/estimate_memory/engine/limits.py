"""Ends the caller's code in time and before it takes the machine's memory, where it can still be said at which line."""

import contextlib
import signal
import threading
import time

from .fake import Declined
from .load import line_in_callers_file

END_SHARE = (
    0.9  # of the time limit, after which the step is interrupted; worker.py ends this process at the whole
)


class TimeUp(BaseException):
    """The time limit is near; not an Exception, so that the caller's code does not swallow it."""


def watch(seconds, began, memory_bytes):
    """From now on: TimeUp in the main thread in time, MemoryError beyond the limit, no waiting for stray threads.

    `began`: when the time began to run, on the monotonic clock.
    """
    threading._shutdown = lambda: None  # called at exit, to wait for threads that make_step left behind
    if hasattr(signal, "SIGALRM"):
        signal.signal(signal.SIGALRM, _interrupt)
        signal.setitimer(signal.ITIMER_REAL, max(0.01, began + END_SHARE * seconds - time.monotonic()))
    with contextlib.suppress(
        ImportError, ValueError, OSError
    ):  # no such limit on this system, or a lower one is set
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, resource.getrlimit(resource.RLIMIT_DATA)[1]))


def _interrupt(number, frame):
    raise TimeUp


def too_late(error, seconds):
    """The refusal of a step that was interrupted."""
    line = line_in_callers_file(error)
    return Declined(
        "The step did not finish in time",
        f"{END_SHARE * seconds:g} s{f', at {line}' if line else ''}",
        "a smaller model or input, or a higher `max_seconds`; a loop that waits for a value never ends here",
    )
