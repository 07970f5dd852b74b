"""Plans for work that comes once a day: machines for as long as it takes, serverless, or a machine left on."""

import math
from collections.abc import Iterator
from datetime import date

from .bands import price_band
from .candidate import Candidate, Miss, memory_miss
from .option import Choice, Constraints, Fees, billed_gb
from .serve import handled_seconds
from .train import Work, purchases
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


def _machines(
    workload: Batch, choice: Choice, constraints: Constraints, today: date
) -> Iterator[Candidate | Miss]:
    window = min(24.0, constraints.deadline_hours or 24.0)
    hours = work_hours(workload)
    machines = math.ceil(hours / window - 1e-9)
    if machines > constraints.max_machines:
        over = machines - constraints.max_machines
        yield Miss(
            choice.name, "capacity", f"needs {machines} machines, {over} over max_machines", over, "machines"
        )
        return
    work = Work(hours / machines + workload.seconds_of_start / 3600, machines, "assumed", {})
    # Without checkpoints nothing says that a lost machine loses its own share only.
    independent = workload.checkpoint is not None
    plans = purchases(
        workload,
        choice,
        constraints,
        work,
        today,
        jobs=workload.days,
        independent=independent,
        suffix=" batch",
    )
    for one in plans:
        if isinstance(one, Candidate) and one.wall_hours is not None:
            one.wall_hours /= workload.days  # of one day's run
        yield one
    if choice.on_demand is not None and constraints.spot != "require":
        always = 24 * machines * workload.days
        yield Candidate(
            choice=choice,
            purchase="own" if choice.kind == "own" else "on_demand",
            mode="always on",
            usd=choice.on_demand * always,
            usd_per_hour=choice.on_demand,
            machines=machines,
            wall_hours=hours / machines,
            interruptions=0.0,
            same_machine_usd=choice.on_demand * work.hours * machines * workload.days,
            bands={"price": price_band(choice.as_of, today)},
            busy_hours=hours * workload.days,
            extras={"utilization": hours / machines / 24},
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
