"""Accelerators that the kernel or the operating system describes itself: AMD, Intel, Jetson, Apple."""

import re

from .._core.machine import Accelerator
from .nvidia import catalog_name
from .system import Notes, System

# Device ids of the PCI ID list (pci-ids.ucw.cz) for cards whose driver gives no product name.
_NAMES = {
    ("amd", "0x738c"): "AMD Instinct MI100",
    ("amd", "0x7408"): "AMD Instinct MI250X",
    ("amd", "0x740f"): "AMD Instinct MI210",
    ("amd", "0x74a1"): "AMD Instinct MI300X",
    ("amd", "0x74a5"): "AMD Instinct MI325X",
    ("amd", "0x744c"): "AMD Radeon RX 7900",
    ("intel", "0x56a0"): "Intel Arc A770",
    ("intel", "0xe20b"): "Intel Arc B580",
}
_VENDORS = {"0x1002": "amd", "0x8086": "intel"}

# Matrix units with bf16: CDNA (gfx908, 90a, 94x, 95x), RDNA 3 and later (gfx11, gfx12); AMD's ISA documents.
_AMD_BF16 = re.compile(r"gfx(908|90a|94|95|11|12)")


def read_drm(system: System, notes: Notes) -> list[Accelerator]:
    """AMD GPUs and discrete Intel GPUs, from sysfs."""
    cards = sorted(
        (p for p in (system.root / "sys/class/drm").glob("card*") if re.fullmatch(r"card\d+", p.name)),
        key=lambda p: int(p.name[4:]),
    )
    targets = _amd_targets(system)
    found: list[Accelerator] = []
    for card in cards:
        base = f"sys/class/drm/{card.name}"
        vendor = _VENDORS.get(system.read(f"{base}/device/vendor") or "")
        index = sum(a.vendor == vendor for a in found)
        if vendor == "amd":
            found.append(_amd(system, base, index, targets[index] if index < len(targets) else None, notes))
        elif vendor == "intel":
            found += _intel(system, base, index, notes)
    return _mark_hidden(system, found, notes)


def read_jetson(system: System, notes: Notes) -> list[Accelerator]:
    """The GPU of a Jetson module, which shares the host's memory and has little to say through NVML."""
    model = system.read("proc/device-tree/model") or ""
    if "Jetson" not in model and "Orin" not in model:
        return []
    total = re.search(r"^MemTotal:\s+(\d+) kB", system.read("proc/meminfo") or "", flags=re.M)
    size = int(total[1]) * 1024 if total else None
    notes.sources["accelerators.nvidia"] = "/proc/device-tree/model"
    notes.missing.pop("accelerators.nvidia", None)
    name = re.sub(r"\s+(Engineering Reference )?Developer Kit.*$", "", model)
    return [Accelerator(index=0, vendor="nvidia", name=name, memory_bytes=size, is_unified_memory=True)]


def read_apple(system: System, notes: Notes) -> list[Accelerator]:
    """The GPU of Apple silicon; it shares the machine's memory."""
    if system.platform != "darwin" or system.architecture != "arm64":
        return []
    size = system.output_of(["sysctl", "-n", "hw.memsize"])
    bf16 = system.output_of(["sysctl", "-n", "hw.optional.arm.FEAT_BF16"])
    notes.sources["accelerators.apple"] = "sysctl"
    notes.missing["accelerators.apple.free_bytes"] = (
        "memory is shared with the processor: see memory.usable_bytes"
    )
    return [
        Accelerator(
            index=0,
            vendor="apple",
            name=f"{system.output_of(['sysctl', '-n', 'machdep.cpu.brand_string']) or 'Apple silicon'} GPU",
            memory_bytes=int(size) if size else None,
            is_unified_memory=True,
            supports_bf16=bf16 == "1" if bf16 else None,
        )
    ]


