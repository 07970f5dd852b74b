"""The frameworks of an interpreter, its torch build against the driver, and why CUDA is not available there."""

import platform
import re
import sys
from pathlib import Path
from typing import Any

from .._core.errors import ToolError
from .._core.machine import Accelerator, Software
from .._core.worker import Limits, run
from .system import Notes, System

_ENGINE = Path(__file__).with_name("engine")
_SECONDS = 60.0  # importing torch from a cold network disk takes most of it


def read_software(
    system: System, python: Path, accelerators: list[Accelerator], nvml: dict[str, Any], notes: Notes
) -> Software:
    """What `python` has installed, and what its torch can do with the GPUs found."""
    visible = [a for a in accelerators if a.is_visible]
    ask_torch = bool(visible) and nvml.get("code") != "stuck"
    if python == Path(sys.executable) and not ask_torch:
        seen = _own_frameworks()
    else:
        try:
            seen = run(_ENGINE, {"ask_torch": ask_torch}, python=python, limits=Limits(_SECONDS))
        except ToolError as error:
            notes.missing["software.frameworks"] = str(error)
            notes.warnings.append(f"The frameworks of {python} could not be read: {error}")
            seen = {}
    notes.sources["software.frameworks"] = f"package metadata of {python}"
    driver_cuda = _cuda_text(nvml.get("cuda"))
    verdict, reason = _cuda(system, seen, accelerators, driver_cuda, nvml, notes)
    if seen and "torch" not in seen["frameworks"]:
        notes.missing["software.torch_version"] = f"torch is not installed in {python}"
    if reason:
        notes.sources["software.cuda_available"] = (
            "torch.cuda" if seen.get("cuda") else "the torch build and the devices found"
        )
    return Software(
        os=_os(system),
        python=str(python),
        python_version=seen.get("python_version"),
        nvidia_driver=nvml.get("driver") or _kernel_driver(system),
        driver_cuda_version=driver_cuda,
        torch_version=seen.get("frameworks", {}).get("torch"),
        torch_cuda_version=seen.get("torch_cuda_version"),
        cuda_available=verdict,
        cuda_unavailable_reason=reason,
        frameworks=seen.get("frameworks", {}),
    )


def _cuda(
    system: System,
    seen: dict[str, Any],
    accelerators: list[Accelerator],
    driver_cuda: str | None,
    nvml: dict[str, Any],
    notes: Notes,
) -> tuple[bool | None, str | None]:
    """Whether torch.cuda works in that interpreter, and if not, the first cause that holds."""
    if "torch" not in seen.get("frameworks", {}):
        return None, None
    asked = seen.get("cuda") or {}
    if asked.get("available"):
        _check_architectures(asked, accelerators, notes)
        return True, None
    if "torch_build_unknown" in seen:
        return None, seen["torch_build_unknown"]
    reason = _reason(system, seen, accelerators, driver_cuda, nvml)
    if reason is None and asked:
        reason = asked.get("error") or "; ".join(asked["said"]) or "torch gives no reason"
    if reason is None:
        return None, "not asked: the driver does not answer"
    if any(a.vendor in ("nvidia", "amd") for a in accelerators):
        notes.warnings.append(
            f"torch in {notes.sources['software.frameworks'][20:]} cannot use the GPU: {reason}"
        )
    return False, reason


def _reason(
    system: System,
    seen: dict[str, Any],
    accelerators: list[Accelerator],
    driver_cuda: str | None,
    nvml: dict[str, Any],
) -> str | None:
    build, hip = seen.get("torch_cuda_version"), seen.get("torch_hip_version")
    vendors = {a.vendor for a in accelerators}
    torch = f"torch {seen['frameworks']['torch']}"
    wanted = "amd" if hip else "nvidia"
    if not build and not hip:
        for vendor, kind in (("nvidia", "CUDA"), ("amd", "ROCm")):
            if vendor in vendors:
                return f"wrong build: {torch} is a CPU build; install its {kind} build"
        if nvml.get("code") == "stuck":
            return f"wrong build: {torch} is a CPU build (and the NVIDIA driver does not answer)"
        return f"no device: no NVIDIA or AMD GPU was found (and {torch} is a CPU build)"
    if wanted not in vendors:
        other = vendors & {"nvidia", "amd"}
        if other:
            return f"wrong build: {torch} is built for {'ROCm' if hip else 'CUDA'}, the GPU is from {other.pop()}"
        if nvml.get("code") == "stuck":
            return None
        why = nvml.get("error") or "NVML counts no GPU"
        return f"no device: {why if wanted == 'nvidia' else 'no AMD GPU was found'}"
    if not any(a.is_visible for a in accelerators if a.vendor == wanted):
        names = (
            ("CUDA_VISIBLE_DEVICES",)
            if wanted == "nvidia"
            else ("HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")
        )
        shown = ", ".join(f"{name}={system.environ[name]!r}" for name in names if name in system.environ)
        return f"hidden by the environment: {shown}" if shown else "no device: MIG mode without a slice"
    if build and driver_cuda and int(build.split(".")[0]) > int(driver_cuda.split(".")[0]):
        return (
            f"driver too old: {torch} needs CUDA {build}, the driver {nvml.get('driver')} runs up to {driver_cuda}; "
            "update the driver or install an older build"
        )
    return None


def _check_architectures(asked: dict[str, Any], accelerators: list[Accelerator], notes: Notes) -> None:
    """Warn when the build holds no code for a card: 'no kernel image is available' at the first operation."""
    built = {int(code) for name in asked.get("architectures", []) for code in re.findall(r"^sm_(\d+)", name)}
    portable = {
        int(code) for name in asked.get("architectures", []) for code in re.findall(r"^compute_(\d+)", name)
    }
    for gpu in accelerators:
        if gpu.vendor != "nvidia" or not gpu.compute_capability or not built:
            continue
        own = int(gpu.compute_capability.replace(".", ""))
        if not (any(b // 10 == own // 10 and b <= own for b in built) or any(p <= own for p in portable)):
            notes.warnings.append(
                f"This torch has no code for {gpu.name} (sm_{own}; built for {sorted(built)}): "
                "install a build that has, or every CUDA operation fails"
            )


def _own_frameworks() -> dict[str, Any]:
    """The same reading for our own interpreter, without a child."""
    import runpy

    engine = runpy.run_path(str(_ENGINE / "__main__.py"), run_name="__engine__")
    reply: dict[str, Any] = engine["answer"]({}, None)
    return reply


def _cuda_text(number: int | None) -> str | None:
    return f"{number // 1000}.{number % 1000 // 10}" if number else None


def _kernel_driver(system: System) -> str | None:
    found = re.search(
        r"Kernel Module\s+(?:for \S+\s+)?([\d.]+)", system.read("proc/driver/nvidia/version") or ""
    )
    return found[1] if found else None


def _os(system: System) -> str:
    if system.platform != "linux":
        return f"{platform.system()} {platform.release()}"
    named = re.search(r'^PRETTY_NAME="?([^"\n]+)', system.read("etc/os-release") or "", flags=re.M)
    kernel = (system.read("proc/sys/kernel/osrelease") or "").strip()
    wsl = " (WSL)" if "microsoft" in kernel.lower() else ""
    return f"{named[1] if named else 'Linux'}, kernel {kernel}{wsl}"
