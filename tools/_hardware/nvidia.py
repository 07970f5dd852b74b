"""NVIDIA GPUs: the answer of the NVML process, or why there is none, as accelerators that this process can use."""

import contextlib
import importlib.util
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from .._catalog.gpus import candidates, gpus, native_formats
from .._core.machine import Accelerator, GpuProcess
from .system import Notes, System

_PROBE = Path(__file__).with_name("nvml_probe.py")

# A driver without persistence mode takes about 2 s a GPU to initialise (NVIDIA, driver persistence); the rest is room.
PROBE_SECONDS = 20.0

# nvml.h, nvmlClocksThrottleReason*: the bits that slow work down. Idle, application clocks and the like do not.
_THROTTLE = {
    0x04: "power cap",
    0x08: "hardware slowdown",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "power brake",
}

_OWNER = {True: ", yours", False: ", another user's", None: " of the host"}

_ADVICE = {  # nvml.h, nvmlReturn_t
    9: "the NVIDIA kernel driver is not loaded",
    12: "no NVIDIA management library here, so no NVIDIA driver",
    18: "driver and library versions differ after an update: reboot, or reload the kernel module",
    4: "no permission to use the NVIDIA device files",
    999: "NVML fails with an unknown error, often a broken driver or a GPU lost to this container: restart it",
}


def ask_nvml(seconds: float = PROBE_SECONDS) -> dict[str, Any]:
    """The reply of nvml_probe.py, or {"error": ...}; never later than `seconds`, even if the driver hangs."""
    library = importlib.util.find_spec("pynvml")
    if library is None or library.origin is None:
        return {"error": "the package nvidia-ml-py is not installed", "code": None}
    command = [sys.executable, "-I", "-S", str(_PROBE), str(Path(library.origin).parent)]
    child = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        text, complaint = child.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        child.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):  # a call that hangs inside the kernel never ends
            child.wait(0.5)
        for pipe in (child.stdout, child.stderr):
            if pipe:
                pipe.close()
        return {"error": f"NVML did not answer within {seconds:g} s: the driver hangs", "code": "stuck"}
    if child.returncode:
        last = complaint.decode("utf-8", "replace").strip().rpartition("\n")[2]
        return {"error": f"the NVML process failed: {last or f'exit code {child.returncode}'}", "code": None}
    reply: dict[str, Any] = json.loads(text)
    return reply


def read_nvidia(
    system: System, in_container: bool, notes: Notes, ask: Callable[[], dict[str, Any]]
) -> tuple[list[Accelerator], dict[str, Any]]:
    """The accelerators and NVML's raw reply."""
    started = time.perf_counter()
    reply = ask()
    notes.seconds["nvml"] = round(time.perf_counter() - started, 4)
    if "init_seconds" in reply:
        notes.seconds["nvml_init"] = round(reply["init_seconds"], 4)
    if "error" in reply:
        _explain(system, reply, in_container, notes)
        return [], reply
    notes.sources["accelerators.nvidia"] = "NVML"
    for name, reason in reply["why"].items():
        notes.missing[f"accelerators.nvidia.{name}"] = reason
    found = [part for device in reply["devices"] for part in _parts(device, in_container, notes)]
    found = _mark_hidden(system, found, reply["devices"], notes)
    for accelerator in found:
        _warn(accelerator, notes)
    return found, reply


def _explain(system: System, reply: dict[str, Any], in_container: bool, notes: Notes) -> None:
    """Say why there is no NVIDIA GPU to see, and warn where one should be."""
    reason = _ADVICE.get(reply["code"], reply["error"])
    notes.missing["accelerators.nvidia"] = reason
    devices = "sys/bus/pci/devices"
    cards = [p.name for p in (system.root / devices).glob("*") if _is_gpu(system, f"{devices}/{p.name}")]
    if cards:
        inside = "; a container must be started with its GPUs (docker run --gpus all)" if in_container else ""
        notes.warnings.append(f"{len(cards)} NVIDIA GPU(s) on the PCI bus, but {reason}{inside}")
    elif reply["code"] not in (9, 12):
        notes.warnings.append(f"NVIDIA GPUs cannot be read: {reason}")


