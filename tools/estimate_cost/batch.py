"""Plans for work that comes once a day: machines for as long as it takes, serverless, or a machine left on."""

import math
from collections.abc import Iterator
from dataclasses import replace
from datetime import date

from .bands import price_band
from .candidate import Candidate, Miss, memory_miss
from .job import Job
from .option import Choice, Constraints, Fees, billed_gb
from .purchase import purchases
from .serve import handled_seconds
from .sizing import Sizing
from .workload import Batch


def batch_plans(
    workload: Batch, choice: Choice, constraints: Constraints, today: date
) -> Iterator[Candidate | Miss]:
    """Every plan for one option; deadline and budget are looked at later."""
    if choice.fees is not None:
        yield _serverless(workload, choice, choice.fees, today)
    elif miss := memory_miss(choice, workload.memory_bytes):
        yield miss
    else:
        yield from _machines(workload, choice, constraints, today)


def work_hours(workload: Batch) -> float:
    """One machine's hours for one day's items."""
    return workload.items_per_day / workload.items_per_second / 3600


def batch_job(workload: Batch, constraints: Constraints, today: date) -> Job:
    """One day's items, over as many machines as the deadline, or the day, asks for."""
    hours, start = work_hours(workload), workload.seconds_of_start / 3600
    return Job(
        workload=workload,
        sizing=Sizing(lambda count: hours / count + start, most=constraints.max_machines),
        constraints=constraints,
        today=today,
        runs=workload.days,
        within_hours=min(24.0, constraints.deadline_hours or 24.0),
        # Without checkpoints nothing says that a lost machine loses its own share only.
        independent=workload.checkpoint is not None,
        suffix=" batch",
    )


def _machines(
    workload: Batch, choice: Choice, constraints: Constraints, today: date
) -> Iterator[Candidate | Miss]:
    job = batch_job(workload, constraints, today)
    if job.sizing.hours_at(constraints.max_machines) > 24:
        needed = math.ceil(work_hours(workload) / 24)
        over = needed - constraints.max_machines
        why = f"needs {needed} machines all day, {over} over max_machines"
        yield Miss(choice.name, "capacity", why, over, "machines")
        return
    on_demand = None
    for one in purchases(job, choice):
        if isinstance(one, Candidate) and one.wall_hours is not None:
            one.wall_hours /= workload.days  # of one day's run
            on_demand = one if one.purchase in ("on_demand", "own") else on_demand
        yield one
    if on_demand is not None:
        yield _always_on(workload, on_demand)


def _always_on(workload: Batch, batch: Candidate) -> Candidate:
    """The machines of the batch, never stopped."""
    hours = 24 * batch.machines * workload.days
    return replace(
        batch,
        mode="always on",
        usd=batch.usd_per_hour * hours,
        same_machine_usd=batch.usd,
        extras={"utilization": batch.busy_hours / hours},
        notes=[],
    )


def _serverless(workload: Batch, choice: Choice, fees: Fees, today: date) -> Candidate | Miss:
    gb = billed_gb(choice.memory_bytes or workload.memory_bytes or 0)
    if fees.per_gb_second and not gb:
        return Miss(choice.name, "memory", "billed by memory, and memory_bytes is not given")
    items = workload.items_per_day
    seconds = items * handled_seconds(1 / workload.items_per_second, fees) + workload.seconds_of_start
    per_day = seconds * (fees.per_second + gb * fees.per_gb_second) + items * fees.per_request
    return Candidate(
        choice=choice,
        purchase="serverless",
        mode="serverless",
        usd=per_day * workload.days,
        usd_per_hour=3600 * (fees.per_second + gb * fees.per_gb_second),
        wall_hours=seconds / 3600,
        interruptions=0.0,
        bands={"price": price_band(choice.as_of, today)},
        busy_hours=seconds / 3600 * workload.days,
        extras={"billed_seconds_per_day": seconds},
    )
