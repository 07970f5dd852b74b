"""What a batch scheduler granted to this job, and which container it runs in."""

import re
from dataclasses import dataclass

from .system import System

_MIB = 1024**2


@dataclass(frozen=True)
class Allocation:
    """The share of this node that the job may use; None where the scheduler's environment does not say."""

    name: str | None = None
    cpu_cores: int | None = None
    memory_bytes: int | None = None
    gpus: int | None = None


def read_allocation(system: System) -> Allocation:
    """The allocation of Slurm, PBS, LSF or Grid Engine, from the variables that they document."""
    env = system.environ
    if "SLURM_JOB_ID" in env:
        cores = _number(env.get("SLURM_CPUS_PER_TASK")) or _number(env.get("SLURM_CPUS_ON_NODE"))
        cores = cores or _number(env.get("SLURM_JOB_CPUS_PER_NODE"))
        return Allocation("slurm", cores, _slurm_memory(system, cores), _slurm_gpus(system))
    if "PBS_JOBID" in env:
        return Allocation("pbs", _number(env.get("NCPUS")) or _number(env.get("PBS_NP")))
    if "LSB_JOBID" in env:
        return Allocation(
            "lsf", _number(env.get("LSB_DJOB_NUMPROC")) or _number(env.get("LSB_MAX_NUM_PROCESSORS"))
        )
    if "JOB_ID" in env and "SGE_ROOT" in env:
        return Allocation("grid engine", _number(env.get("NSLOTS")))
    return Allocation()


def read_container(system: System) -> str | None:
    """The kind of container around this process; None on a plain machine."""
    if "KUBERNETES_SERVICE_HOST" in system.environ or system.exists("var/run/secrets/kubernetes.io"):
        return "kubernetes"
    for name in ("APPTAINER_CONTAINER", "SINGULARITY_CONTAINER"):
        if name in system.environ:
            return "apptainer"
    for file, name in ((".dockerenv", "docker"), ("run/.containerenv", "podman")):
        if system.exists(file):
            return name
    groups = system.read("proc/1/cgroup") or ""
    found = re.search(r"kubepods|docker|libpod|containerd|lxc", groups)
    named = {"kubepods": "kubernetes", "libpod": "podman"}
    return named.get(found[0], found[0]) if found else None


def _slurm_memory(system: System, cores: int | None) -> int | None:
    whole = _number(system.environ.get("SLURM_MEM_PER_NODE"))  # MiB; 0 means all of the node
    each = _number(system.environ.get("SLURM_MEM_PER_CPU"))
    if whole:
        return whole * _MIB
    on_node = _number(system.environ.get("SLURM_CPUS_ON_NODE")) or cores
    return each * on_node * _MIB if each and on_node else None


def _slurm_gpus(system: System) -> int | None:
    granted = system.environ.get("SLURM_STEP_GPUS") or system.environ.get("SLURM_JOB_GPUS")
    return len(granted.split(",")) if granted else _number(system.environ.get("SLURM_GPUS_ON_NODE"))


def _number(text: str | None) -> int | None:
    """The leading whole number: 16 of "16(x2)"."""
    found = re.match(r"\d+", text or "")
    return int(found[0]) if found else None
