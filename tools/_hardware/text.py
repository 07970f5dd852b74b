"""The hardware report in words: a short text for a model, lines for a terminal."""

from .._core.machine import Accelerator, Software
from .._core.quantity import human_bytes
from .survey import Survey

_LIMIT = 1500
_MAX_WARNINGS = 6


def brief(report: Survey) -> str:
    """The figures that decide, the first settings, and the warnings, within the limit."""
    lines = [_cpu(report), _memory(report), *_gpus(report.accelerators), _software(report.software)]
    settings = report.recommended
    lines.append(
        f"Start with {settings.precision} ({settings.precision_reason}), "
        f"{settings.dataloader_workers} data-loader workers, {settings.threads} threads (assumed, not measured)."
    )
    lines += [f"Warning: {warning}." for warning in report.warnings[:_MAX_WARNINGS]]
    text = "\n".join(lines)
    return (
        text
        if len(text) <= _LIMIT
        else text[: _LIMIT - 40].rpartition("\n")[0] + "\n... (rest in the structured result)"
    )


def readable(report: Survey) -> str:
    """Everything worth a line, under headings, with what is missing and why."""
    settings = report.recommended
    blocks = [
        ("Processor", [_cpu(report), f"instruction sets: {', '.join(report.cpu.isa) or 'none of interest'}"]),
        ("Memory", [_memory(report)]),
        ("Accelerators", _gpus(report.accelerators)),
        (
            "Disk",
            [
                f"{d.path}: {human_bytes(d.free_bytes)} of {human_bytes(d.total_bytes)} free"
                for d in report.disk
            ],
        ),
        ("Software", [_software(report.software), _limits(report)]),
        (
            "Start with (assumed, not measured)",
            [
                f"{settings.precision}: {settings.precision_reason}",
                f"{settings.dataloader_workers} data-loader workers: {settings.dataloader_workers_reason}",
                f"{settings.threads} threads: {settings.threads_reason}",
            ],
        ),
        ("Warnings", report.warnings),
        ("Not read", [f"{name}: {why}" for name, why in report.missing.items()]),
    ]
    return "\n".join(
        f"{title}\n" + "\n".join(f"  {line}" for line in lines) for title, lines in blocks if lines
    )


def _cpu(report: Survey) -> str:
    cpu = report.cpu
    why = report.sources.get("cpu.usable_cores", "unknown")
    usable = f"{cpu.usable_cores:g}" if cpu.usable_cores else "an unknown number"
    return (
        f"CPU: {cpu.model or cpu.architecture}, {usable} of {cpu.logical_cores} logical cores usable ({why})."
    )


def _memory(report: Survey) -> str:
    memory = report.memory
    if memory.usable_bytes is None or memory.total_bytes is None:
        return "Memory: could not be read."
    text = f"Memory: {human_bytes(memory.usable_bytes)} usable of {human_bytes(memory.total_bytes)}"
    text += f", limit {human_bytes(memory.limit_bytes)}" if memory.limit_bytes else ""
    text += f", /dev/shm {human_bytes(memory.shm_bytes)}" if memory.shm_bytes is not None else ""
    return text + "."


def _gpus(accelerators: list[Accelerator]) -> list[str]:
    if not accelerators:
        return ["Accelerators: none found."]
    return [_gpu(a) for a in accelerators]


def _gpu(gpu: Accelerator) -> str:
    parts = [f"GPU {gpu.index}: {gpu.name}"]
    if gpu.is_unified_memory:
        parts.append("shares the host's memory")
    elif gpu.memory_bytes is not None:
        free = human_bytes(gpu.free_bytes) if gpu.free_bytes is not None else "unknown"
        parts.append(f"{free} free of {human_bytes(gpu.memory_bytes)}")
    if gpu.compute_capability:
        parts.append(f"compute capability {gpu.compute_capability}")
    parts.append({True: "native bf16", False: "no native bf16", None: "bf16 unknown"}[gpu.supports_bf16])
    if not gpu.is_visible:
        parts.append("HIDDEN from this process")
    return ", ".join(parts) + "."


def _software(software: Software) -> str:
    if software.torch_version is None:
        return f"Software: {software.os}; no torch in {software.python}."
    build = f"CUDA {software.torch_cuda_version}" if software.torch_cuda_version else "no CUDA in the build"
    state = {True: "cuda available", None: "cuda unknown", False: "cuda not available"}[
        software.cuda_available
    ]
    why = f": {software.cuda_unavailable_reason}" if software.cuda_unavailable_reason else ""
    return f"Software: {software.os}; torch {software.torch_version} ({build}), {state}{why}."


def _limits(report: Survey) -> str:
    limits = report.limits
    inside = [
        limits.container and f"container {limits.container}",
        limits.scheduler and f"job of {limits.scheduler}",
    ]
    return f"runs in: {', '.join(name for name in inside if name) or 'no container or job that shows itself'}"
