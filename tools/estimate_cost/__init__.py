"""What a workload costs, the cheapest plan that does, and where the break-even lies.

workload       what is to be paid for: training, inference, batch, running
option         what can be rented or is owned; constraints on the plans
measured       the figures of a measured run that the caller leaves out
question       both, with the prices and the day: everything that an answer depends on
resolve, names, search, hosts   the caller's options and the catalog's offers in one list
plans: train, serve, batch, running    the plans of one option for one kind of workload
sizing, job, purchase, switching       hours by machine count; on demand, by commitment, on spot, on spot then demand
interruptions, arrivals, queueing, rates, bands, speed, energy    the formulas; sources in references/cost.md
compare        feasible, cheapest first, tied
crossing, break_even, service_break_even, what_if   where another plan is cheaper; changes of the work
report, answer, words, short    the Report, how it reads, and how it is kept small
artifacts, skypilot, picture    a table, a task file, a chart
command, refresh                `prices`: what is held, and newer prices from the providers
"""

from datetime import date
from typing import Annotated

from pydantic import Field, WithJsonSchema

from .._catalog.prices import held
from .._core.contract import Request, current_call, tool
from .answer import EstimateCostReport
from .break_even import crossings
from .measured import with_measurement
from .option import Constraints, Option
from .question import Question
from .report import written
from .tables import price_folder
from .train import affordable, timed
from .what_if import changes
from .workload import Inference, Running, Workload

__all__ = ["EstimateCostReport", "EstimateCostRequest", "estimate_cost"]

_WORKLOAD = (
    "kind: training {hours | steps+step_seconds | steps+measurement | flops, gpus, memory_bytes, scaling_efficiency, "
    "checkpoint: {interval_seconds, write_seconds, restart_seconds}, interruptions_per_hour, trials, accelerator}, "
    "inference "
    "{requests_per_day, seconds_per_request, memory_bytes, arrival: even|bursts|24 weights, bursts_per_day, "
    "latency_seconds, cold_start_seconds, idle_seconds}, batch {items_per_day, items_per_second, checkpoint, ...}, "
    "running {usd_per_hour, busy_hours_per_day, busy_days_per_week, memory_bytes, accelerator}"
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
    constraints, options = request.constraints or Constraints(), request.options or []
    measured = with_measurement(request.workload)
    asked = timed(measured, options, constraints)
    prices = held(price_folder(current_call().workspace))
    question = Question(asked, options, constraints, prices, date.today())
    choices = question.choices()
    comparison = question.compared(choices.kept)
    if constraints.deadline_hours is not None and isinstance(asked, Inference | Running):
        choices.warnings.append("deadline_hours is for training and batch work; it was not used")
    broken_even = crossings(asked, choices.kept, constraints, comparison.feasible, question.today)
    eased = changes(asked, comparison, question.best_for)
    if asked is not measured and constraints.budget_usd:  # a unit of work
        affordable(comparison.feasible, constraints.budget_usd)
    return written(question, comparison, broken_even, list(eased), choices.warnings)
