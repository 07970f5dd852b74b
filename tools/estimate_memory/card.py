"""The card of the question: a catalog name, a size, a CPU, or what the driver reports; and what only hardware knows."""

import re
from dataclasses import dataclass, replace
from pathlib import Path

from .._catalog.gpus import Gpu, candidates, find_gpu
from .._core.errors import ToolError
from .._core.quantity import GIB, MIB, Basis
from .._hardware.nvidia import ask_nvml, read_nvidia
from .._hardware.system import Notes, System

# Resident outside the allocator once CUDA is up: driver state and the kernels loaded so far (lazily since CUDA 11.7).
# ~300 and ~400 MB are a PyTorch maintainer's figures (pytorch issues 107667 and 109888, 2023); the high end is an
# assumption for kernel-rich models on large cards.
CONTEXT_LOW_BYTES = 300 * MIB
CONTEXT_BYTES = 400 * MIB
CONTEXT_HIGH_BYTES = 600 * MIB

# aten/src/ATen/cuda/CublasHandlePool.cpp: the default of getChosenWorkspaceSize, 32 MiB from compute capability 9.0 on.
CUBLAS_BYTES = 2 * 4096 * 1024 + 8 * 16 * 1024
CUBLAS_BYTES_SM90 = 32 * MIB

_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(GiB|GB|MiB|MB|TiB)\s*", re.IGNORECASE)
_NUMBER = re.compile(r"\s*[-+]?[\d.]+(e\d+)?\s*([KMGTP]i?B?)?\s*", re.IGNORECASE)
_LARGEST_BYTES = 1024**5
_UNITS = {"gib": GIB, "gb": 1000**3, "mib": MIB, "mb": 1000**2, "tib": 1024 * GIB}

# For a size without a name: the throughputs of an A10G-like card, good for ratios only.
_ASSUMED = {"half_flops": 70e12, "single_flops": 31e12, "bandwidth": 600e9}


@dataclass(frozen=True)
class Card:
    """What the simulation must know of a device; `memory_bytes` None means that nothing is known to fit into."""

    name: str
    kind: str  # cuda or cpu
    memory_bytes: int | None
    basis: Basis
    capability: tuple[int, int] = (8, 0)
    half_flops: float = _ASSUMED["half_flops"]
    single_flops: float = _ASSUMED["single_flops"]
    bandwidth: float = _ASSUMED["bandwidth"]
    used_bytes: int = 0  # by other processes, where the driver was asked
    free_bytes: int | None = None  # likewise
    driver: str | None = None  # its version; None where it is not the machine's own card
    visible_as: str | None = None  # what makes CUDA show this card alone; None where it is the only one
    speeds_assumed: bool = True

    def for_engine(self, expandable: bool, cublas_bytes: int | None = None) -> dict[str, object]:
        """The nouns of the engine's request; `cublas_bytes`: the workspace of cuBLAS where it was measured."""
        assumed = CUBLAS_BYTES_SM90 if self.capability >= (9, 0) else CUBLAS_BYTES
        return {
            "name": self.name,
            "memory_bytes": self.memory_bytes,
            "capability": list(self.capability),
            "bf16": self.capability >= (8, 0),
            "cublas_bytes": assumed if cublas_bytes is None else cublas_bytes,
            "expandable_segments": expandable,
            "caching": self.kind == "cuda",
            "half_flops": self.half_flops,
            "single_flops": self.single_flops,
            "bandwidth": self.bandwidth,
        }


def resolve_card(named: str | None, total_bytes: int | None = None) -> Card:
    """A catalog name, "24GiB", "cpu", or None for the machine's own GPU; without one, a card of unknown size.

    `total_bytes`, as an out-of-memory message gives it, decides between models of one name.
    """
    if named is None:
        return _own_card() or Card("a CUDA card of unknown size", "cuda", None, "assumed")
    if named.strip().lower() == "cpu":
        return Card("cpu", "cpu", None, "simulated")
    if size := _SIZE.fullmatch(named):
        memory = int(float(size[1]) * _UNITS[size[2].lower()])
        if not 0 < memory <= _LARGEST_BYTES:
            raise ToolError(
                "A card of no size holds nothing, and none holds a PiB", saw=named, try_next="24GiB"
            )
        return Card(named.strip(), "cuda", memory, "assumed")
    if _NUMBER.fullmatch(named) and not candidates(named):
        raise ToolError("This is no size of a card", saw=named, try_next="24GiB, or a name such as T4")
    several = len(candidates(named)) > 1
    decided = candidates(named, total_bytes) if several and total_bytes else []
    return _from_catalog(decided[0] if decided else find_gpu(named))


def _from_catalog(gpu: Gpu) -> Card:
    if gpu.vendor != "nvidia":
        raise ToolError(
            "Only NVIDIA cards and CPUs can be simulated", saw=gpu.name, try_next="a size such as 24GiB"
        )
    major, _, minor = (gpu.compute_capability or "8.0").partition(".")
    half = gpu.bf16_tflops or gpu.fp16_tflops
    return Card(
        name=gpu.name,
        kind="cuda",
        memory_bytes=gpu.reported_bytes or round(gpu.memory_bytes * _REPORTED_SHARE),
        basis="catalog",
        capability=(int(major), int(minor)),
        half_flops=half * 1e12 if half else _ASSUMED["half_flops"],
        single_flops=gpu.fp32_tflops * 1e12 if gpu.fp32_tflops else _ASSUMED["single_flops"],
        bandwidth=gpu.bandwidth_bytes_per_second or _ASSUMED["bandwidth"],
        speeds_assumed=False,
    )


# Driver, ECC and firmware keep part of the nominal size: the cards of the catalog that have a reported total show
# 91 % (T4) to 99 %; the share stands for those that have none.
_REPORTED_SHARE = 0.97


def _own_card() -> Card | None:
    """The visible NVIDIA GPU with the most free memory, as its driver reports it."""
    found, reply = read_nvidia(System(), False, Notes(), ask_nvml)
    usable = [gpu for gpu in found if gpu.is_visible and gpu.memory_bytes]
    if not usable:
        return None
    gpu = max(usable, key=lambda gpu: gpu.free_bytes or 0)
    known = Card(gpu.name, "cuda", gpu.memory_bytes, "measured")
    if gpu.catalog_name:
        known = _from_catalog(find_gpu(gpu.catalog_name))
    major, _, minor = (gpu.compute_capability or ".".join(map(str, known.capability))).partition(".")
    return replace(
        known,
        memory_bytes=gpu.memory_bytes,
        basis="measured",
        capability=(int(major), int(minor)),
        used_bytes=gpu.used_bytes or 0,
        free_bytes=gpu.free_bytes,
        driver=reply.get("driver") or "of unknown version",
        visible_as=None
        if gpu.is_mig_slice
        else gpu.uuid_short,  # CUDA takes the start of a whole card's name only
    )


ENGINE = Path(__file__).with_name("engine")
