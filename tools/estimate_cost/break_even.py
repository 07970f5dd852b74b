"""Where one plan becomes cheaper than another."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from itertools import islice, product

from .arrivals import DAY_SECONDS
from .batch import batch_job
from .candidate import Candidate
from .interruptions import break_even_rate, expect
from .option import Choice, Constraints, billed_gb
from .purchase import Job
from .rates import rate_of, rhythm_of
from .running import STOPPED, running_machine
from .serve import handled_seconds, replicas_at
from .train import training_job
from .workload import AnyWorkload, Batch, Inference, Running, Training, measured_on

_MOST = 12  # in one answer


@dataclass(frozen=True, slots=True)
class Crossing:
    """Up to `value` the first of `between` is the cheaper one, beyond it the second; `costs` is for the chart."""

    between: tuple[str, str]
    quantity: str
    value: float
    costs: Callable[[float], tuple[float, float]]
    note: str = ""


def _by_use(pair: tuple[str, str], quantity: str, value: float, fixed_usd: float, note: str = "") -> Crossing:
    """The first is paid by use, the second costs `fixed_usd` however much it is used."""
    return Crossing(pair, quantity, value, lambda used: (fixed_usd * used / value, fixed_usd), note)


def crossings(
    workload: AnyWorkload,
    choices: list[Choice],
    constraints: Constraints,
    step_seconds: float | None,
    feasible: list[Candidate],
    today: date,
) -> list[Crossing]:
    """The break-evens between the options that matter: the caller's, or the cheapest of the catalog."""
    does = {id(one.choice) for one in feasible if one.choice.as_of is None}
    near = [one for one in choices if id(one) in does or (feasible and one is feasible[0].choice)]
    return list(islice(_crossings(workload, near, constraints, step_seconds, today), _MOST))


def _crossings(
    workload: AnyWorkload,
    choices: list[Choice],
    constraints: Constraints,
    step_seconds: float | None,
    today: date,
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
                training_job(here, choice, constraints, step_seconds, today)
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
        yield _by_use(pair, "share_of_hours_used", price / choice.on_demand, 720 * price, note)


def service_crossings(workload: Inference, choices: list[Choice]) -> Iterator[Crossing]:
    """Requests (or bursts) a day beyond which a machine that is always on is cheaper than serverless."""
    paid = [choice for choice in choices if choice.fees is not None]
    on = [choice for choice in choices if choice.fees is None and choice.on_demand is not None]
    for free, machine in product(paid, on):
        yield from _service_crossing(workload, free, machine)


def _service_crossing(workload: Inference, free: Choice, machine: Choice) -> Iterator[Crossing]:
    assert free.fees is not None and machine.on_demand is not None
    day_usd = 24 * machine.on_demand
    gb = billed_gb(free.memory_bytes or workload.memory_bytes or 0)
    per_second = free.fees.per_second + gb * free.fees.per_gb_second
    service = workload.seconds_per_request / workload.concurrency
    per_request = (
        handled_seconds(workload.seconds_per_request, free.fees) * per_second + free.fees.per_request
    )
    if free.fees.bills_idle:
        per_request = service * per_second + free.fees.per_request
        up = (workload.cold_start_seconds or 0.0) + (workload.idle_seconds or 0.0)
        shape = workload.shape
        if up and shape.kind == "bursts":
            size = workload.requests_per_day / min(shape.bursts, workload.requests_per_day)
            burst = up * per_second + size * per_request
            note = f"bursts of {size:g} requests each"
            yield _by_use((free.name, machine.name), "bursts_per_day", day_usd / burst, day_usd, note)
            return
        per_request += up * per_second
    if per_request <= 0:
        return
    requests = day_usd / per_request
    if free.fees.bills_idle and day_usd > DAY_SECONDS * per_second:
        return  # even when it is up all day it is the cheaper one
    note = _capacity(workload, requests)
    if free.fees.bills_idle and (workload.idle_seconds or workload.cold_start_seconds):
        note = f"even arrivals; {note}"
    yield _by_use((free.name, machine.name), "requests_per_day", requests, day_usd, note)


def _capacity(workload: Inference, requests: float) -> str:
    replicas = replicas_at(workload, requests / DAY_SECONDS)
    load = requests / DAY_SECONDS * workload.seconds_per_request / workload.concurrency
    if replicas == 1:
        return f"one machine serves that rate, {load:.0%} busy"
    return f"that rate needs {replicas} machines, so the true break-even is higher"


def batch_crossings(workload: Batch, choices: list[Choice]) -> Iterator[Crossing]:
    """Items a day beyond which a machine that is always on is cheaper than serverless."""
    for free, machine in product(choices, choices):
        if free.fees is None or machine.fees is not None or machine.on_demand is None:
            continue
        gb = billed_gb(free.memory_bytes or workload.memory_bytes or 0)
        per_second = free.fees.per_second + gb * free.fees.per_gb_second
        per_item = (
            handled_seconds(1 / workload.items_per_second, free.fees) * per_second + free.fees.per_request
        )
        if per_item <= 0:
            continue
        items = 24 * machine.on_demand / per_item
        hours = items / workload.items_per_second / 3600
        fits = (
            f"one machine works {hours:.3g} h for that"
            if hours <= 24
            else "more than one machine can do in a day"
        )
        yield _by_use(
            (free.name, f"{machine.name} always on"), "items_per_day", items, 24 * machine.on_demand, fits
        )


def running_crossings(workload: Running, choices: list[Choice]) -> Iterator[Crossing]:
    """Busy hours a day beyond which an option that is always paid for is cheaper than paying by the hour."""
    running = running_machine(workload, choices).name
    for choice in choices:
        hourly = choice.on_demand if choice.on_demand is not None else workload.usd_per_hour
        base = f"{choice.name if choice.on_demand is not None else running} {STOPPED}"
        for label, price in choice.commits:
            name = choice.name if label == choice.name else f"{choice.name} {label}"
            note = f"{price / hourly:.1%} of all hours; below it do not commit"
            yield _by_use((base, name), "busy_hours_per_day", 24 * price / hourly, 24 * price, note)
