"""What a workload costs, the cheapest plan that does, and where the break-even lies.

workload       what is to be paid for: training, inference, batch, running
option         what can be rented or is owned; constraints on the plans
resolve, names                  the caller's options and the catalog's offers in one list
train, serve, batch, running    the plans of one option for one kind of workload
sizing, purchase    hours by machine count; on demand, by commitment, on spot
interruptions, arrivals, queueing, rates, bands, speed    the formulas; sources in references/cost.md
break_even, what_if, compare    crossings; changes of the work; feasible, cheapest first, tied
report, answer, words           the Report and how it reads
artifacts, skypilot, picture    a table, a task file, a chart
command, refresh                `prices`: what is held, and newer prices from the providers
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from typing import Annotated

from pydantic import Field, WithJsonSchema

from .._catalog.prices import held
from .._core.contract import Request, current_call, tool
from .answer import EstimateCostReport
from .batch import batch_plans
from .break_even import crossings
from .candidate import Candidate, Miss
from .compare import compare
from .measured import step_seconds_of
from .option import Choice, Constraints, Option
from .report import written
from .resolve import resolve
from .running import running_machine, running_plans, today_plans
from .serve import inference_plans
from .tables import price_folder
from .train import timed, training_plans
from .workload import AnyWorkload, Batch, Inference, Running, Training, Workload, measured_on

__all__ = ["EstimateCostReport", "EstimateCostRequest", "estimate_cost"]

_WORKLOAD = (
    "kind: training {hours | steps+step_seconds | steps+measurement | flops, gpus, memory_bytes, scaling_efficiency, "
    "checkpoint: {interval_seconds, write_seconds, restart_seconds}, interruptions_per_hour}, inference "
    "{requests_per_day, seconds_per_request, memory_bytes, arrival: even|bursts|24 weights, bursts_per_day, "
    "latency_seconds, cold_start_seconds, idle_seconds}, batch {items_per_day, items_per_second, checkpoint, ...}, "
    "running {usd_per_hour, busy_hours_per_day}"
)
_OPTION = (
    "name (alone: a catalog machine or GPU), usd_per_hour, spot_usd_per_hour, commit_usd_per_hour, gpus, memory_bytes, "
    "kind: instance|serverless|own; serverless: usd_per_second, usd_per_gb_second, usd_per_million_requests"
)
_CONSTRAINTS = (
    "deadline_hours, budget_usd, spot: allow|require|forbid, providers[], regions[], discount (share)"
)

_OBJECT = {"type": "object"}


class EstimateCostRequest(Request):
    workload: Annotated[Workload, WithJsonSchema(_OBJECT)] = Field(description=_WORKLOAD)
    options: Annotated[list[Option] | None, WithJsonSchema({"type": ["array", "null"], "items": _OBJECT})] = (
        Field(None, description=_OPTION)
    )
    constraints: Annotated[Constraints | None, WithJsonSchema({"type": ["object", "null"]})] = Field(
        None, description=_CONSTRAINTS
    )


@tool(effect="writes")
def estimate_cost(request: EstimateCostRequest) -> EstimateCostReport:
    """Price a training, inference or batch job: plans cheapest first with spot risk, break-evens, what misses a limit.

    Prices are the caller's or the dated catalog's; storage, egress and tax are not included. Writes a chart and, for
    a rented machine, a SkyPilot task as artifacts. Formulas and bands: references/cost.md.
    """
    constraints = request.constraints or Constraints()
    workload = timed(request.workload, request.options or [], constraints)
    today = date.today()
    choices = resolve(
        workload, request.options or [], constraints, held(price_folder(current_call().workspace)), today
    )
    step_seconds = (
        step_seconds_of(workload.measurement)
        if isinstance(workload, Training) and workload.measurement
        else None
    )
    found = list(_plans(workload, choices.kept, constraints, step_seconds, today))
    nobody_asked = "spot" not in constraints.model_fields_set
    comparison = compare(found, constraints, avoid_spot=isinstance(workload, Inference) and nobody_asked)
    if constraints.deadline_hours is not None and isinstance(workload, Inference | Running):
        choices.warnings.append("deadline_hours is for training and batch work; it was not used")
    broken_even = crossings(workload, choices.kept, constraints, step_seconds, comparison.feasible, today)
    return written(workload, constraints, comparison, broken_even, choices.warnings, today)


def _plans(
    asked: AnyWorkload,
    choices: list[Choice],
    constraints: Constraints,
    step_seconds: float | None,
    today: date,
) -> Iterator[Candidate | Miss]:
    running = running_machine(asked, choices) if isinstance(asked, Running) else None
    if isinstance(asked, Running) and running:
        yield from today_plans(asked, running)
    for choice in choices:
        workload = measured_on(asked, choice.measured)
        if isinstance(workload, Training):
            plans = training_plans(workload, choice, constraints, step_seconds, today)
        elif isinstance(workload, Inference):
            plans = inference_plans(workload, choice, constraints, today)
        elif isinstance(workload, Batch):
            plans = batch_plans(workload, choice, constraints, today)
        else:
            plans = running_plans(workload, choice, constraints, today, runs_already=choice is running)
        held_here = choice.as_of is not None
        yield from (replace(one, from_catalog=held_here) if isinstance(one, Miss) else one for one in plans)
