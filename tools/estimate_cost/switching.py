"""Spot for as long as the deadline allows, then on demand: never late, at some of spot's price."""

from collections.abc import Iterator, Mapping

from .bands import Band
from .candidate import Candidate
from .interruptions import Switched, switch_in_time
from .job import Job, SpotRun, spot_run
from .option import Choice
from .rates import rate_of

_COUNTS = 4  # machine counts that are tried, from the fewest that are in time without interruptions


def switching(job: Job, choice: Choice, bands: Mapping[str, Band]) -> Iterator[Candidate]:
    """The cheapest count of machines; nothing without checkpoints, slack, or both prices."""
    if job.within_hours is None or job.constraints.spot != "allow" or choice.spot is None:
        return
    if choice.on_demand is None or choice.spot >= choice.on_demand:
        return
    rate, first = rate_of(job.workload, choice), job.sizing.fewest(job.within_hours)
    found = [
        _plan(job, choice, run, switched, bands)
        for run in (spot_run(job, rate, n) for n in range(first, min(job.sizing.most, first + _COUNTS) + 1))
        if (switched := switch_in_time(job.within_hours, run.work_hours, run.total_rate, run.rhythm))
    ]
    if found:
        yield min(found, key=lambda one: one.usd)


def _plan(job: Job, choice: Choice, run: SpotRun, switched: Switched, bands: Mapping[str, Band]) -> Candidate:
    assert choice.spot is not None and choice.on_demand is not None
    count = run.machines * job.runs
    wall = switched.spot_hours + switched.on_demand_hours
    usd = (switched.spot_hours * choice.spot + switched.on_demand_hours * choice.on_demand) * count
    interval = run.rhythm.interval_hours or 0.0
    moves_at = (run.rhythm.restart_hours + interval) * 60
    return Candidate(
        choice=choice,
        purchase="spot_then_on_demand",
        mode=f"moved in time{job.suffix}",
        usd=usd,
        usd_per_hour=usd / (wall * count),
        machines=run.machines,
        wall_hours=wall * job.runs,
        work_hours=run.work_hours,
        interruptions=switched.interruptions * job.runs * (run.machines if job.independent else 1),
        same_machine_usd=choice.on_demand * run.work_hours * count,
        bands={name: band for name, band in bands.items() if name != "interruption rate"},
        busy_hours=wall * count,
        extras={"time_basis": job.sizing.basis, "deadline_probability": 1.0},
        notes=[
            *job.sizing.notes,
            f"on spot, then on demand: move when an interruption leaves under {moves_at:.0f} min of slack; "
            f"that happens with {switched.switch_probability:.0%}",
        ],
    )
