"""What this process may really use of the machine, not what the box has; the readings live in _hardware."""

from pydantic import Field

from ._core.contract import Report, Request, current_call, tool
from ._core.interpreter import resolve_python
from ._core.machine import Accelerator, Cpu, DiskSpace, HostMemory, ResourceLimits, Software
from ._hardware.recommend import Recommended
from ._hardware.survey import Survey, survey_here
from ._hardware.text import brief, readable


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
        return brief(Survey(**dict(self)))

    def readable(self) -> str:
        return readable(Survey(**dict(self)))


@tool(effect="reads")
def detect_hardware(request: DetectHardwareRequest) -> DetectHardwareReport:
    """Report what this process may really use: CPU cores, memory, GPUs, disk, limits, and what the frameworks see.

    Counts affinity, control groups and scheduler allocations. Every probe has a time limit; a stuck driver is a
    finding. Torch is imported, in a child, only where a GPU is visible and its build has GPU code. Leaves out host
    names and serial numbers. Source: references/hardware.md.
    """
    return DetectHardwareReport(**dict(survey_here(resolve_python(request.python, current_call().workspace))))
