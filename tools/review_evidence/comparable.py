"""Whether two groups of runs may be compared at all, and what else differs between them."""

from pathlib import Path
from typing import Any

from .._core.ledger import Run

_BUSY = 0.2
_LISTED = ("versions", "environment", "git", "memory_limit_bytes", "max_steps", "python")


def refusals(before: list[Run], after: list[Run]) -> list[str]:
    """Why the runs must not be compared; empty when they may."""
    runs = [*before, *after]
    found = []
    if overlap := {run.id for run in before} & {run.id for run in after}:
        found.append(f"the same run stands on both sides: {', '.join(sorted(overlap))}")
    devices = _values(runs, lambda run: run.device)
    if len(devices) > 1:
        found.append(f"other machines: {' against '.join(devices)}")
    if len({run.workload for run in runs}) > 1:
        found.append(f"other workloads: {_workloads(runs)}")
    for name, what in (("samples_per_step", "samples per optimizer step"), ("seed", "seeds")):
        sides = [_known(side, name) for side in (before, after)]
        if sides[0] and sides[1] and sides[0] != sides[1]:
            found.append(f"other {what}: {_join(sides[0])} against {_join(sides[1])}")
    return found + _other_programs(before, after)


def differences(before: list[Run], after: list[Run]) -> list[str]:
    """Conditions that are not part of the workload and differ: they may explain part of what was measured."""
    found = []
    scripts = [
        _values(side, lambda run: (run.conditions.get("script") or {}).get("sha256"))
        for side in (before, after)
    ]
    if scripts[0] != scripts[1]:
        names = [
            _values(side, lambda run: Path((run.conditions.get("script") or {}).get("path", "")).name)
            for side in (before, after)
        ]
        found.append(f"script: {_join(names[0])} against {_join(names[1])} (its content differs)")
    for name in _LISTED:
        sides = [_values(side, lambda run, name=name: run.conditions.get(name)) for side in (before, after)]
        if sides[0] != sides[1]:
            found.append(f"{name}: {_join(sides[0])} against {_join(sides[1])}")
    queued = [run.conditions.get("queued_share") or 0.0 for run in [*before, *after]]
    busy = sum(share > _BUSY for share in queued)
    if busy:
        found.append(
            f"load: in {busy} of {len(queued)} runs threads waited for a processor, up to {max(queued):.0%}"
        )
    return found


def _other_programs(before: list[Run], after: list[Run]) -> list[str]:
    """Scripts under other names compare only when one is a revision of the other."""
    likeness = [
        run.conditions["script"]["lines"]
        for side in (before, after)
        for run in side[:1]
        if run.conditions.get("script")
    ]
    if len(likeness) < 2:
        return []
    shared = len(set(likeness[0]) & set(likeness[1])) / max(
        1, min(len(set(likeness[0])), len(set(likeness[1])))
    )
    return [] if shared >= 0.5 else [f"other programs: their scripts share {shared:.0%} of their lines"]


def _workloads(runs: list[Run]) -> str:
    return " against ".join(
        _values(runs, lambda run: " ".join(run.conditions.get("command", [])) or run.workload)
    )


def _values(runs: list[Run], pick: Any) -> list[str]:
    return sorted({str(pick(run)) for run in runs})


def _known(runs: list[Run], name: str) -> list[str]:
    return sorted({str(run.conditions[name]) for run in runs if run.conditions.get(name) is not None})


def _join(values: list[str]) -> str:
    return ", ".join(values)[:200]
