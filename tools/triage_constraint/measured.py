"""What a measurement of the ledger says: it was seen to happen, so it outweighs any text."""

from contextlib import closing

from .._core.contract import current_call
from .._core.ledger import ledger_path, open_ledger, read_run
from .clues import FINAL, Clue

_SEEN = FINAL + 10

# Causes that measure_run finds, as constraint and sub-cause.
_CAUSES = {
    "data_loader_bound": ("compute_time", "data_loader_bound"),
    "synchronization": ("compute_time", "gpu_underused"),
    "tiny_batches": ("compute_time", "gpu_underused"),
    "cpu_oversubscription": ("compute_time", "algorithmic"),
    "leak": ("gpu_memory", "leak"),
    "swap": ("host_memory", "ram_capacity"),
}
_OUTCOMES = {
    "timed_out": ("compute_time", None, "measured: the run did not finish in its time"),
    "crashed": ("not_a_resource_problem", "bug_other", "measured: the run crashed, with memory to spare"),
}


def read_measurement(ledger_id: str) -> list[Clue]:
    """What the run of that id speaks for. Raises ToolError when the ledger has no such run."""
    with closing(open_ledger(ledger_path(current_call().workspace))) as ledger:
        run = read_run(ledger, ledger_id)
    on_gpu = (figure := run.figure("peak_gpu_bytes")) is not None and figure.value > 0
    clues = []
    for found in run.report.get("causes", []):
        constraint, cause = _CAUSES[found["cause"]]
        if cause == "leak" and not on_gpu:
            constraint = "host_memory"
        clues.append(_clue(constraint, cause, f"measured: {found['evidence']}", share=found.get("share")))
    if run.outcome == "out_of_memory":
        clues.append(
            _clue("gpu_memory" if on_gpu else "host_memory", None, "measured: the run ran out of memory")
        )
    if run.outcome in _OUTCOMES:
        clues.append(_clue(*_OUTCOMES[run.outcome]))
    if not clues and run.outcome in ("finished", "stopped_at_limit"):
        shows = "measured: the steps hold no wait, no synchronisation and no growth; they compute"
        clues.append(_clue("compute_time", "true_capacity", shows))
    return clues


def _clue(constraint: str, cause: str | None, shows: str, share: float | None = None) -> Clue:
    return Clue(constraint, cause, _SEEN + (share or 0.0), 0, 0, shows, source="measurement")
