"""The break-evens of an answer: by interruption rate, by hours used, and those of services and batches."""

from collections.abc import Iterator
from datetime import date
from itertools import islice

from .batch import batch_job
from .candidate import Candidate
from .crossing import Crossing, by_use
from .interruptions import break_even_rate, expect
from .job import Job
from .option import Choice, Constraints
from .rates import rate_of, rhythm_of
from .running import STOPPED, running_machine
from .service_break_even import batch_crossings, service_crossings
from .train import training_job
from .workload import AnyWorkload, Batch, Inference, Running, Training, measured_on

_MOST = 12  # in one answer


def crossings(
    workload: AnyWorkload,
    choices: list[Choice],
    constraints: Constraints,
    feasible: list[Candidate],
    today: date,
) -> list[Crossing]:
    """The break-evens between the options that matter: the caller's, or the cheapest of the catalog."""
    does = {id(one.choice) for one in feasible if one.choice.as_of is None}
    near = [one for one in choices if id(one) in does or (feasible and one is feasible[0].choice)]
    return list(islice(_crossings(workload, near, constraints, today), _MOST))


def _crossings(
    workload: AnyWorkload, choices: list[Choice], constraints: Constraints, today: date
) -> Iterator[Crossing]:
    if isinstance(workload, Inference):
        yield from service_crossings(workload, choices)
    elif isinstance(workload, Running):
        yield from running_crossings(workload, choices)
        return
    elif isinstance(workload, Batch):
        yield from batch_crossings(workload, choices)
    for choice in choices:
        here = measured_on(workload, choice.measured)
        if isinstance(here, Training | Batch) and constraints.spot == "allow" and choice.fees is None:
            job = (
                training_job(here, choice, constraints, today)
                if isinstance(here, Training)
                else batch_job(here, constraints, today)
            )
            if isinstance(job, Job):
                yield from spot_crossing(job, choice)
        yield from commitment_crossings(choice)


def spot_crossing(job: Job, choice: Choice) -> Iterator[Crossing]:
    """The interruption rate of one machine beyond which on demand is cheaper."""
    if choice.spot is None or choice.on_demand is None:
        return
    machines = job.sizing.least
    rhythm = rhythm_of(job.workload, rate_of(job.workload, choice).expected * job.members(machines))
    hours, members = job.sizing.hours_at(machines), job.members(machines)
    found = break_even_rate(hours, choice.spot / choice.on_demand, rhythm)
    spot_usd, on_demand_usd = (
        choice.spot * machines * job.runs,
        choice.on_demand * machines * hours * job.runs,
    )

    def costs(rate: float) -> tuple[float, float]:
        return spot_usd * expect(hours, rate * members, rhythm).wall_hours, on_demand_usd

    if found is not None:
        pair = (f"{choice.name} spot{job.suffix}", f"{choice.name} on-demand{job.suffix}")
        yield Crossing(pair, "interruptions_per_hour", found / members, costs)


def commitment_crossings(choice: Choice) -> Iterator[Crossing]:
    """The share of all hours that must be used before a commitment pays."""
    if choice.on_demand is None:
        return
    for label, price in choice.commits:
        note = f"{24 * price / choice.on_demand:.3g} h a day; below it do not commit"
        pair = (f"{choice.name} on-demand", f"{choice.name} {label}")
        yield by_use(pair, "share_of_hours_used", price / choice.on_demand, 720 * price, note)


def running_crossings(workload: Running, choices: list[Choice]) -> Iterator[Crossing]:
    """Busy hours a day beyond which an option that is always paid for is cheaper than paying by the hour."""
    running = running_machine(workload, choices).name
    for choice in choices:
        hourly = choice.on_demand if choice.on_demand is not None else workload.usd_per_hour
        base = f"{choice.name if choice.on_demand is not None else running} {STOPPED}"
        for label, price in choice.commits:
            name = choice.name if label == choice.name else f"{choice.name} {label}"
            note = f"{price / hourly:.1%} of all hours; below it do not commit"
            yield by_use((base, name), "busy_hours_per_day", 24 * price / hourly, 24 * price, note)
