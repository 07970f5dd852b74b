"""First settings that follow from what was found; each with its reason, none of them measured."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from .._core.machine import Accelerator, Cpu, HostMemory

_WORKERS_PER_GPU = 8  # more rarely helps one GPU and costs memory each; measure before going further
_SHM_PER_WORKER_BYTES = 256 * 1024**2  # room for the two batches that a worker prefetches


class Recommended(BaseModel):
    """Starting points; `basis` is assumed because nothing was run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    precision: Literal["bf16", "fp16", "fp32"]
    precision_reason: str
    dataloader_workers: int
    dataloader_workers_reason: str
    threads: int
    threads_reason: str
    basis: Literal["assumed"] = "assumed"


def recommend(cpu: Cpu, memory: HostMemory, accelerators: list[Accelerator]) -> Recommended:
    """Precision by what the hardware does natively, workers and threads by the cores this process may use."""
    visible = [a for a in accelerators if a.is_visible]
    precision, why = _precision(cpu, visible)
    usable = max(1, int(cpu.usable_cores or 1))
    gpus = max(1, len(visible))
    workers = max(0, min(_WORKERS_PER_GPU, usable // gpus - (1 if usable > 1 else 0)))
    reason = f"{usable} usable cores for {gpus} training process(es), one core kept for each"
    if memory.shm_bytes is not None and workers * _SHM_PER_WORKER_BYTES > memory.shm_bytes:
        workers = memory.shm_bytes // _SHM_PER_WORKER_BYTES
        reason = f"/dev/shm of {memory.shm_bytes / 2**20:.0f} MiB has room for no more"
    threads = max(1, min(usable, cpu.physical_cores or usable))
    return Recommended(
        precision=precision,
        precision_reason=why,
        dataloader_workers=workers,
        dataloader_workers_reason=reason,
        threads=threads,
        threads_reason="usable cores"
        if threads == usable
        else "physical cores; hyperthreads rarely speed up math",
    )


def _precision(cpu: Cpu, visible: list[Accelerator]) -> tuple[Literal["bf16", "fp16", "fp32"], str]:
    if not visible:
        fast = {"amx_bf16", "avx512_bf16"} & set(cpu.isa)
        if fast:
            return (
                "bf16",
                f"no visible accelerator, and the CPU computes bf16 natively ({', '.join(sorted(fast))})",
            )
        return "fp32", "no visible accelerator, and the CPU has no native bf16"
    if all(a.supports_bf16 for a in visible):
        return "bf16", f"native on {_names(visible)}"
    if any(a.supports_bf16 is None for a in visible):
        return "fp32", f"whether {_names(visible)} computes bf16 natively is unknown; try bf16 and compare"
    if all(map(_has_tensor_cores, visible)):
        return (
            "fp16",
            f"{_names(visible)} has fp16 tensor units but no native bf16; fp16 needs a gradient scaler",
        )
    return "fp32", f"{_names(visible)} has neither native bf16 nor fp16 tensor units"


def _has_tensor_cores(a: Accelerator) -> bool:
    """Volta and later, but for the GTX 16 cards, which are Turing without them."""
    return a.vendor == "nvidia" and float(a.compute_capability or 0) >= 7.0 and "GTX" not in a.name


def _names(accelerators: list[Accelerator]) -> str:
    return ", ".join(dict.fromkeys(a.name for a in accelerators))
