"""Ends the caller's code in time and before it takes the machine's memory, where it can still be said at which line."""

import contextlib
import signal
import sys
import time

from .fake import Declined
from .load import is_a_script, line_in_callers_file

REST_SECONDS = 4.0  # of the limit, kept for starting and ending; worker.py ends this process at the whole
REPEAT_SECONDS = 0.2  # until it is heard


class TimeUp(BaseException):
    """The time limit is near; not an Exception, so that the caller's code does not swallow it."""


def watch(seconds, began, memory_bytes):
    """From now on: TimeUp in the main thread in time, MemoryError beyond the limit.

    `began`: when the time began to run, on the monotonic clock.
    """
    if hasattr(signal, "SIGALRM"):
        signal.signal(signal.SIGALRM, _interrupt)
        first = max(0.01, began + _until(seconds) - time.monotonic())
        signal.setitimer(signal.ITIMER_REAL, first, REPEAT_SECONDS)
    with contextlib.suppress(ImportError, ValueError, OSError):  # no such limit here, or a lower one is set
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, resource.getrlimit(resource.RLIMIT_DATA)[1]))


def _until(seconds):
    return max(seconds / 2, min(0.9 * seconds, seconds - REST_SECONDS))


def heard():
    """TimeUp has arrived: no more of them."""
    if hasattr(signal, "SIGALRM"):
        signal.setitimer(signal.ITIMER_REAL, 0)


def _interrupt(number, frame):
    """At a line of the caller's, this or the next: inside a callback of torch it would be lost, or end the process."""
    if is_a_script(frame.f_code.co_filename.replace("\\", "/")):  # it waits, as in sleep()
        raise TimeUp
    while frame is not None and not is_a_script(frame.f_code.co_filename.replace("\\", "/")):
        frame = frame.f_back
    if frame is not None:
        frame.f_trace = _end
        sys.settrace(lambda *event: None)  # without any, the frame's own is not asked


def _end(frame, event, argument):
    sys.settrace(None)
    raise TimeUp


def too_late(error, seconds):
    """The refusal of a step that was interrupted."""
    line = line_in_callers_file(error)
    return Declined(
        "The step did not finish in time",
        f"{_until(seconds):g} s{f', at {line}' if line else ''}",
        "a smaller model or input, or a higher `max_seconds`; a loop that waits for a value never ends here",
    )