def _amd(system: System, base: str, index: int, target: str | None, notes: Notes) -> Accelerator:
    total = system.integer(f"{base}/device/mem_info_vram_total")
    used = system.integer(f"{base}/device/mem_info_vram_used")
    if total is None:
        notes.missing[f"accelerators.amd.{index}.memory_bytes"] = (
            "the amdgpu driver does not show mem_info_vram_total"
        )
    notes.sources["accelerators.amd"] = "sysfs (amdgpu)"
    name = _name(system, base, "amd", total)
    monitors = sorted(p.name for p in (system.root / base / "device/hwmon").glob("hwmon*"))
    cap = system.integer(f"{base}/device/hwmon/{monitors[0]}/power1_cap") if monitors else None  # microwatts
    busy = system.integer(f"{base}/device/gpu_busy_percent")
    return Accelerator(
        index=index,
        vendor="amd",
        name=name,
        catalog_name=catalog_name(name, total),
        memory_bytes=total,
        used_bytes=used,
        free_bytes=total - used if total is not None and used is not None else None,
        compute_capability=target,
        supports_bf16=bool(_AMD_BF16.match(target)) if target else None,
        utilization_percent=busy,
        power_limit_watts=cap / 1e6 if cap else None,
    )


def _intel(system: System, base: str, index: int, notes: Notes) -> list[Accelerator]:
    """A discrete card; integrated graphics is named in `missing`, since it brings no memory of its own."""
    total = system.integer(f"{base}/lmem_total_bytes")  # i915
    id_name = ("intel", system.read(f"{base}/device/device") or "")
    if total is None and id_name not in _NAMES:
        notes.missing["accelerators.intel"] = (
            "integrated Intel graphics shares host memory and is not counted"
        )
        return []
    notes.sources["accelerators.intel"] = "sysfs"
    if total is None:
        notes.missing[f"accelerators.intel.{index}.memory_bytes"] = "the xe driver does not show it in sysfs"
    name = _name(system, base, "intel", total)
    return [
        Accelerator(
            index=index,
            vendor="intel",
            name=name,
            catalog_name=catalog_name(name, total),
            memory_bytes=total,
            free_bytes=system.integer(f"{base}/lmem_avail_bytes"),
        )
    ]


def _name(system: System, base: str, vendor: str, memory_bytes: int | None) -> str:
    device = system.read(f"{base}/device/device") or "unknown"
    named = system.read(f"{base}/device/product_name") or _NAMES.get((vendor, device))
    if named == "AMD Radeon RX 7900" and memory_bytes:
        named += " XTX" if memory_bytes > 22 * 2**30 else " XT"
    return named or f"{vendor.upper() if vendor == 'amd' else 'Intel'} GPU {device}"


def _amd_targets(system: System) -> list[str]:
    """gfx names in the order of the kernel's topology, which is the order ROCm counts in."""
    nodes = "sys/class/kfd/kfd/topology/nodes"
    found = []
    for number in sorted(int(p.name) for p in (system.root / nodes).glob("*") if p.name.isdigit()):
        properties = (
            system.read(f"{nodes}/{number}/properties") or ""
        )  # closed for a GPU a container may not use
        version = re.search(r"^gfx_target_version (\d+)$", properties, flags=re.M)
        if version and int(version[1]):
            major, minor, step = int(version[1]) // 10000, int(version[1]) // 100 % 100, int(version[1]) % 100
            found.append(f"gfx{major}{minor:x}{step:x}")
    return found


def _mark_hidden(system: System, found: list[Accelerator], notes: Notes) -> list[Accelerator]:
    """What HIP_VISIBLE_DEVICES or ROCR_VISIBLE_DEVICES leaves visible of the AMD GPUs."""
    for name in ("ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"):
        wish = system.environ.get(name)
        if wish is None or not any(a.vendor == "amd" for a in found):
            continue
        if re.search(r"[^\d,\s-]", wish):
            notes.missing["accelerators.amd.is_visible"] = (
                f"{name}={wish} names UUIDs, which sysfs does not show"
            )
            continue
        shown = {int(entry) for entry in wish.split(",") if entry.strip().isdigit()}
        found = [
            a.model_copy(update={"is_visible": a.is_visible and a.index in shown}) if a.vendor == "amd" else a
            for a in found
        ]
        if not any(a.is_visible for a in found):
            notes.warnings.append(f"{name}={wish!r} hides every AMD GPU from this process")
    return found
