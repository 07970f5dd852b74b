"""Processor, memory, disk and the limits on them: what this process may really use."""

import os
import re
import shutil
from pathlib import Path
from typing import Any

import psutil

from .._core.machine import Cpu, DiskSpace, HostMemory, ResourceLimits
from .cgroup import Cgroup
from .scheduler import Allocation
from .system import Notes, System

# Extensions that decide which CPU kernels an inference runtime picks (oneDNN's list of ISA levels; XNNPACK on ARM).
_ISA = {
    *("f16c", "fma", "avx", "avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16"),
    *("amx_tile", "amx_int8", "amx_bf16", "amx_fp16"),
    *("asimd", "asimdhp", "asimddp", "bf16", "i8mm", "sve", "sve2"),
}
_APPLE_ISA = {"FEAT_DotProd": "asimddp", "FEAT_BF16": "bf16", "FEAT_I8MM": "i8mm", "FEAT_SME": "sme"}


def read_limits(
    system: System, cgroup: Cgroup, allocation: Allocation, container: str | None, notes: Notes
) -> ResourceLimits:
    """Everything that keeps this process from the whole machine."""
    visible = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ZE_AFFINITY_MASK")
    shown = [f"{name}={system.environ[name]}" for name in visible if name in system.environ]
    if cgroup.version is None:
        notes.missing["limits.cgroup_version"] = "no control groups are mounted here"
    if cgroup.memory_source:
        notes.sources["limits.cgroup_memory_bytes"] = f"/{cgroup.memory_source}"
    if cgroup.cpu_source:
        notes.sources["limits.cgroup_cpu_cores"] = f"/{cgroup.cpu_source}"
    if system.affinity is None:
        notes.missing["limits.affinity_cores"] = (
            f"{system.platform} does not say which cores a process may use"
        )
    return ResourceLimits(
        container=container,
        scheduler=allocation.name,
        cgroup_version=cgroup.version,
        cgroup_memory_bytes=cgroup.memory_bytes,
        cgroup_cpu_cores=cgroup.cpu_cores,
        affinity_cores=system.affinity,
        scheduler_cpu_cores=allocation.cpu_cores,
        scheduler_memory_bytes=allocation.memory_bytes,
        scheduler_gpus=allocation.gpus,
        visible_devices=" ".join(shown) or None,
        address_space_bytes=system.soft_limits.get("address_space"),
        open_files=system.soft_limits.get("open_files"),
    )


def read_cpu(system: System, cgroup: Cgroup, allocation: Allocation, notes: Notes) -> Cpu:
    """Model, cores, and how many of them this process may use."""
    if system.platform == "linux":
        seen = _linux_cpu(system)
        source = "/proc/cpuinfo"
    elif system.platform == "darwin":
        seen = _mac_cpu(system)
        source = "sysctl"
    else:
        seen = {
            "model": system.environ.get("PROCESSOR_IDENTIFIER"),
            "physical_cores": psutil.cpu_count(logical=False),
        }
        seen["logical_cores"] = psutil.cpu_count()
        source = "the operating system"
        notes.missing["cpu.isa"] = f"no reading of instruction sets on {system.platform}"
    notes.sources["cpu"] = source
    cores = {
        "affinity": system.affinity or seen["logical_cores"],
        "cgroup quota": cgroup.cpu_cores,
        f"{allocation.name} allocation": allocation.cpu_cores,
    }
    known = {name: value for name, value in cores.items() if value}
    usable = min(known.values(), default=None)
    binding = next((name for name, value in known.items() if value == usable), None)
    for field in ("model", "physical_cores", "logical_cores"):
        if not seen.get(field):
            notes.missing[f"cpu.{field}"] = f"{source} does not say"
    if binding:
        notes.sources["cpu.usable_cores"] = binding
    logical = seen["logical_cores"]
    if usable and logical and usable < logical:
        notes.warnings.append(
            f"Of {logical} logical cores this process may use {usable:g} ({binding}); "
            "libraries that count all cores start too many threads"
        )
    return Cpu(architecture=system.architecture, usable_cores=usable, **seen)


def read_memory(
    system: System, cgroup: Cgroup, allocation: Allocation, limits: ResourceLimits, notes: Notes
) -> HostMemory:
    """Total, available, every limit, and what is left under all of them."""
    total, available, swap = _memory_figures(system)
    notes.sources["memory"] = "/proc/meminfo" if system.platform == "linux" else "the operating system"
    bounds = [b for b in (cgroup.memory_bytes, allocation.memory_bytes, limits.address_space_bytes) if b]
    limit = min(bounds, default=None)
    limit = limit if limit and total and limit < total else None
    headroom = cgroup.memory_bytes - (cgroup.memory_used_bytes or 0) if cgroup.memory_bytes else None
    room = [
        r for r in (available, headroom, allocation.memory_bytes, limits.address_space_bytes) if r is not None
    ]
    if limit and total:
        notes.warnings.append(
            f"This process may hold {limit / 2**30:.1f} GiB of the machine's {total / 2**30:.1f} GiB of memory"
        )
    return HostMemory(
        total_bytes=total,
        available_bytes=available,
        limit_bytes=limit,
        usable_bytes=max(0, min(room)) if room else None,
        swap_bytes=swap,
        shm_bytes=_shm(system, notes),
    )


