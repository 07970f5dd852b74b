"""What this process may really use of the machine, not what the box has.

system       where readings come from (a tree, an environment), and their notes
host         processor, memory, disk; cgroup and scheduler hold the limits on them
nvidia       GPUs through NVML, asked in a process of its own (nvml_probe); other_gpus reads AMD, Intel, Jetson, Apple
software     the frameworks of an interpreter (engine), and why CUDA is not available there
recommend    first settings that follow; text is what people and models read
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import Field

from .._core.contract import Report, Request, current_call, tool
from .._core.interpreter import resolve_python
from .._core.machine import Accelerator, Cpu, DiskSpace, HostMemory, ResourceLimits, Software
from .cgroup import read_cgroup
from .host import read_cpu, read_disk, read_limits, read_memory
from .nvidia import ask_nvml, read_nvidia
from .other_gpus import read_apple, read_drm, read_jetson
from .recommend import Recommended, recommend
from .scheduler import read_allocation, read_container
from .software import read_software
from .system import Notes, System
from .text import brief, readable


class DetectHardwareRequest(Request):
    """Arguments of detect_hardware."""

    python: str | None = Field(
        None,
        description="Interpreter or virtual environment whose frameworks to read; default the active one.",
    )


class DetectHardwareReport(Report):
    """A Machine, with first settings, warnings and where each reading is from."""

    cpu: Cpu
    memory: HostMemory
    accelerators: list[Accelerator]
    disk: list[DiskSpace]
    software: Software
    limits: ResourceLimits
    recommended: Recommended
    warnings: list[str]
    sources: dict[str, str] = Field(description="Where a reading is from, by dotted field.")
    missing: dict[str, str] = Field(description="Why a reading is not there, by dotted field.")
    seconds: dict[str, float] = Field(
        description="What the probes took; nvml_init is the driver's own share."
    )

    def brief(self) -> str:
        return brief(self)

    def readable(self) -> str:
        return readable(self)


@tool(effect="reads")
def detect_hardware(request: DetectHardwareRequest) -> DetectHardwareReport:
    """Report what this process may really use: CPU cores, memory, GPUs, disk, limits, and what the frameworks see.

    Counts affinity, control groups and scheduler allocations. Every probe has a time limit; a stuck driver is a
    finding. Torch is imported, in a child, only where a GPU is visible. Leaves out host names and serial numbers.
    Source: references/hardware.md.
    """
    workspace = current_call().workspace
    python = resolve_python(request.python, workspace)
    return survey(System(), python, {"workspace": workspace.root, "temp": Path(tempfile.gettempdir())})


def survey(
    system: System, python: Path, folders: dict[str, Path], ask: Callable[[], dict[str, Any]] = ask_nvml
) -> DetectHardwareReport:
    """The report on one system, whose NVIDIA driver is asked by `ask`."""
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
    return DetectHardwareReport(
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
