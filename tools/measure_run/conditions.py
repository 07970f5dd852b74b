"""Under which conditions a run was measured: what must be equal for two runs to compare, and what is listed beside."""

import hashlib
import json
import os
import platform
import re
import subprocess
from pathlib import Path
from typing import Any

import psutil

from .launch import Launch
from .series import series_of, usual
from .trace import Trace

_ENVIRONMENT = re.compile(
    r"(OMP|MKL|KMP|OPENBLAS|CUDA|CUBLAS|CUDNN|PYTORCH|TORCH|NCCL|XLA|JAX)_\w+|PYTHONHASHSEED|TOKENIZERS_PARALLELISM"
)
_SEED = re.compile(  # an option, or an assignment as Hydra takes it
    r"--?(?:random[-_]|manual[-_])?seed(?:=(.+))?|\+{0,2}(?:\w+\.)*(?:random_|manual_)?seed=(.+)",
    re.IGNORECASE,
)
_SECRET = re.compile(r"key|token|secret|passw|credential", re.IGNORECASE)
_WHERE = re.compile(r"addr|host", re.IGNORECASE)  # names of machines explain no difference
_IN_ADDRESS = re.compile(r"(?<=://)[^/\s@]+(?=@)")  # user:password@
_LINES = 3000  # of a script, kept as hashes: enough to know a revision of it
_HASHED_BYTES = 64 * 1024**2  # a larger data file is known by its size and time


def conditions_of(launch: Launch, trace: Trace, samples: int | None) -> dict[str, Any]:
    """Everything that might explain a difference between two runs, as it is kept in the ledger."""
    words, seed = _without_seed(launch.words)
    start, torch = trace.facts.get("start", {}), trace.facts.get("torch", {})
    return {
        "command": _redacted(launch.words),
        "script": _script(launch.script),
        "workload": _workload(launch, words),
        "seed": seed,
        "samples_per_step": samples,
        "first_input": trace.facts.get("model", {}).get("shape"),
        "backwards_per_step": _backwards(trace),
        "parameters": sum(one["parameters"] for one in trace.optimizers) or None,
        "versions": {"python": start.get("python"), "torch": torch.get("version")},
        "python": str(launch.python),
        "git": _git(launch.cwd, launch.script),
        "environment": {
            name: value
            for name, value in sorted(os.environ.items())
            if _ENVIRONMENT.fullmatch(name) and not _WHERE.search(name)
        },
        "load_per_core": round(os.getloadavg()[0] / usable_cores(), 2) if hasattr(os, "getloadavg") else None,
    }


def _backwards(trace: Trace) -> int | None:
    """Backward passes of an optimizer step: the micro-batches that it adds up."""
    steps = series_of(trace).leading
    return usual([step.backwards for step in steps]) if steps else None


def workload_hash(workload: dict[str, Any]) -> str:
    """A short hash of what must be equal."""
    return hashlib.sha256(json.dumps(workload, sort_keys=True).encode()).hexdigest()[:16]


def device_name(gpus: list[str]) -> str:
    """The processor, its cores, the memory and the GPUs, as one line that is the same on each call."""
    memory = round(psutil.virtual_memory().total / 1024**3)
    accelerators = ", ".join(gpus) or "no accelerator"
    return f"{_processor()}, {usable_cores():g} cores, {memory} GiB; {accelerators}"


def usable_cores() -> float:
    """Cores this process may use: its affinity, or the quota of its cgroup when that is less."""
    cores = float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    quota = Path("/sys/fs/cgroup/cpu.max")
    if quota.exists():
        allowed, period = quota.read_text(encoding="ascii").split()
        cores = cores if allowed == "max" else min(cores, int(allowed) / int(period))
    return cores


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _without_seed(command: list[str]) -> tuple[list[str], str | None]:
    """The words without a seed option, and the seed."""
    words, seed, skip = [], None, False
    for place, word in enumerate(command):
        found = _SEED.fullmatch(word)
        if skip:
            skip = False
        elif found:
            given = found.group(1) or found.group(2)
            skip = given is None
            seed = given or next(iter(command[place + 1 : place + 2]), None)
        else:
            words.append(word)
    return words, seed


def _workload(launch: Launch, words: list[str]) -> dict[str, Any]:
    """The command without interpreter, script and seed, and the files it names by their content.

    A file that is new or changed after the run is an output, not part of the workload.
    """
    rest = [word for word in words[1:] if launch.script is None or launch.cwd / word != launch.script]
    program = "python" if launch.script else Path(words[0]).name
    files = [
        path
        for path, written in launch.inputs.items()
        if path != launch.script and path.is_file() and path.stat().st_mtime_ns == written
    ]
    return {
        "program": program,
        "arguments": _redacted(rest),
        "files": {path.name: _content(path) for path in files},
    }


def _content(path: Path) -> str:
    size = path.stat().st_size
    if size > _HASHED_BYTES:
        return f"{size} bytes at {path.stat().st_mtime_ns}"
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def _script(path: Path | None) -> dict[str, Any] | None:
    if path is None or not path.is_file():
        return None
    content = path.read_bytes()
    lines = sorted({line.strip() for line in content.splitlines() if line.strip()})
    return {
        "path": str(path),
        "sha256": hashlib.sha256(content).hexdigest(),
        "lines": [hashlib.sha256(line).hexdigest()[:8] for line in lines[:_LINES]],
    }


def _git(folder: Path, script: Path | None) -> str | None:
    """The commit of the program's folder, marked as dirty when it does not hold what ran."""
    if not folder.is_dir():
        return None
    commit = _asked(folder, "describe", "--always", "--dirty", "--exclude=*")
    if (
        commit
        and script
        and not commit.endswith("-dirty")
        and not _asked(folder, "ls-files", "--", str(script))
    ):
        return f"{commit}-dirty"  # the script is ignored, or was never added
    return commit


def _asked(folder: Path, *words: str) -> str | None:
    """What git prints, or None without git, a repository or an answer."""
    try:
        found = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.TimeoutExpired):  # no git, or a huge tree on a slow disk
        return None
    return found.stdout.strip() or None


def _redacted(words: list[str]) -> list[str]:
    """The words as they may be kept: the value of a secret option is not."""
    kept = []
    for before, word in zip(["", *words], words, strict=False):
        name, equals, _ = word.partition("=")
        if equals and _SECRET.search(name):
            kept.append(f"{name}=***")
        elif (
            before.startswith("-")
            and "=" not in before
            and _SECRET.search(before)
            and not word.startswith("-")
        ):
            kept.append("***")
        else:
            kept.append(_IN_ADDRESS.sub("***", word))
    return kept
