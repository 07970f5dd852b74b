"""The instructions of this processor, and the one a file is meant for."""

import platform
import re
from pathlib import Path

from .._core.contract import ToolError
from .plan import Target
from .profiles import ISAS, Profile

_CPUINFO = Path("/proc/cpuinfo")


def host_flags() -> set[str]:
    """Instruction set flags by the kernel's names; empty where the system has no /proc/cpuinfo."""
    if not _CPUINFO.exists():
        return set()
    text = _CPUINFO.read_text(encoding="utf-8", errors="replace")
    found = re.search(r"^(?:flags|Features)\s*:\s*(.*)$", text, flags=re.M)
    return set(found.group(1).split()) if found else set()


def host_isa(flags: set[str]) -> str:
    """The coarse class that decides how int8 behaves."""
    if platform.machine().lower() in ("aarch64", "arm64"):
        return "arm_dotprod" if "asimddp" in flags or not flags else "arm_neon"
    return "avx512_vnni" if flags & {"avx512_vnni", "avx_vnni"} else "avx2"


def find_target(named: str | None, profile: Profile | None) -> tuple[Target, bool]:
    """The target, and whether figures taken here are only assumed to hold there."""
    flags = host_flags()
    here = host_isa(flags)
    wanted = named or (profile.isa if profile else "host")
    if wanted not in ISAS:
        raise ToolError("Unknown target_isa", saw=wanted, try_next=", ".join(ISAS))
    isa = here if wanted == "host" else wanted
    has_bf16 = isa == here and bool(flags & {"avx512_bf16", "amx_bf16", "bf16"})
    return Target(isa, has_bf16, isa == here), isa != here
