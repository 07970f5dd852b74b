"""One option bought on demand, by commitment or on spot, for hours that are known by machine count."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date

from .bands import price_band
from .candidate import Candidate, Miss, Purchase
from .interruptions import Outcome, best_interval_hours, expect, odds_within
from .option import Choice, Constraints
from .rates import Rate, rate_band, rate_of, rhythm_of
from .sizing import Sizing
from .workload import Batch, Training

SAFE_LOSS = 0.5  # of the time; beyond it the first-order formula is not to be trusted


@dataclass(frozen=True, slots=True)
class Job:
    """What is bought: `runs` one after another, each within `within_hours`.

    `independent` machines lose only their own share when one is taken away; otherwise all of them stop.
    """

    workload: Training | Batch
    sizing: Sizing
    constraints: Constraints
    today: date
    runs: float
    within_hours: float | None
    independent: bool = False
    suffix: str = ""

    def members(self, machines: int) -> int:
        """How many machines' interruptions stop one run."""
        return 1 if self.independent else machines


def purchases(job: Job, choice: Choice) -> Iterator[Candidate | Miss]:
    """On demand, committed and spot, each on the fewest machines that are in time."""
    spot = job.constraints.spot
    if choice.kind == "own":
        yield _by_the_hour(job, choice, "own", "own", choice.on_demand or 0.0)
        return
    if choice.on_demand is not None and spot != "require":
        yield _by_the_hour(job, choice, "on_demand", "on-demand", choice.on_demand)
    for label, price in choice.commits if choice.as_of is None and spot != "require" else ():
        one = _by_the_hour(job, choice, "committed", label, price)
        one.notes.append("a commitment is paid for every hour of its term: this holds if the others are used")
        yield one
    if choice.spot is not None and spot != "forbid":
        yield _on_spot(job, choice, choice.spot)
    elif spot == "require":
        yield Miss(choice.name, "spot", f"no spot price is held for {choice.name}")


def _by_the_hour(job: Job, choice: Choice, purchase: Purchase, mode: str, price: float) -> Candidate:
    sizing = job.sizing
    machines = sizing.fewest(job.within_hours)
    hours = sizing.hours_at(machines)
    total = hours * machines * job.runs
    return Candidate(
        choice=choice,
        purchase=purchase,
        mode=mode + job.suffix,
        usd=price * total,
        usd_per_hour=price,
        machines=machines,
        wall_hours=hours * job.runs,
        interruptions=0.0,
        same_machine_usd=None if choice.on_demand is None else choice.on_demand * total,
        bands={"price": price_band(choice.as_of, job.today), **sizing.bands},
        busy_hours=total,
        extras={"time_basis": sizing.basis},
        notes=list(sizing.notes),
    )


def _on_spot(job: Job, choice: Choice, price: float) -> Candidate | Miss:
    sizing, within = job.sizing, job.within_hours
    rate = rate_of(job.workload, choice)

    def outcome(count: int) -> Outcome:
        total = rate.expected * job.members(count)
        return expect(sizing.hours_at(count), total, rhythm_of(job.workload, total))

    machines = _fewest_on_spot(sizing, within, lambda count: outcome(count).wall_hours)
    expected = outcome(machines)
    if math.isinf(expected.wall_hours):
        return _endless(job, choice, rate, machines)
    hours, work = expected.wall_hours * machines * job.runs, sizing.hours_at(machines)
    total_rate = rate.expected * job.members(machines)
    rhythm = rhythm_of(job.workload, total_rate)
    one = Candidate(
        choice=choice,
        purchase="spot",
        mode="spot" + job.suffix,
        usd=price * hours,
        usd_per_hour=price,
        machines=machines,
        wall_hours=expected.wall_hours * job.runs,
        work_hours=work,
        interruptions=expected.interruptions * job.runs * (machines if job.independent else 1),
        same_machine_usd=None if choice.on_demand is None else choice.on_demand * work * machines * job.runs,
        bands={
            "price": price_band(choice.spot_as_of, job.today, derived=choice.spot_method == "derived"),
            **sizing.bands,
            "interruption rate": rate_band(work, rate, rhythm, job.members(machines)),
        },
        busy_hours=hours,
        extras={"time_basis": sizing.basis, "interruptions_per_hour": rate.expected},
        notes=list(sizing.notes),
    )
    if within is not None:
        one.extras["deadline_probability"] = odds_within(within, work, total_rate, rhythm)
    if best := best_interval_hours(rhythm.write_hours, total_rate):
        one.extras["best_checkpoint_seconds"] = best * 3600
    if rhythm.interval_hours is None:
        one.notes.append("no checkpoints: every interruption starts the work over")
    elif total_rate * (rhythm.restart_hours + rhythm.interval_hours / 2) > SAFE_LOSS:
        one.notes.append("over half of the time is lost to interruptions: outside the formula's safe range")
    return one


def _fewest_on_spot(sizing: Sizing, within: float | None, wall_hours: Callable[[int], float]) -> int:
    """The fewest machines whose expected wall time is in time; more machines are also interrupted more often."""
    first = sizing.fewest(within)
    if within is None or sizing.hours_at(first) > within:
        return first
    before = math.inf
    for count in range(first, sizing.most + 1):
        if (wall := wall_hours(count)) <= within:
            return count
        if wall > before:
            break
        before = wall
    return sizing.least


def _endless(job: Job, choice: Choice, rate: Rate, machines: int) -> Miss:
    total = rate.expected * job.members(machines)
    rhythm = rhythm_of(job.workload, total)
    lost = total * (rhythm.restart_hours + (rhythm.interval_hours or job.sizing.hours_at(machines)) / 2)
    why = f"at {total:g} interruptions/h it would never finish: each costs more work than is done between two"
    return Miss(f"{choice.name} spot{job.suffix}", "spot", why, lost - 1, "lost share")
