"""The one class for what a caller can mend."""

import re

COLOURS = re.compile(
    r"\x1b\[[0-9;?]*[A-Za-z]"
)  # with which programs paint what they print; no part of a sentence


class ToolError(Exception):
    """What is wrong, what was seen, what to try; one sentence without a traceback."""

    def __init__(self, problem: str, *, saw: object = None, try_next: str = "") -> None:
        seen = "" if saw is None else f" (saw {shorten(saw)})"
        advice = f"; try {try_next}" if try_next else ""
        super().__init__(" ".join(f"{problem}{seen}{advice}.".split()))


def shorten(value: object) -> str:
    """A value as it may stand inside a sentence."""
    text = " ".join((value if isinstance(value, str) else repr(value)).split())
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")  # half a surrogate pair cannot be sent
    return text if len(text) <= 120 else text[:117] + "..."