def read_disk(folders: dict[str, Path], notes: Notes) -> list[DiskSpace]:
    """Space for the workspace and for temporary files; folders on one file system are listed once."""
    seen: dict[int, DiskSpace] = {}
    for name, folder in folders.items():
        try:
            space = shutil.disk_usage(folder)
            device = folder.stat().st_dev
        except OSError as error:
            notes.missing[f"disk.{name}"] = error.strerror or "cannot be read"
            continue
        inodes = os.statvfs(folder).f_favail if hasattr(os, "statvfs") else None
        seen.setdefault(
            device,
            DiskSpace(
                path=str(folder), total_bytes=space.total, free_bytes=space.free, free_inodes=inodes or None
            ),
        )
        notes.sources[f"disk.{name}"] = f"file system of {folder}"
    for disk in seen.values():
        if disk.free_bytes < 0.05 * disk.total_bytes:
            notes.warnings.append(
                f"Under 5 % of the disk at {disk.path} is free ({disk.free_bytes / 2**30:.1f} GiB)"
            )
    return list(seen.values())


def _linux_cpu(system: System) -> dict[str, Any]:
    text = system.read("proc/cpuinfo") or ""
    blocks = [
        dict(re.findall(r"^([^\t:]+?)\s*:\s*(.*)$", block, flags=re.M))
        for block in re.split(r"\n\s*\n", text)
    ]
    blocks = [block for block in blocks if "processor" in block]
    first = blocks[0] if blocks else {}
    places = {(b.get("physical id"), b["core id"]) for b in blocks if "core id" in b}
    flags = (first.get("flags") or first.get("Features") or "").split()
    return {
        "model": first.get("model name") or first.get("Processor") or _arm_part(first),
        "physical_cores": len(places) or None,
        "logical_cores": len(blocks) or None,
        "isa": sorted(_ISA & set(flags)),
    }


def _arm_part(block: dict[str, str]) -> str | None:
    parts = [block[key] for key in ("CPU implementer", "CPU part") if key in block]
    return f"ARM implementer {parts[0]} part {parts[1]}" if len(parts) == 2 else None


def _mac_cpu(system: System) -> dict[str, Any]:
    def value(name: str) -> str | None:
        return system.output_of(["sysctl", "-n", name])

    x86 = f"{value('machdep.cpu.features') or ''} {value('machdep.cpu.leaf7_features') or ''}".lower().split()
    arm = [isa for name, isa in _APPLE_ISA.items() if value(f"hw.optional.arm.{name}") == "1"]
    return {
        "model": value("machdep.cpu.brand_string"),
        "physical_cores": int(value("hw.physicalcpu") or 0) or None,
        "logical_cores": int(value("hw.logicalcpu") or 0) or None,
        "isa": sorted({*(_ISA & set(x86)), *arm, *(["asimd"] if system.architecture == "arm64" else [])}),
    }


def _memory_figures(system: System) -> tuple[int | None, int | None, int | None]:
    if system.platform == "linux":
        rows = re.findall(r"^(\w+):\s+(\d+) kB$", system.read("proc/meminfo") or "", flags=re.M)
        sizes = {name: int(count) * 1024 for name, count in rows}
        return sizes.get("MemTotal"), sizes.get("MemAvailable", sizes.get("MemFree")), sizes.get("SwapTotal")
    if system.platform == "darwin" and (size := system.output_of(["sysctl", "-n", "hw.memsize"])):
        return int(size), psutil.virtual_memory().available, None
    memory = psutil.virtual_memory()
    return memory.total, memory.available, psutil.swap_memory().total


def _shm(system: System, notes: Notes) -> int | None:
    folder = system.root / "dev/shm"
    if system.platform != "linux" or not folder.is_dir():
        notes.missing["memory.shm_bytes"] = "no /dev/shm on this system"
        return None
    size = os.statvfs(folder).f_blocks * os.statvfs(folder).f_frsize
    notes.sources["memory.shm_bytes"] = "file system of /dev/shm"
    if size <= 64 * 1024**2:
        notes.warnings.append(
            f"/dev/shm holds {size / 2**20:.0f} MiB: data-loader workers die with a bus error once batches exceed it "
            "(docker run --shm-size, or an emptyDir of medium Memory in Kubernetes)"
        )
    return size
