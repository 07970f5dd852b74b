"""Plans for a training run."""

from collections.abc import Iterator, Sequence
from datetime import date

from .._core.errors import ToolError
from .candidate import Candidate, Miss, memory_miss
from .option import Choice, Constraints, Option
from .purchase import Job, purchases
from .sizing import size
from .workload import AnyWorkload, Training


def timed(workload: AnyWorkload, options: Sequence[Option], constraints: Constraints) -> AnyWorkload:
    """A training run with a time: one hour where only a budget is given, to be told what it buys."""
    if not isinstance(workload, Training) or workload.has_time:
        return workload
    if options and all(option.hours or (option.step_seconds and workload.steps) for option in options):
        return workload  # each option brings its own
    if constraints.budget_usd is None:
        raise ToolError(
            "Nothing says how long the training takes",
            try_next="hours, or steps with step_seconds, or steps with measurement, or flops, or tokens with "
            "parameters; with constraints.budget_usd alone you are told what the budget buys",
        )
    return workload.model_copy(update={"hours": 1.0, "is_an_hour_for_want_of_more": True})


def training_job(
    workload: Training, choice: Choice, constraints: Constraints, step_seconds: float | None, today: date
) -> Job | Miss:
    """What is to be bought on this option, or why its time is not known."""
    sizing = size(workload, choice, constraints.max_machines, step_seconds)
    if isinstance(sizing, Miss):
        return sizing
    deadline = constraints.deadline_hours
    within = None if deadline is None else deadline / workload.trials
    return Job(workload, sizing, constraints, today, workload.trials, within)


def training_plans(
    workload: Training, choice: Choice, constraints: Constraints, step_seconds: float | None, today: date
) -> Iterator[Candidate | Miss]:
    """Every plan for one option that fits its memory; deadline and budget are looked at later."""
    if miss := memory_miss(choice, workload.memory_bytes):
        yield miss
        return
    job = training_job(workload, choice, constraints, step_seconds, today)
    if isinstance(job, Miss):
        yield job
        return
    for one in purchases(job, choice):
        if workload.is_an_hour_for_want_of_more and isinstance(one, Candidate) and constraints.budget_usd:
            one.extras["affordable_hours"] = constraints.budget_usd / one.usd
        yield one
