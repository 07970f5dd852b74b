"""What a change of the work itself would save, beside choosing another machine."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from .arrivals import DAY_SECONDS
from .candidate import USABLE_SHARE, Candidate
from .compare import Comparison
from .interruptions import Rhythm, best_interval_hours, expect
from .rates import ASSUMED_WRITE_SECONDS, rate_of, rhythm_of
from .serve import instance_seconds
from .workload import AnyWorkload, Batch, Inference, Training

# Stop the worse half of the trials at a quarter of their time: one round of successive halving, on purpose a mild one.
_STOPPED, _STOPPED_AT = 0.5, 0.25
_CARD_GIB = (8, 12, 16, 24, 32, 40, 48, 80, 96, 141)  # memory sizes that cards are sold with
_WORTH = 0.05  # of the cost; a smaller saving is not worth a change of the work

Replan = Callable[
    [AnyWorkload], Candidate | None
]  # the plan to take for another workload, other things equal


@dataclass(frozen=True, slots=True)
class Change:
    change: str
    usd: float
    saves_usd: float


def changes(workload: AnyWorkload, comparison: Comparison, replan: Replan) -> Iterator[Change]:
    """Changes that save something, each against the cheapest plan it applies to."""
    candidates, best = comparison.feasible, comparison.recommended
    for one in comparison.aside[:1]:
        if best is not None and one.usd < best.usd:
            what = f"{one.name} ({one.notes[-1]}; something must watch the clock)"
            yield Change(what, one.usd, best.usd - one.usd)
    if isinstance(workload, Training | Batch):
        yield from _with_checkpoints(workload, candidates)
    if isinstance(workload, Training) and workload.trials > 1 and candidates:
        usd = candidates[0].usd * (1 - _STOPPED * (1 - _STOPPED_AT))
        what = (
            f"stop the worse half of the {workload.trials} trials at a quarter of their time "
            "(fewer_experiments in references/remedies.md)"
        )
        yield Change(what, usd, candidates[0].usd - usd)
    if isinstance(workload, Inference):
        yield from _shorter_idle_window(workload, candidates)
        yield from _once_a_day(workload, candidates, best)
    for what, looser in _looser(workload):
        other = replan(looser)
        if other is not None and (best is None or other.usd < best.usd * (1 - _WORTH)):
            saves = best.usd - other.usd if best else 0.0
            yield Change(f"{what}: {other.name}", other.usd, saves)


def _looser(workload: AnyWorkload) -> Iterator[tuple[str, AnyWorkload]]:
    """The workload with one requirement eased."""
    if isinstance(workload, Training) and workload.insists_on_precision and workload.precision != "fp16":
        yield "if fp16 with a loss scaler is enough", workload.model_copy(update={"precision": "fp16"})
    on_gpu = isinstance(workload, Training) or workload.gpus is not None or workload.accelerator is not None
    needed = workload.memory_bytes or 0
    smaller = [gib for gib in _CARD_GIB if gib * 2**30 * USABLE_SHARE < needed]
    if on_gpu and smaller:
        usable = int(smaller[-1] * 2**30 * USABLE_SHARE)
        what = f"if it fitted {usable / 2**30:.1f} GiB, a card of {smaller[-1]} (ask estimate_memory for remedies)"
        yield what, workload.model_copy(update={"memory_bytes": usable})


def _with_checkpoints(workload: Training | Batch, candidates: list[Candidate]) -> Iterator[Change]:
    spot = next((one for one in candidates if one.purchase == "spot" and one.wall_hours), None)
    if spot is None or workload.checkpoint is not None:
        return
    assert spot.work_hours is not None
    hours = spot.work_hours
    rate = rate_of(workload, spot.choice).expected * spot.machines
    write = ASSUMED_WRITE_SECONDS / 3600
    interval = best_interval_hours(write, rate)
    if interval is None or interval >= hours:
        return
    outcome = expect(hours, rate, Rhythm(interval, write, rhythm_of(workload, rate).restart_hours))
    usd = spot.usd * outcome.wall_hours / expect(hours, rate, rhythm_of(workload, rate)).wall_hours
    if usd < candidates[0].usd:
        what = f"checkpoint about every {interval * 60:.0f} min ({ASSUMED_WRITE_SECONDS} s each) and take {spot.name}"
        yield Change(what, usd, candidates[0].usd - usd)


def _shorter_idle_window(workload: Inference, candidates: list[Candidate]) -> Iterator[Change]:
    """An idle window that is shorter than the gap between requests, where today's keeps the instance up all day."""
    free = next(
        (one for one in candidates if one.choice.fees is not None and one.choice.fees.bills_idle), None
    )
    shape = workload.shape
    if free is None or not workload.idle_seconds or shape.kind != "even":
        return
    gap = DAY_SECONDS / workload.requests_per_day
    shorter = workload.model_copy(update={"idle_seconds": gap / 4})
    usd = free.usd * instance_seconds(shorter).seconds / instance_seconds(workload).seconds
    if gap / 4 < workload.idle_seconds and usd < candidates[0].usd:
        what = f"cut the idle window to {gap / 4:.3g} s (requests come every {gap:.4g} s); each then meets a cold start"
        yield Change(what, usd, candidates[0].usd - usd)


def _once_a_day(workload: Inference, candidates: list[Candidate], best: Candidate | None) -> Iterator[Change]:
    """The day's requests worked off in one go, where nobody waits for them, on the cheapest machine by the hour."""
    on = next((one for one in candidates if one.purchase == "on_demand" and one.mode == "always on"), None)
    if best is None or on is None or workload.latency_seconds is not None:
        return
    usd = on.usd_per_hour * on.busy_hours
    if usd < best.usd * (1 - _WORTH):
        hours = on.busy_hours / workload.days
        what = (
            f"if the requests may wait: {hours:.3g} h a day as a batch on {on.choice.name} (batch_inference)"
        )
        yield Change(what, usd, best.usd - usd)
