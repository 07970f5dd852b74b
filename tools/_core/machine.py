"""Nouns for what a computer offers. `detect_hardware` reports one; other Requests take one as a field.

Figures are None where they could not be read; `missing` then says why, by dotted field name.
"""

from pydantic import BaseModel, ConfigDict, Field


class _Noun(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, protected_namespaces=())


class Cpu(_Noun):
    model: str | None = None
    architecture: str | None = Field(
        None, description="As platform.machine() names it: x86_64, aarch64, arm64."
    )
    physical_cores: int | None = None
    logical_cores: int | None = None
    usable_cores: float | None = Field(
        None, description="After affinity, cgroup quota and scheduler allocation."
    )
    isa: list[str] = Field(
        [], description="Extensions that matter for inference: avx2, avx512f, avx512_vnni, amx_int8..."
    )


class HostMemory(_Noun):
    total_bytes: int | None = None
    available_bytes: int | None = None
    limit_bytes: int | None = Field(
        None, description="The cgroup's or scheduler's limit; None when there is none."
    )
    usable_bytes: int | None = Field(None, description="What this process may still take under every limit.")
    swap_bytes: int | None = None
    shm_bytes: int | None = Field(None, description="Size of /dev/shm, which data-loader workers use.")


class GpuProcess(_Noun):
    pid: int
    name: str | None = None
    memory_bytes: int | None = None
    is_own: bool | None = Field(
        None, description="Runs under this user; None when that cannot be told, as inside a container."
    )


class Accelerator(_Noun):
    index: int = Field(description="As its driver counts; a MIG slice has the index of its GPU.")
    vendor: str = Field(description="nvidia, amd, intel or apple.")
    name: str
    catalog_name: str | None = Field(None, description="The row of the GPU catalog, where the name is known.")
    uuid_short: str | None = None
    memory_bytes: int | None = None
    free_bytes: int | None = None
    used_bytes: int | None = None
    compute_capability: str | None = None
    supports_bf16: bool | None = Field(None, description="Natively; emulation does not count.")
    is_mig_slice: bool = False
    mig_profile: str | None = Field(None, description="Such as 1g.10gb.")
    is_visible: bool = Field(
        True, description="False when an environment variable hides it from this process."
    )
    is_unified_memory: bool = False
    utilization_percent: float | None = None
    power_limit_watts: float | None = None
    throttle_reasons: list[str] = []
    ecc_errors: int | None = None
    processes: list[GpuProcess] = []


class DiskSpace(_Noun):
    path: str
    total_bytes: int
    free_bytes: int
    free_inodes: int | None = None


class Software(_Noun):
    os: str | None = None
    python: str | None = Field(None, description="The interpreter that was asked for its frameworks.")
    python_version: str | None = None
    nvidia_driver: str | None = None
    driver_cuda_version: str | None = Field(None, description="The newest CUDA that the driver can run.")
    torch_version: str | None = None
    torch_cuda_version: str | None = Field(
        None, description="The CUDA that torch was built for; None for a CPU build."
    )
    cuda_available: bool | None = None
    cuda_unavailable_reason: str | None = None
    frameworks: dict[str, str] = Field({}, description="Version by distribution name.")


class ResourceLimits(_Noun):
    container: str | None = Field(
        None, description="docker, podman, kubernetes, ... when the process runs in one."
    )
    scheduler: str | None = Field(None, description="slurm, pbs, lsf, ... when a job's environment is found.")
    cgroup_version: int | None = None
    cgroup_memory_bytes: int | None = None
    cgroup_cpu_cores: float | None = None
    affinity_cores: int | None = None
    scheduler_cpu_cores: int | None = None
    scheduler_memory_bytes: int | None = None
    scheduler_gpus: int | None = None
    visible_devices: str | None = Field(None, description="CUDA_VISIBLE_DEVICES or its peers, as set.")
    address_space_bytes: int | None = Field(
        None, description="The soft limit of `ulimit -v`; None when there is none."
    )
    open_files: int | None = Field(None, description="The soft limit of `ulimit -n`.")


class Machine(_Noun):
    cpu: Cpu = Cpu()
    memory: HostMemory = HostMemory()
    accelerators: list[Accelerator] = []
    disk: list[DiskSpace] = []
    software: Software = Software()
    limits: ResourceLimits = ResourceLimits()