def _is_gpu(system: System, device: str) -> bool:
    """A display controller (PCI class 03) of NVIDIA (PCI vendor 10de)."""
    return system.read(f"{device}/vendor") == "0x10de" and (system.read(f"{device}/class") or "").startswith(
        "0x03"
    )


def _parts(device: dict[str, Any], in_container: bool, notes: Notes) -> list[Accelerator]:
    """The GPU, or its MIG slices when it is cut: only those can run work then."""
    index = device["index"]
    if "error" in device:
        notes.missing[f"accelerators.nvidia.{index}"] = device["error"]
        notes.warnings.append(f"GPU {index} cannot be used: {device['error']}")
        return []
    whole = _accelerator(device, device, in_container)
    if not device["mig"]:
        return [whole]
    if not device["slices"]:
        notes.warnings.append(f"GPU {index} is in MIG mode without a slice: CUDA sees no device on it")
        return [whole.model_copy(update={"is_visible": False})]
    return [_accelerator(device, part, in_container) for part in device["slices"]]


def _accelerator(device: dict[str, Any], part: dict[str, Any], in_container: bool) -> Accelerator:
    total, free, used = part["memory"] or (None, None, None)
    version = device["compute_capability"]
    capability = f"{version[0]}.{version[1]}" if version else None
    profile = re.search(r"MIG (\S+)", part["name"] or "") if part is not device else None
    known = catalog_name(device["name"], device["memory"][0] if device["memory"] else None)
    mask = device["throttle"] or 0
    return Accelerator(
        index=device["index"],
        vendor="nvidia",
        name=part["name"] or "an NVIDIA GPU without a name",
        catalog_name=known,
        uuid_short=_short(part["uuid"]),
        memory_bytes=total,
        free_bytes=free,
        used_bytes=used,
        compute_capability=capability,
        supports_bf16="bf16" in native_formats(capability) if capability else None,
        is_mig_slice=part is not device,
        mig_profile=profile[1] if profile else None,
        is_unified_memory=known is not None and gpus()[known].is_unified_memory,
        utilization_percent=device["utilization"],
        power_limit_watts=device["power_limit_milliwatts"] / 1000
        if device["power_limit_milliwatts"]
        else None,
        throttle_reasons=[name for bit, name in _THROTTLE.items() if mask & bit],
        ecc_errors=device["ecc_errors"],
        processes=[_process(pid, size, in_container) for pid, size in part["processes"]],
    )


def catalog_name(name: str | None, memory_bytes: int | None) -> str | None:
    """The catalog's row for a name that a driver reports; None unless there is exactly one."""
    rows = candidates(name, memory_bytes) if name else []
    return rows[0].name if len(rows) == 1 else None


def _short(uuid: str | None) -> str | None:
    found = re.match(r"((?:GPU|MIG)-(?:GPU-)?[0-9a-f]{8})", uuid or "")
    return found[1] if found else None


def _process(pid: int, memory_bytes: int | None, in_container: bool) -> GpuProcess:
    """Inside a container the driver's process ids are the host's, so they name nobody here."""
    if in_container:
        return GpuProcess(pid=pid, memory_bytes=memory_bytes)
    try:
        process = psutil.Process(pid)
        return GpuProcess(
            pid=pid,
            name=process.name(),
            memory_bytes=memory_bytes,
            is_own=process.username() == psutil.Process().username(),
        )
    except psutil.Error:  # ended meanwhile, or another user's in a closed /proc
        return GpuProcess(pid=pid, memory_bytes=memory_bytes)


