"""Why a run is slow or grows: each cause with the evidence that shows it, or nothing.

A threshold is where a healthy run no longer explains the figure; benchmarks/measure_causes.py shows both sides.
"""

import itertools
import statistics
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from .._core.quantity import human_bytes
from .series import Series, percentile, usual
from .trace import Trace

_WAITING = 1 / 3  # share of the step time from which waiting for data binds
_GAP = 0.4  # the same for input that comes by another way than a DataLoader
_EVERY_STEP = 0.8  # share of the steps that must show a thing before "every step" is said
_LEAST_LAPS = 8
_LEAK_BYTES = 8 * 1024**2  # growth over the run below which caches and allocators explain it
_SMALL_BATCH = 8
_OVERHEAD = (1e-3, 2e-4)  # seconds of a step that dispatch alone explains: once, and per parameter tensor
_DEMAND = 1.5  # runnable threads per core
_QUEUED = 0.3  # share of their runnable time that threads spend waiting for a core
_SWAP_BYTES = 8 * 1024**2


class Cause(BaseModel):
    """One reason, with what shows it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cause: str = Field(
        description="data_loader_bound, synchronization, leak, tiny_batches, cpu_oversubscription or swap."
    )
    share: float | None = Field(None, description="Of the step time, where it can be told.")
    evidence: str
    growth_bytes_per_step: int | None = None


def find_causes(trace: Trace, series: Series, usage: dict[str, Any], cores: float) -> list[Cause]:
    """The causes that the figures show, the one with the largest share first. `usage` is the supervisor's reply."""
    if len(series.laps) < _LEAST_LAPS:
        return []
    found = [
        _data(series, usage),
        _gap(series),
        _synchronization(trace, series),
        _leak(series),
        _tiny_batches(trace, series, usage),
        _oversubscription(trace, series, usage, cores),
        _swap(series, usage),
    ]
    return sorted((cause for cause in found if cause), key=lambda cause: -(cause.share or 0))


def total(series: Series, name: str) -> float:
    """The sum of one field of the steps over the laps that count."""
    return sum(getattr(lap.step, name) or 0 for lap in series.laps)


def data_wait_share(series: Series) -> float | None:
    """The share of the step time that the training thread waits for a DataLoader."""
    return total(series, "data_seconds") / sum(series.seconds) if series.laps else None


def _data(series: Series, usage: dict[str, Any]) -> Cause | None:
    share = data_wait_share(series) or 0.0
    if share < _WAITING:
        return None
    busy = total(series, "data_cpu_seconds") / total(series, "data_seconds")
    if busy > 0.5:
        how = "preparing samples on the training thread's own processor (preprocessing; no loader workers)"
    elif usage["most_processes"] > 1:
        how = "waiting for loader workers"
    else:
        how = "waiting without computing: slow storage, network or sleep in the data set"
    return Cause(
        cause="data_loader_bound",
        share=round(share, 3),
        evidence=f"{share:.0%} of the step time goes to the DataLoader: {how}",
    )


def _gap(series: Series) -> Cause | None:
    if series.laps[0].step.optimizer < 0:
        return None  # the step ends with its backward pass: what follows is the parameters' update, not input
    gaps = [
        max(0.0, (lap.step.gap_seconds or 0.0) - lap.step.sync_seconds) / lap.seconds for lap in series.laps
    ]
    share = percentile(gaps, 0.5)
    if share < _GAP:
        return None
    busy = total(series, "gap_cpu_seconds") / total(series, "gap_seconds")
    how = "computing on the training thread" if busy > 0.5 else "waiting without computing"
    return Cause(
        cause="data_loader_bound",
        share=round(share, 3),
        evidence=f"{share:.0%} of the median step passes between a step and the next forward pass, outside a "
        f"DataLoader: {how}; input preparation, logging or a sleep there",
    )


def _synchronization(trace: Trace, series: Series) -> Cause | None:
    """Tensors read back in nearly every step by the program's own code. An accelerator drains its queue for each.

    On a CPU nothing is queued: the share says what they cost there, which may be next to nothing.
    """
    hit = [lap.step.user_syncs for lap in series.laps if lap.step.user_syncs]
    if not hit or len(hit) < _EVERY_STEP * len(series.laps):
        return None
    share = total(series, "sync_seconds") / sum(series.seconds)
    sites = ", ".join(site for site, _ in trace.facts.get("end", {}).get("sites", []))
    at = f" ({sites})" if sites else ""
    accelerated = any(one["device"] != "cpu" for one in trace.optimizers)
    where = "" if accelerated else " on this CPU; on a GPU"
    return Cause(
        cause="synchronization",
        share=round(share, 4),
        evidence=f".item() and its like {sum(hit) / len(series.laps):.1f} times a step{at}: they take {share:.1%} of "
        f"the step time{where or ';'} each one waits until everything queued has run",
    )


