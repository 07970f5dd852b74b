"""Where a figure comes from, and how bytes are written for people."""

from typing import Literal

Basis = Literal["measured", "simulated", "catalog", "assumed"]

KIB, MIB, GIB = 1024, 1024**2, 1024**3


def human_bytes(count: int) -> str:
    """Bytes in the binary unit people read: '1.5 GiB'."""
    size = float(count)
    for unit in ("B", "KiB", "MiB"):
        if abs(size) < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.2f} GiB"
