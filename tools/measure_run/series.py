"""Step times from a trace: which steps count, what is warm-up, and their percentiles."""

import itertools
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any

from .trace import Step, Trace

_WARM_UP = 5  # steps, or a fifth of them when there are fewer than 25


@dataclass(frozen=True)
class Lap:
    """The time between the ends of two iterations, and what was noted in it."""

    step: Step
    seconds: float
    cpu_seconds: float


@dataclass(frozen=True)
class Series:
    """The iterations of a run."""

    steps: int
    laps: list[Lap]  # after warm-up, without those that hold an evaluation
    evaluated: int  # laps left out because they hold an evaluation
    longest_seconds: float  # of all laps
    last_at: float  # when the last step ended, on the monotonic clock
    leading: list[Step]  # every one, warm-up included

    @property
    def losses(self) -> list[float | None]:
        return [step.loss for step in self.leading]

    @property
    def seconds(self) -> list[float]:
        """The step times, in the order they were taken."""
        return [lap.seconds for lap in self.laps]


def percentile(values: list[float], share: float) -> float:
    """The value below which that share lies, interpolated between neighbours."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def usual(counts: list[int]) -> int:
    """What at least half of the steps have, the first of two (a short last batch decides nothing), or the median."""
    value, often = Counter(counts).most_common(1)[0]
    return value if 2 * often >= len(counts) else round(percentile([float(count) for count in counts], 0.5))


def summary_of_calls(
    seconds: list[float], first_seconds: float, batch_size: int | None, threads: int | None
) -> dict[str, Any]:
    """Latency percentiles and throughput of calls that followed one another, and the first call by itself."""
    per_second = len(seconds) / sum(seconds)
    return {
        "batch_size": batch_size,
        "threads": threads,
        "calls": len(seconds),
        "first_seconds": _short(first_seconds),
        **{f"p{share}_seconds": _short(percentile(seconds, share / 100)) for share in (50, 95, 99)},
        "calls_per_second": _short(per_second),
        "samples_per_second": _short(per_second * (batch_size or 1)),
    }


def _short(value: float) -> float:
    """Six digits: more would only claim to be known."""
    return float(f"{value:.6g}")


def forward_passes(trace: Trace) -> list[dict[str, Any]]:
    """The forward passes of a program that only infers, as calls; empty where it trains."""
    seconds = [took for _, took in trace.forwards]
    if trace.steps or len(seconds) < 2:
        return []
    warm = min(_WARM_UP, max(1, len(seconds) // 5))
    return [summary_of_calls(seconds[warm:], seconds[0], None, None)]


def series_of(trace: Trace) -> Series:
    """The iterations of a trace: steps of the optimizer that leads, one after another."""
    leading = _leading(trace.steps)
    laps = [
        Lap(step, step.at - before.at, step.cpu_seconds - before.cpu_seconds)
        for before, step in itertools.pairwise(leading)
    ]
    warm = laps[min(_WARM_UP, max(1, len(laps) // 5)) :] or laps
    plain = [lap for lap in warm if not lap.step.evaluations]
    if len(plain) * 2 < len(warm):  # inference is part of each step, as in reinforcement learning
        plain = warm
    return Series(
        steps=len(leading),
        laps=plain,
        evaluated=len(warm) - len(plain),
        longest_seconds=max((lap.seconds for lap in laps), default=0.0),
        last_at=leading[-1].at if leading else 0.0,
        leading=leading,
    )


def _leading(steps: list[Step]) -> list[Step]:
    """Steps that close an iteration, each with the sums of everything since the one before.

    Backward passes count as steps only where no optimizer ever stepped (updates by hand). Optimizers whose spans
    overlap work together (a GAN's two, one per parameter): the busiest of them counts, the last one to step in a
    tie. Optimizers that follow one another all count.
    """
    spans: dict[int, list[int]] = defaultdict(list)
    by_hand = all(step.optimizer < 0 for step in steps)
    for place, step in enumerate(steps):
        if step.optimizer >= 0 or by_hand:
            spans[step.optimizer].append(place)
    groups: list[list[int]] = []
    reach = -1
    for number in sorted(spans, key=lambda number: spans[number][0]):
        if spans[number][0] > reach:
            groups.append([])
        groups[-1].append(number)
        reach = max(reach, spans[number][-1])
    leads = {max(group, key=lambda n: (len(spans[n]), spans[n][-1])) for group in groups}
    return _summed(steps, leads)


def _summed(steps: list[Step], leads: set[int]) -> list[Step]:
    kept: list[Step] = []
    waiting: list[Step] = []
    for step in steps:
        waiting.append(step)
        if step.optimizer in leads:
            kept.append(_sum(waiting))
            waiting = []
    return kept


_SUMMED = (
    "data_seconds", "data_cpu_seconds", "batches", "samples", "sync_seconds", "syncs", "user_syncs", "copy_seconds",
    "backwards", "thread_seconds", "evaluations",
)  # fmt: skip


def _sum(steps: list[Step]) -> Step:
    if len(steps) == 1:
        return steps[0]
    losses = [step.loss for step in steps if step.loss is not None]
    return steps[-1]._replace(
        **{name: sum(getattr(step, name) for step in steps) for name in _SUMMED},
        gap_seconds=steps[0].gap_seconds,
        gap_cpu_seconds=steps[0].gap_cpu_seconds,
        loss=sum(losses) if losses else None,
    )