def _leak(series: Series) -> Cause | None:
    laps = series.laps
    graphs = (laps[-1].step.graphs - laps[0].step.graphs) / (len(laps) - 1)
    retained = graphs > _EVERY_STEP / 2 and laps[-1].step.graphs > _LEAST_LAPS
    for name, where in (("gpu_allocated_bytes", "GPU"), ("anonymous_bytes", "host")):
        values = [getattr(lap.step, name) for lap in laps]
        if None in values:
            continue
        rate = _growth(values)
        if rate or (retained and name == "anonymous_bytes"):
            why = f"graphs of earlier steps stay alive (about {laps[-1].step.graphs} at the end): a retained graph"
            rate = rate or max(0.0, (values[-1] - values[0]) / (len(values) - 1))
            return Cause(
                cause="leak",
                growth_bytes_per_step=round(rate),
                evidence=f"{where} memory grows by {human_bytes(round(rate))} a step over {len(laps)} steps; "
                + (why if retained else "no autograd graph is kept, so something else collects per step"),
            )
    return None


def _growth(values: list[int]) -> float:
    """Bytes per step when memory rises from each quarter of the run to the next at a like pace, else 0.

    Medians, because an allocator gives back and takes again from step to step; a cache that fills slows down instead.
    Minima as well, because what swings by more than it grows may rise in its medians by accident, but not in its floor.
    """
    quarter = len(values) / 4
    quarters = [values[round(n * quarter) : round((n + 1) * quarter)] for n in range(4)]
    return min(
        _steady_rise([level(part) for part in quarters], len(values)) for level in (statistics.median, min)
    )


def _steady_rise(levels: list[float], steps: int) -> float:
    """Bytes per step of levels that rise at a like pace from quarter to quarter and by enough in all, else 0."""
    quarter = steps / 4
    rises = [later - earlier for earlier, later in itertools.pairwise(levels)]
    rate = (levels[-1] - levels[0]) / (3 * quarter)
    steady = min(rises) > 0.5 * rate * quarter
    return rate if steady and rate * steps > max(_LEAK_BYTES, 0.02 * levels[0]) else 0.0


def queued_share(usage: dict[str, Any]) -> float | None:
    """The share of their ready time that the run's threads waited for a processor; None where it is not told."""
    last = _samples(usage)[-1] if usage["samples"] else {}
    ran, waited = last.get("ran_seconds"), last.get("waited_seconds")
    return round(waited / (ran + waited), 3) if ran else None


def samples_per_step(trace: Trace, series: Series) -> int | None:
    """Samples that one optimizer step learns from: what its DataLoader batches held, else the model's first input."""
    if not series.leading:
        return None
    steps = [step for step in series.leading if not step.evaluations] or series.leading
    if counted := usual([step.samples for step in steps]):
        return counted
    shape = trace.facts.get("model", {}).get("shape")
    return int(shape[0]) * usual([step.backwards for step in steps]) if shape else None


def _tiny_batches(trace: Trace, series: Series, usage: dict[str, Any]) -> Cause | None:
    samples = samples_per_step(trace, series)
    tensors = sum(one["tensors"] for one in trace.optimizers)
    if not samples or samples > _SMALL_BATCH or not tensors:
        return None
    computing = percentile([lap.step.thread_seconds - lap.step.data_cpu_seconds for lap in series.laps], 0.5)
    overhead = _OVERHEAD[0] + _OVERHEAD[1] * tensors
    if computing > overhead:
        return None
    return Cause(
        cause="tiny_batches",
        evidence=f"{samples} samples a step, {computing * 1e3:.2f} ms of the training thread's processor time: for "
        f"{tensors} parameter tensors that is the fixed cost of starting operations, which a larger batch shares",
    )


def _oversubscription(trace: Trace, series: Series, usage: dict[str, Any], cores: float) -> Cause | None:
    window = _window(series, usage)
    if len(window) < 2 or window[0]["ran_seconds"] is None:
        return None
    ran, waited, seconds = (
        window[-1][name] - window[0][name] for name in ("ran_seconds", "waited_seconds", "at")
    )
    demand, queued = (ran + waited) / seconds, waited / max(ran + waited, 1e-9)
    if demand < _DEMAND * cores or queued < _QUEUED:
        return None
    threads = trace.facts.get("end", trace.facts.get("torch", {})).get("threads")
    return Cause(
        cause="cpu_oversubscription",
        share=round(queued, 3),
        evidence=f"{demand:.1f} threads of this run are ready at a time for {cores:g} cores, and spend {queued:.0%} "
        f"of it waiting for one (torch uses {threads} threads, {usage['most_processes']} processes)",
    )


def _swap(series: Series, usage: dict[str, Any]) -> Cause | None:
    swapped = max((sample["swapped_bytes"] for sample in _samples(usage)), default=0)
    faults = (series.laps[-1].step.major_faults or 0) - (series.laps[0].step.major_faults or 0)
    brought = usage["machine_after"]["swapped_in_bytes"] - usage["machine_before"]["swapped_in_bytes"]
    if swapped < _SWAP_BYTES or (faults < len(series.laps) and brought < _SWAP_BYTES):
        return None
    return Cause(
        cause="swap",
        evidence=f"{human_bytes(swapped)} of the run were swapped out at the peak, with {faults} faults that had to "
        f"read from disk in {len(series.laps)} steps; the machine read {human_bytes(brought)} back",
    )


def _samples(usage: dict[str, Any]) -> list[dict[str, Any]]:
    return [dict(zip(usage["columns"], sample, strict=True)) for sample in usage["samples"]]


def _window(series: Series, usage: dict[str, Any]) -> list[dict[str, Any]]:
    """The samples taken while the steps that count ran."""
    first = series.laps[0].step.at - series.laps[0].seconds
    return [sample for sample in _samples(usage) if first <= sample["at"] <= series.laps[-1].step.at]
