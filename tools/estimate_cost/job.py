"""What is bought by the machine hour, and what a spot machine makes of it."""

from dataclasses import dataclass
from datetime import date

from .interruptions import Outcome, Rhythm, expect
from .option import Choice, Constraints
from .rates import Rate, rate_of, rhythm_of
from .sizing import Sizing
from .workload import Batch, Training


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


@dataclass(frozen=True, slots=True)
class SpotRun:
    """One run on `machines` spot machines; hours are wall hours, `rate` and `total_rate` interruptions per hour."""

    machines: int
    work_hours: float
    rate: Rate
    total_rate: float
    rhythm: Rhythm
    outcome: Outcome


def spot_run(job: Job, rate: Rate, machines: int) -> SpotRun:
    """What is to be expected on that many machines."""
    total = rate.expected * job.members(machines)
    rhythm = rhythm_of(job.workload, total)
    hours = job.sizing.hours_at(machines)
    return SpotRun(machines, hours, rate, total, rhythm, expect(hours, total, rhythm))


def fewest_on_spot(job: Job, choice: Choice) -> SpotRun:
    """On the fewest machines whose expected wall time is in time; more machines are also interrupted more often."""
    rate, within = rate_of(job.workload, choice), job.within_hours
    first = spot_run(job, rate, job.sizing.fewest(within))
    if within is None or first.work_hours > within or first.outcome.wall_hours <= within:
        return first
    before = first.outcome.wall_hours
    for count in range(first.machines + 1, job.sizing.most + 1):
        total = rate.expected * job.members(count)
        wall = expect(job.sizing.hours_at(count), total, rhythm_of(job.workload, total)).wall_hours
        if wall <= within:
            return spot_run(job, rate, count)
        if wall > before:
            break
        before = wall
    return spot_run(job, rate, job.sizing.least)
