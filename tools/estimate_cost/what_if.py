"""What a change of the work itself would save, beside choosing another machine."""

from collections.abc import Iterator
from dataclasses import dataclass

from .arrivals import DAY_SECONDS
from .candidate import Candidate
from .interruptions import Rhythm, best_interval_hours, expect
from .rates import rate_of, rhythm_of
from .serve import instance_seconds
from .workload import AnyWorkload, Batch, Inference, Training

ASSUMED_WRITE_SECONDS = 60  # of one checkpoint, where the caller writes none yet
# Stop the worse half of the trials at a quarter of their time: one round of successive halving, on purpose a mild one.
_STOPPED, _STOPPED_AT = 0.5, 0.25


@dataclass(frozen=True, slots=True)
class Change:
    change: str
    usd: float
    saves_usd: float


def changes(workload: AnyWorkload, candidates: list[Candidate]) -> Iterator[Change]:
    """Changes that save something, each against the cheapest plan it applies to."""
    if isinstance(workload, Training | Batch):
        yield from _with_checkpoints(workload, candidates)
    if isinstance(workload, Training) and workload.trials > 1 and candidates:
        usd = candidates[0].usd * (1 - _STOPPED * (1 - _STOPPED_AT))
        what = f"stop the worse half of the {workload.trials} trials at a quarter of their time"
        yield Change(what, usd, candidates[0].usd - usd)
    if isinstance(workload, Inference):
        yield from _shorter_idle_window(workload, candidates)


def _with_checkpoints(workload: Training | Batch, candidates: list[Candidate]) -> Iterator[Change]:
    spot = next((one for one in candidates if one.purchase == "spot" and one.wall_hours), None)
    if spot is None or not candidates or rhythm_of(workload, 1.0).interval_hours is not None:
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
