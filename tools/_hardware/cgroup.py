"""The limits of the control groups that this process lives in, version 1 and 2, nested or seen from a container."""

from dataclasses import dataclass
from pathlib import PurePosixPath

from .system import System

_NO_LIMIT = 1 << 60  # version 1 writes "no limit" as a number just under 2**63


@dataclass(frozen=True)
class Cgroup:
    """The tightest limits over a group and its ancestors, and what is taken under the memory limit."""

    version: int | None = None
    memory_bytes: int | None = None
    memory_used_bytes: int | None = None
    cpu_cores: float | None = None
    memory_source: str | None = None
    cpu_source: str | None = None


def read_cgroup(system: System) -> Cgroup:
    """The limits in force for this process; empty where the system has no control groups."""
    groups = _groups(system)
    mounts = _mounts(system)
    if not groups or not mounts:
        return Cgroup()
    unified = "memory" not in groups or "memory" not in mounts
    memory = _folders(groups, mounts, "" if unified else "memory")
    cpu = _folders(groups, mounts, "" if "cpu" not in groups or "cpu" not in mounts else "cpu")
    limit, where = _least([_memory(system, folder) for folder in memory])
    cores, cpu_where = _least([_cores(system, folder) for folder in cpu])
    return Cgroup(
        version=2 if unified else 1,
        memory_bytes=None if limit is None else int(limit),
        memory_used_bytes=_used(system, where) if where else None,
        cpu_cores=cores,
        memory_source=where,
        cpu_source=cpu_where,
    )


def _groups(system: System) -> dict[str, str]:
    """The group's path by controller; "" stands for version 2."""
    found = {}
    for line in (system.read("proc/self/cgroup") or "").splitlines():
        _, controllers, path = line.split(":", 2)
        found.update(dict.fromkeys(controllers.split(","), path))
    return found


def _mounts(system: System) -> dict[str, tuple[str, str]]:
    """(mount point, the part of the hierarchy that it shows) by controller."""
    found = {}
    for line in (system.read("proc/self/mountinfo") or "").splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = [*after.split(" "), "", ""][:3]
        shown, point = before.split(" ")[3:5]
        if kind == "cgroup2":
            found[""] = (point.lstrip("/"), shown)
        elif kind == "cgroup":
            found.update(dict.fromkeys(options.split(","), (point.lstrip("/"), shown)))
    return found


def _folders(groups: dict[str, str], mounts: dict[str, tuple[str, str]], controller: str) -> list[str]:
    """The group's folder and those of its ancestors, as far as the mount shows them."""
    if controller not in groups or controller not in mounts:
        return []
    point, shown = mounts[controller]
    path, top = PurePosixPath(groups[controller]), PurePosixPath(shown)
    below = path.relative_to(top) if path.is_relative_to(top) else PurePosixPath(str(path).lstrip("/"))
    parts = [part for part in below.parts if part != ".."]
    return [str(PurePosixPath(point, *parts[:depth])) for depth in range(len(parts), -1, -1)]


def _memory(system: System, folder: str) -> tuple[int | None, str]:
    for name in ("memory.max", "memory.limit_in_bytes"):
        limit = system.integer(f"{folder}/{name}")
        if limit is not None and limit < _NO_LIMIT:
            return limit, f"{folder}/{name}"
    return None, folder


def _cores(system: System, folder: str) -> tuple[float | None, str]:
    quota, _, period = (system.read(f"{folder}/cpu.max") or "").partition(" ")
    if quota.isdigit() and period.strip().isdigit():
        return int(quota) / int(period), f"{folder}/cpu.max"
    old = system.integer(f"{folder}/cpu.cfs_quota_us")
    span = system.integer(f"{folder}/cpu.cfs_period_us")
    if old and old > 0 and span:
        return old / span, f"{folder}/cpu.cfs_quota_us"
    return None, folder


def _least(found: list[tuple[float | None, str]]) -> tuple[float | None, str | None]:
    limits = [(value, where) for value, where in found if value is not None]
    return min(limits) if limits else (None, None)


def _used(system: System, where: str) -> int | None:
    """What counts against the limit and cannot be dropped: the usage without the idle page cache."""
    folder = where.rpartition("/")[0]
    used = system.integer(f"{folder}/memory.current")
    used = system.integer(f"{folder}/memory.usage_in_bytes") if used is None else used
    if used is None:
        return None
    stat = dict(
        line.split(" ", 1)
        for line in (system.read(f"{folder}/memory.stat") or "").splitlines()
        if " " in line
    )
    idle = stat.get("total_inactive_file") or stat.get("inactive_file") or "0"
    return max(0, used - int(idle))
