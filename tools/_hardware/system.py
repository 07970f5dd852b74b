"""Where readings come from. A test hands over a recorded tree and environment; the tool hands over the real ones."""

import os
import platform as host
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

_COMMAND_SECONDS = 1.0  # sysctl answers in milliseconds


def output_of(command: list[str]) -> str | None:
    """What a small system command prints, or None when it is missing, fails or hangs."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_COMMAND_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode("utf-8", "replace").strip()


@dataclass(frozen=True)
class System:
    """A machine to read: the root of its file tree, the process's environment, and what only the kernel can say."""

    root: Path = Path("/")
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    platform: str = sys.platform
    architecture: str = field(default_factory=host.machine)
    affinity: int | None = field(default_factory=lambda: _affinity())
    soft_limits: Mapping[str, int] = field(default_factory=lambda: _soft_limits())
    output_of: Callable[[list[str]], str | None] = output_of

    def read(self, path: str) -> str | None:
        """The text of a file below the root, without its last line end; None when it cannot be read."""
        try:
            return (self.root / path).read_text(encoding="utf-8", errors="replace").strip("\n\x00")
        except OSError:
            return None

    def exists(self, path: str) -> bool:
        """Whether there is something at a path below the root that this user may see."""
        return os.path.exists(self.root / path)

    def integer(self, path: str) -> int | None:
        """The whole number that a file holds; None when there is none ('max', say)."""
        text = (self.read(path) or "").strip()
        return int(text) if text.lstrip("-").isdigit() else None


@dataclass
class Notes:
    """What the readings say about themselves, by dotted field name."""

    sources: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)


def _affinity() -> int | None:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


def _soft_limits() -> dict[str, int]:
    """`ulimit -v` and `ulimit -n`, where the system has them and they limit anything."""
    if sys.platform == "win32":
        return {}
    import resource

    kinds = {"address_space": resource.RLIMIT_AS, "open_files": resource.RLIMIT_NOFILE}
    found = {name: resource.getrlimit(kind)[0] for name, kind in kinds.items()}
    return {name: limit for name, limit in found.items() if limit != resource.RLIM_INFINITY}
