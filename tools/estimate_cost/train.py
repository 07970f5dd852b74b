"""Plans for a training run."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date

from .._core.errors import ToolError
from .candidate import Candidate, Miss, memory_miss, serverless_hourly
from .job import Job
from .option import Choice, Constraints, Option
from .purchase import purchases
from .sizing import ASSUMED_UTILIZATION, card_tflops, size
from .speed import computes
from .workload import AnyWorkload, Training

EFLOP = 1e18


def timed(workload: AnyWorkload, options: Sequence[Option], constraints: Constraints) -> AnyWorkload:
    """A training run with a time. Where only a budget is given, a unit of work, to be told how much of it that buys.

    The unit is one EFLOP in a search, since an hour is not the same work on every card; an hour on options that the
    caller names.
    """
    if not isinstance(workload, Training) or workload.has_time:
        return workload
    if options and all(option.hours or (option.step_seconds and workload.steps) for option in options):
        return workload  # each option brings its own
    if constraints.budget_usd is None or workload.steps:
        raise ToolError(
            "Nothing says how long the training takes",
            try_next="hours, or steps with step_seconds, or steps with measurement, or flops, or tokens with "
            "parameters; with constraints.budget_usd alone you are told what the budget buys",
        )
    return workload.model_copy(update={"hours": 1.0} if options else {"flops": EFLOP})


def affordable(plans: list[Candidate], budget_usd: float) -> None:
    """What the budget buys of each, where the plans are for a unit of work."""
    for one in plans:
        one.extras["affordable_hours"] = budget_usd / one.usd * (one.wall_hours or 0.0)


def training_job(workload: Training, choice: Choice, constraints: Constraints, today: date) -> Job | Miss:
    """What is to be bought on this option, or why its time is not known."""
    sizing = size(workload, choice, constraints.max_machines)
    if isinstance(sizing, Miss):
        return sizing
    deadline = constraints.deadline_hours
    within = None if deadline is None else deadline / workload.trials
    return Job(workload, sizing, constraints, today, workload.trials, within)


def training_plans(
    workload: Training, choice: Choice, constraints: Constraints, today: date
) -> Iterator[Candidate | Miss]:
    """Every plan for one option that fits its memory; deadline and budget are looked at later."""
    if miss := memory_miss(choice, workload.memory_bytes) or _precision_miss(workload, choice):
        yield miss
        return
    if choice.fees is not None:  # such a platform trains by the second
        hourly = serverless_hourly(choice, choice.fees, workload.memory_bytes)
        if isinstance(hourly, Miss):
            yield hourly
            return
        choice = replace(choice, on_demand=hourly, fees=None)
    job = training_job(workload, choice, constraints, today)
    if isinstance(job, Miss):
        yield job
        return
    if choice.accelerator and workload.precision == "bf16" and not computes(choice.accelerator, "bf16"):
        note = f"{choice.accelerator} has no bf16: takes fp16 with a loss scaler"
        job = replace(job, sizing=replace(job.sizing, notes=(*job.sizing.notes, note)))
    for one in purchases(job, choice):
        if isinstance(one, Candidate):
            one.extras |= _per_useful_exaflop(workload, one)
        yield one


def _precision_miss(workload: Training, choice: Choice) -> Miss | None:
    """Only where the caller insists on a format: otherwise a card's own 16-bit format will do."""
    card, format_ = choice.accelerator, workload.precision
    if card is None or not workload.insists_on_precision or computes(card, format_):
        return None
    return Miss(choice.name, "speed", f"{card} has no {format_}")


def _per_useful_exaflop(workload: Training, one: Candidate) -> dict[str, float]:
    """Dollars for 10^18 FLOPs of the work itself, interruptions paid for; empty where no peak is held."""
    tflops = card_tflops(workload, one.choice)
    hours = one.work_hours
    if not tflops or not hours:
        return {}
    cards = one.machines * (one.choice.gpus or 1)
    share = workload.utilization or ASSUMED_UTILIZATION
    work = workload.total_flops or hours * 3600 * cards * tflops * 1e12 * share
    return {"usd_per_useful_exaflop": one.usd / workload.trials / work * EFLOP}
