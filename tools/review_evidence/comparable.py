"""Whether two groups of runs may be compared at all, and what else differs between them."""

from pathlib import Path
from typing import Any

from .._core.ledger import Run
from .impact import BUSY

_LISTED = ("versions", "environment", "git", "memory_limit_bytes", "max_steps", "python", "first_input")
# Remedies that are a change of what is otherwise held equal.
_OF_ENVIRONMENT = {
    "cpu_threads",
    "allocator_settings",
    "runtime",
    "interconnect",
    "timeout_settings",
    "fewer_workers",
}
_OF_MODEL = {"lora", "freezing", "model_reduction", "smaller_model", "simpler_model", "simpler_architecture"}
_OF_MODEL |= {
    "pruning",
    "distillation",
    "quantization",
    "int8",
    "foundation_model",
    "transfer_learning",
    "few_shot",
}


def refusals(before: list[Run], after: list[Run], remedies: list[str]) -> list[str]:
    """Why the runs must not be compared; empty when they may."""
    runs = [*before, *after]
    found = []
    if any(len({run.id for run in side}) < len(side) for side in (before, after)):
        found.append("a run is named twice on a side, which is no repeat of it")
    if overlap := {run.id for run in before} & {run.id for run in after}:
        found.append(f"the same run stands on both sides: {', '.join(sorted(overlap))}")
    devices = _values(runs, lambda run: run.device)
    if len(devices) > 1:
        found.append(f"other machines: {' against '.join(devices)}")
    if len({run.workload for run in runs}) > 1:
        found.append(f"other workloads: {_workloads(runs)}")
    for name, what in _held_equal(set(remedies)):
        sides = [_known(side, name) for side in (before, after)]
        if sides[0] and sides[1] and sides[0] != sides[1]:
            found.append(f"other {what}: {_join(sides[0])} against {_join(sides[1])}")
    return found + _smaller_batch(before, after) + _other_programs(before, after)


def _held_equal(remedies: set[str]) -> list[tuple[str, str]]:
    """What must be the same on both sides where both tell it, beside machine and workload."""
    held = [("samples_per_step", "samples per optimizer step"), ("seed", "seeds")]
    if not remedies & _OF_MODEL:
        held.append(("parameters", "numbers of trained parameters"))
    if not remedies & _OF_ENVIRONMENT:
        held += [(f"versions.{name}", f"versions of {name}") for name in ("python", "torch")]
        held.append(("environment", "environment variables"))
    return held


def _smaller_batch(before: list[Run], after: list[Run]) -> list[str]:
    """A run that died before its first step tells only its first batch: the step after must hold as much."""
    if _known(before, "samples_per_step"):
        return []
    sides = [
        [
            shape[0] * (run.conditions.get("backwards_per_step") or 1)
            for run in side
            if (shape := run.conditions.get("first_input"))
        ]
        for side in (before, after)
    ]
    if not sides[0] or not sides[1] or min(sides[1]) >= max(sides[0]):
        return []
    return [f"other samples per optimizer step: at least {max(sides[0])} against {min(sides[1])}"]


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
    busy = sum(share > BUSY for share in queued)
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
    told = _values(runs, lambda run: " ".join(run.conditions.get("command", [])) or run.workload)
    changing = [set(words) for words in zip(*(text.split() for text in told), strict=False)]
    numbers = [words for words in changing if len(words) > 1]
    same_length = len({len(text.split()) for text in told}) == 1
    may_be_seed = same_length and len(numbers) == 1 and all(word.isdecimal() for word in numbers[0])
    hint = (
        " (if that number is the seed, let the program take it as --seed N or seed=N)" if may_be_seed else ""
    )
    return " against ".join(told) + hint


def _values(runs: list[Run], pick: Any) -> list[str]:
    return sorted({str(pick(run)) for run in runs})


def _known(runs: list[Run], name: str) -> list[str]:
    """The values of a condition, `of.it` where it lies deeper, over the runs that have it."""
    outer, _, inner = name.partition(".")
    values = [run.conditions.get(outer) for run in runs]
    if inner:
        values = [(value or {}).get(inner) for value in values]
    return sorted({str(value) for value in values if value is not None})


def _join(values: list[str]) -> str:
    return ", ".join(values)[:200]
