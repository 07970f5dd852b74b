"""How often a spot machine is taken away: the caller's figure, else an assumption with a floor from the catalog."""

import math
from dataclasses import dataclass

from .bands import Band
from .interruptions import Rhythm, best_interval_hours, expect
from .option import Choice
from .workload import AnyWorkload, Batch, Training

# Without the caller's figure. Judgement (references/cost.md#interruptions): one in two days; GPU pools have been seen
# to lose a machine every few hours, and the provider's monthly figures are a floor.
ASSUMED_PER_HOUR = 0.02
ASSUMED_HIGH_PER_HOUR = 0.2
ASSUMED_RESTART_SECONDS = 300
ASSUMED_WRITE_SECONDS = 60  # of one checkpoint, where neither it nor an interval is given
_CONTINUOUS_HOURS = 1 / 3600  # where a checkpoint costs nothing
_MONTH_HOURS = 730

# The share of machines reclaimed in the trailing month, as AWS's advisor words it, and the middle of each bucket;
# the last is open above.
_RECLAIMED = {"<5%": 0.025, "5-10%": 0.075, "10-15%": 0.125, "15-20%": 0.175, ">20%": 0.25}
_NEVER_FACTOR = 10.0  # the upper band where work may never finish at the high rate


@dataclass(frozen=True, slots=True)
class Rate:
    """Interruptions per hour of one machine."""

    expected: float
    low: float
    high: float
    assumed: bool


def rate_of(workload: AnyWorkload, choice: Choice) -> Rate:
    """The option's own figure, else the workload's, else the assumption."""
    stated = choice.interruptions_per_hour
    stated = workload.interruptions_per_hour if stated is None else stated
    if stated is not None:
        return Rate(stated, stated / 2, stated * 2, assumed=False)
    floor = reclaim_floor(choice.reclaimed_per_month)
    return Rate(max(ASSUMED_PER_HOUR, floor), floor, ASSUMED_HIGH_PER_HOUR, assumed=True)


def reclaim_floor(bucket: str | None) -> float:
    """L = -ln(1 - p) / 730: the bucket is a share of a month, not a rate."""
    return -math.log1p(-_RECLAIMED[bucket]) / _MONTH_HOURS if bucket in _RECLAIMED else 0.0


def rhythm_of(workload: Training | Batch, rate: float) -> Rhythm:
    """The caller's checkpoints; without an interval, the best one for this rate."""
    checkpoint = workload.checkpoint
    restart = checkpoint.restart_seconds if checkpoint else None
    restart = workload.restart_seconds if restart is None else restart
    restart_hours = (ASSUMED_RESTART_SECONDS if restart is None else restart) / 3600
    if checkpoint is None:
        return Rhythm(None, 0.0, restart_hours)
    if checkpoint.interval_seconds is not None:
        return Rhythm(
            checkpoint.interval_seconds / 3600, (checkpoint.write_seconds or 0.0) / 3600, restart_hours
        )
    write = (ASSUMED_WRITE_SECONDS if checkpoint.write_seconds is None else checkpoint.write_seconds) / 3600
    if not write:
        return Rhythm(_CONTINUOUS_HOURS, 0.0, restart_hours)
    return Rhythm(best_interval_hours(write, rate) or math.inf, write, restart_hours)


def rate_band(work_hours: float, rate: Rate, rhythm: Rhythm, members: int) -> Band:
    """The cost at the low and at the high rate, over the expected one."""
    middle = expect(work_hours, rate.expected * members, rhythm).wall_hours
    low = expect(work_hours, rate.low * members, rhythm).wall_hours
    high = expect(work_hours, rate.high * members, rhythm).wall_hours
    return min(low / middle, 1.0), max(1.0, min(high / middle, _NEVER_FACTOR))
