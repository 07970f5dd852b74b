"""One option bought on demand, by commitment or on spot, for hours that are known by machine count."""

from collections.abc import Iterator

from .bands import Band, price_band
from .candidate import Candidate, Miss, Purchase
from .interruptions import best_interval_hours, odds_within
from .job import Job, SpotRun, fewest_on_spot
from .option import Choice
from .rates import rate_band
from .switching import switching

_ENDLESS_HOURS = 1e6  # a century
SAFE_LOSS = 0.5  # of the time; beyond it the first-order formula is not to be trusted


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
        yield from _on_spot(job, choice, choice.spot)
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
        work_hours=hours,
        interruptions=0.0,
        same_machine_usd=None if choice.on_demand is None else choice.on_demand * total,
        bands={"price": price_band(choice.as_of, job.today), **sizing.bands},
        busy_hours=total,
        extras={"time_basis": sizing.basis},
        notes=list(sizing.notes),
    )


def _on_spot(job: Job, choice: Choice, price: float) -> Iterator[Candidate | Miss]:
    """Spot throughout, and where that may miss the deadline, spot with a move in time."""
    run = fewest_on_spot(job, choice)
    if run.outcome.wall_hours > _ENDLESS_HOURS:
        yield _endless(job, choice, run)
        return
    one = _spot_throughout(job, choice, price, run)
    yield one
    if job.within_hours is not None and one.extras["deadline_probability"] < 0.99:
        yield from switching(job, choice, one.bands)


def _spot_throughout(job: Job, choice: Choice, price: float, run: SpotRun) -> Candidate:
    hours = run.outcome.wall_hours * run.machines * job.runs
    paid = run.work_hours * run.machines * job.runs
    one = Candidate(
        choice=choice,
        purchase="spot",
        mode="spot" + job.suffix,
        usd=price * hours,
        usd_per_hour=price,
        machines=run.machines,
        wall_hours=run.outcome.wall_hours * job.runs,
        work_hours=run.work_hours,
        interruptions=run.outcome.interruptions * job.runs * (run.machines if job.independent else 1),
        same_machine_usd=None if choice.on_demand is None else choice.on_demand * paid,
        bands=_bands(job, choice, run),
        busy_hours=hours,
        extras={"time_basis": job.sizing.basis, "interruptions_per_hour": run.rate.expected},
        notes=list(job.sizing.notes),
    )
    if job.within_hours is not None:
        odds = odds_within(job.within_hours, run.work_hours, run.total_rate, run.rhythm)
        one.extras["deadline_probability"] = odds
    if best := best_interval_hours(run.rhythm.write_hours, run.total_rate):
        one.extras["best_checkpoint_seconds"] = best * 3600
    one.notes += _cautions(run)
    return one


def _bands(job: Job, choice: Choice, run: SpotRun) -> dict[str, Band]:
    derived = choice.spot_method == "derived"
    return {
        "price": price_band(choice.spot_as_of, job.today, derived=derived),
        **job.sizing.bands,
        "interruption rate": rate_band(run.work_hours, run.rate, run.rhythm, job.members(run.machines)),
    }


def _cautions(run: SpotRun) -> Iterator[str]:
    if run.rhythm.interval_hours is None:
        yield "no checkpoints: every interruption starts the work over"
    elif run.total_rate * (run.rhythm.restart_hours + run.rhythm.interval_hours / 2) > SAFE_LOSS:
        yield "over half of the time is lost to interruptions: outside the formula's safe range"


def _endless(job: Job, choice: Choice, run: SpotRun) -> Miss:
    interval = min(run.rhythm.interval_hours or run.work_hours, run.work_hours)
    lost = run.total_rate * (run.rhythm.restart_hours + interval / 2)
    why = f"at {run.total_rate:g} interruptions/h it would never finish: each costs more work than is done between two"
    return Miss(f"{choice.name} spot{job.suffix}", "spot", why, lost - 1, "lost share")
