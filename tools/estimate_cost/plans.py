"""Every plan of every choice, before they are compared."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import date

from .batch import batch_plans
from .candidate import Candidate, Miss
from .option import Choice, Constraints
from .running import running_machine, running_plans, today_plans
from .serve import inference_plans
from .train import training_plans
from .workload import AnyWorkload, Batch, Inference, Running, Training, measured_on


def plans_of(
    asked: AnyWorkload, choices: Iterable[Choice], constraints: Constraints, today: date
) -> Iterator[Candidate | Miss]:
    """Deadline and budget are looked at when they are compared."""
    choices = list(choices)
    running = running_machine(asked, choices) if isinstance(asked, Running) else None
    if isinstance(asked, Running) and running:
        yield from today_plans(asked, running)
    for choice in choices:
        workload = measured_on(asked, choice.measured)
        if isinstance(workload, Training):
            plans = training_plans(workload, choice, constraints, today)
        elif isinstance(workload, Inference):
            plans = inference_plans(workload, choice, constraints, today)
        elif isinstance(workload, Batch):
            plans = batch_plans(workload, choice, constraints, today)
        else:
            plans = running_plans(workload, choice, constraints, today, runs_already=choice is running)
        held_here = choice.as_of is not None
        yield from (replace(one, from_catalog=held_here) if isinstance(one, Miss) else one for one in plans)
