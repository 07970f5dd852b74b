"""Prints what NVML says about the NVIDIA GPUs as one JSON object: `python -I -S nvml_probe.py FOLDER_OF_PYNVML`.

A process of its own, because a call into a stuck driver cannot be interrupted, only abandoned.
"""

import json
import sys
import time
from typing import Any


def read(nvml: Any) -> dict[str, Any]:
    """Everything the tool reports, as plain values; what a card does not offer is None, with the reason in `why`."""
    started = time.perf_counter()
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        return {"error": str(error), "code": error.value, "init_seconds": time.perf_counter() - started}
    init_seconds = time.perf_counter() - started
    why: dict[str, str] = {}
    devices = [_device(nvml, index, why) for index in range(nvml.nvmlDeviceGetCount())]
    return {
        "init_seconds": init_seconds,
        "driver": _ask(why, nvml, "driver", "nvmlSystemGetDriverVersion"),
        "cuda": _ask(why, nvml, "cuda", "nvmlSystemGetCudaDriverVersion_v2"),
        "devices": devices,
        "why": why,
    }


def _device(nvml: Any, index: int, why: dict[str, str]) -> dict[str, Any]:
    try:
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
    except nvml.NVMLError as error:  # a card that fell off the bus does not take its neighbours along
        return {"index": index, "error": str(error)}

    def ask(name: str, function: str, *arguments: Any) -> Any:
        return _ask(why, nvml, f"{index}.{name}", function, handle, *arguments)

    memory = ask("memory", "nvmlDeviceGetMemoryInfo")
    use = ask("utilization", "nvmlDeviceGetUtilizationRates")
    mig = ask("mig", "nvmlDeviceGetMigMode")
    processes = ask("processes", "nvmlDeviceGetComputeRunningProcesses") or []
    return {
        "index": index,
        "name": ask("name", "nvmlDeviceGetName"),
        "uuid": ask("uuid", "nvmlDeviceGetUUID"),
        "memory": memory and [memory.total, memory.free, memory.used],
        "compute_capability": ask("compute_capability", "nvmlDeviceGetCudaComputeCapability"),
        "utilization": use and use.gpu,
        "power_limit_milliwatts": ask("power_limit", "nvmlDeviceGetEnforcedPowerLimit"),
        "throttle": ask("throttle", "nvmlDeviceGetCurrentClocksThrottleReasons"),
        "ecc_errors": ask(
            "ecc_errors", "nvmlDeviceGetTotalEccErrors", 1, 0
        ),  # uncorrected, since the driver was loaded
        "processes": [[p.pid, p.usedGpuMemory] for p in processes],
        "mig": bool(mig and mig[0]),
        "slices": _slices(nvml, handle, index, why) if mig and mig[0] else [],
    }


def _slices(nvml: Any, handle: Any, index: int, why: dict[str, str]) -> list[dict[str, Any]]:
    found = []
    for place in range(_ask(why, nvml, f"{index}.slices", "nvmlDeviceGetMaxMigDeviceCount", handle) or 0):
        try:
            part = nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, place)
        except nvml.NVMLError:  # an empty place
            continue
        memory = _ask(why, nvml, f"{index}.slice.memory", "nvmlDeviceGetMemoryInfo", part)
        processes = (
            _ask(why, nvml, f"{index}.slice.processes", "nvmlDeviceGetComputeRunningProcesses", part) or []
        )
        found.append(
            {
                "name": _ask(why, nvml, f"{index}.slice.name", "nvmlDeviceGetName", part),
                "uuid": _ask(why, nvml, f"{index}.slice.uuid", "nvmlDeviceGetUUID", part),
                "memory": memory and [memory.total, memory.free, memory.used],
                "processes": [[p.pid, p.usedGpuMemory] for p in processes],
            }
        )
    return found


def _ask(why: dict[str, str], nvml: Any, name: str, function: str, *arguments: Any) -> Any:
    try:
        answer = getattr(nvml, function)(*arguments)
    except nvml.NVMLError as error:
        why[name] = str(error)
        return None
    return answer.decode() if isinstance(answer, bytes) else answer


if __name__ == "__main__":
    sys.path.insert(0, sys.argv[1])
    import pynvml  # type: ignore[import-untyped]

    print(json.dumps(read(pynvml)))