def _mark_hidden(
    system: System, found: list[Accelerator], devices: list[dict[str, Any]], notes: Notes
) -> list[Accelerator]:
    """What CUDA_VISIBLE_DEVICES leaves visible (CUDA programming guide, environment variables)."""
    wish = system.environ.get("CUDA_VISIBLE_DEVICES")
    if wish is None or not found:
        return _one_slice(found)
    visible: set[int] = set()
    for entry in wish.split(","):
        places = _named(entry.strip(), found, devices)
        if not places:  # CUDA ignores an entry it cannot match and everything after it
            if entry.strip() not in ("", "-1", "NoDevFiles"):
                notes.warnings.append(
                    f"CUDA_VISIBLE_DEVICES={wish}: no device {entry.strip()!r}, the rest is ignored"
                )
            break
        visible |= places
    if not visible:
        notes.warnings.append(f"CUDA_VISIBLE_DEVICES={wish!r} hides every GPU from this process")
    order = system.environ.get("CUDA_DEVICE_ORDER", "FASTEST_FIRST")
    by_number = re.search(r"(^|,)\s*\d", wish)
    if by_number and order != "PCI_BUS_ID" and len({a.name for a in found}) > 1:
        notes.warnings.append(
            "The GPUs differ and CUDA counts the fastest first: CUDA_VISIBLE_DEVICES may mean other cards than shown "
            "here; set CUDA_DEVICE_ORDER=PCI_BUS_ID"
        )
    return _one_slice(
        [a.model_copy(update={"is_visible": a.is_visible and i in visible}) for i, a in enumerate(found)]
    )


def _one_slice(found: list[Accelerator]) -> list[Accelerator]:
    """CUDA shows a process one MIG slice, the first (NVIDIA MIG user guide, CUDA device enumeration)."""
    shown = [a for a in found if a.is_visible]
    if not all(a.is_mig_slice for a in shown):
        return found
    return [a.model_copy(update={"is_visible": a in shown[:1]}) for a in found]


def _named(entry: str, found: list[Accelerator], devices: list[dict[str, Any]]) -> set[int]:
    """The positions in `found` that one entry means: a number, the start of a UUID, or a MIG name."""
    if entry.isdigit():
        whole = [i for i, a in enumerate(found) if a.index == int(entry)]
        return set(whole[:1])  # of a GPU in MIG mode CUDA takes the first slice
    uuids = [p["uuid"] or "" for d in devices if "error" not in d for p in (d["slices"] or [d])]
    parents = [d["uuid"] or "" for d in devices if "error" not in d for _ in (d["slices"] or [d])]
    if entry.startswith("MIG-"):
        return {i for i, uuid in enumerate(uuids) if uuid.startswith(entry)}
    matches = {parent for parent in parents if entry.startswith("GPU-") and parent.startswith(entry)}
    first = [i for i, parent in enumerate(parents) if parent in matches]
    return set(first[:1]) if len(matches) == 1 else set()


def _warn(gpu: Accelerator, notes: Notes) -> None:
    label = f"GPU {gpu.index} ({gpu.name})"
    slow = [reason for reason in gpu.throttle_reasons if reason != "power cap"]
    if slow:
        notes.warnings.append(f"{label} is slowed down: {', '.join(slow)}")
    if gpu.ecc_errors:
        notes.warnings.append(
            f"{label} counts {gpu.ecc_errors} uncorrected memory errors since the driver was loaded"
        )
    held = sum(p.memory_bytes or 0 for p in gpu.processes)
    if held > 2**30:
        who = ", ".join(f"{p.name or 'unnamed'} (pid {p.pid}{_OWNER[p.is_own]})" for p in gpu.processes[:3])
        notes.warnings.append(f"{label}: running processes hold {held / 2**30:.1f} GiB: {who}")
    elif (
        gpu.used_bytes and gpu.memory_bytes and not gpu.processes and gpu.used_bytes > 0.1 * gpu.memory_bytes
    ):
        notes.warnings.append(
            f"{label}: {gpu.used_bytes / 2**30:.1f} GiB is taken by processes that cannot be seen from here"
        )
