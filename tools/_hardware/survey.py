"""All readings of one machine together."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import Field

from .._core.contract import current_call
from .._core.leftovers import shared_temporary
from .._core.machine import Machine
from .cgroup import read_cgroup
from .host import read_cpu, read_disk, read_limits, read_memory
from .nvidia import ask_nvml, read_nvidia
from .other_gpus import read_apple, read_drm, read_jetson
from .recommend import Recommended, recommend
from .scheduler import read_allocation, read_container
from .software import read_software
from .system import Notes, System


class Survey(Machine):
    """A Machine, with first settings, warnings and where each reading is from."""

    recommended: Recommended
    warnings: list[str]
    sources: dict[str, str] = Field(description="Where a reading is from, by dotted field.")
    missing: dict[str, str] = Field(description="Why a reading is not there, by dotted field.")
    seconds: dict[str, float] = Field(
        description="What the probes took; nvml_init is the driver's own share."
    )


_FRESH_SECONDS = 2.0  # calls that come together share one look: its probes are child processes
_LOOK = threading.Lock()
_LAST: dict[tuple[Path, Path], tuple[float, Survey]] = {}


def survey_here(python: Path) -> Survey:
    """The readings of this machine, with the frameworks of `python` and the disks of the call's workspace and temp.

    At most _FRESH_SECONDS old.
    """
    root = current_call().workspace.root
    with _LOOK:
        taken_at, found = _LAST.get((python, root), (-_FRESH_SECONDS, None))
        if found is None or time.monotonic() - taken_at > _FRESH_SECONDS:
            found = survey(System(), python, {"workspace": root, "temp": shared_temporary()})
            _LAST.clear()
            _LAST[python, root] = time.monotonic(), found
    return found


def survey(
    system: System, python: Path, folders: dict[str, Path], ask: Callable[[], dict[str, Any]] = ask_nvml
) -> Survey:
    """The readings of one system, whose NVIDIA driver is asked by `ask`."""
    started = time.perf_counter()
    notes = Notes()
    allocation, container = read_allocation(system), read_container(system)
    cgroup = read_cgroup(system)
    limits = read_limits(system, cgroup, allocation, container, notes)
    cpu = read_cpu(system, cgroup, allocation, notes)
    memory = read_memory(system, cgroup, allocation, limits, notes)
    nvidia, nvml = read_nvidia(system, container is not None, notes, ask)
    accelerators = [
        *(nvidia or read_jetson(system, notes)),
        *read_drm(system, notes),
        *read_apple(system, notes),
    ]
    if allocation.gpus and not any(a.is_visible for a in accelerators):
        notes.warnings.append(f"{allocation.name} granted {allocation.gpus} GPU(s), but none is visible here")
    asked = time.perf_counter()
    software = read_software(system, python, accelerators, nvml, notes)
    notes.seconds["frameworks"] = round(time.perf_counter() - asked, 4)
    disk = read_disk(folders, notes)
    notes.seconds["all"] = round(time.perf_counter() - started, 4)
    return Survey(
        cpu=cpu,
        memory=memory,
        accelerators=accelerators,
        disk=disk,
        software=software,
        limits=limits,
        recommended=recommend(cpu, memory, accelerators),
        warnings=notes.warnings,
        sources=notes.sources,
        missing=notes.missing,
        seconds=notes.seconds,
    )
