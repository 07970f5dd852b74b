"""The step time of a measured run."""

from contextlib import closing

from .._core.contract import current_call
from .._core.errors import ToolError
from .._core.ledger import ledger_path, open_ledger, read_run

_METRIC = "step_seconds_p50"


def step_seconds_of(measurement: str) -> float:
    """The median step of the run with this ledger id. Raises ToolError when there is none."""
    with closing(open_ledger(ledger_path(current_call().workspace))) as ledger:
        run = read_run(ledger, measurement)
    figure = run.figure(_METRIC)
    if figure is None:
        had = ", ".join(one.metric for one in run.figures) or "no figures"
        raise ToolError(
            f"The run {measurement} has no {_METRIC}", saw=had, try_next="a run that steps, or step_seconds"
        )
    return figure.value
