"""What a measured run says about the work: the time of a step, and the memory it takes."""

from contextlib import closing

from .._core.contract import current_call
from .._core.errors import ToolError
from .._core.ledger import Run, ledger_path, open_ledger, read_run
from .workload import AnyWorkload, Running, Training


def with_measurement(workload: AnyWorkload) -> AnyWorkload:
    """The workload with the figures of the ledger id it names, where the caller left them out."""
    if not isinstance(workload, Training | Running) or workload.measurement is None:
        return workload
    with closing(open_ledger(ledger_path(current_call().workspace))) as ledger:
        run = read_run(ledger, workload.measurement)
    memory = "peak_rss_bytes" if isinstance(workload, Running) and not workload.on_gpu else "peak_gpu_bytes"
    known = {"step_seconds": _figure(run, "step_seconds_p50")} if isinstance(workload, Training) else {}
    if workload.memory_bytes is None and (isinstance(workload, Running) or run.figure(memory)):
        known["memory_bytes"] = _figure(run, memory)
    return workload.model_copy(update=known)


def _figure(run: Run, metric: str) -> float:
    figure = run.figure(metric)
    if figure is None:
        had = ", ".join(one.metric for one in run.figures) or "no figures"
        what = "a run that steps, or step_seconds" if metric.startswith("step") else "memory_bytes"
        raise ToolError(f"The run {run.id} has no {metric}", saw=had, try_next=what)
    return figure.value
