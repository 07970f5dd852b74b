"""What an out-of-memory message of PyTorch says about the card: total, what PyTorch holds, and what is outside it."""

import re
from dataclasses import dataclass

from .._core.errors import ToolError
from .._core.quantity import GIB, KIB, MIB

_UNITS = {"bytes": 1, "kib": KIB, "mib": MIB, "gib": GIB, "kb": KIB, "mb": MIB, "gb": GIB}
_AMOUNT = r"(\d+(?:\.\d+)?) (bytes|[KMG]iB|[KMG]B)"
_PATTERNS = {
    "tried": rf"Tried to allocate {_AMOUNT}",
    "total": rf"total capacity of {_AMOUNT}|{_AMOUNT} total capacity",
    "free": rf"of which {_AMOUNT} is free|{_AMOUNT} free",
    "allocated": rf"{_AMOUNT} is allocated by PyTorch|{_AMOUNT} already allocated",
    "unallocated": rf"{_AMOUNT} is reserved by PyTorch but unallocated",
    "reserved": rf"{_AMOUNT} reserved in total by PyTorch",
    "allowed": rf"{_AMOUNT} allowed",
    "process": rf"this process has {_AMOUNT} memory in use",
}


@dataclass(frozen=True)
class OutOfMemoryMessage:
    """Figures of one message, in bytes; None where it does not say."""

    tried: int | None
    total: int
    free: int | None
    allocated: int | None
    reserved: int | None
    allowed: int | None
    process: int | None

    @property
    def own_context(self) -> int | None:
        """Context and libraries of the process itself, where the message counts it apart from others."""
        return None if self.process is None or self.reserved is None else self.process - self.reserved

    @property
    def outside(self) -> int | None:
        """Context, libraries and other processes: what is taken and not PyTorch's own."""
        if self.free is None or self.reserved is None:
            return None
        return max(0, self.total - self.free - self.reserved)


def read_oom(text: str) -> OutOfMemoryMessage:
    """The figures of a CUDA out-of-memory message of torch 1.6 to now; refuses a text without a total."""
    found = {name: _bytes(pattern, text) for name, pattern in _PATTERNS.items()}
    total = found["total"]
    if total is None:
        raise ToolError(
            "`oom_text` names no total capacity",
            saw=text,
            try_next='the whole line that begins with "CUDA out of memory"',
        )
    allocated, unallocated = found["allocated"], found["unallocated"]
    reserved = found["reserved"]
    if reserved is None and allocated is not None and unallocated is not None:
        reserved = allocated + unallocated
    return OutOfMemoryMessage(
        found["tried"], total, found["free"], allocated, reserved, found["allowed"], found["process"]
    )


def _bytes(pattern: str, text: str) -> int | None:
    match = re.search(pattern, text)
    if match is None:
        return None
    amount, unit = [group for group in match.groups() if group is not None]
    return int(float(amount) * _UNITS[unit.lower()])
