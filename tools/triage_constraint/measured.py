"""What a measurement of the ledger says: it was seen to happen, so it outweighs any text."""

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from .._core.contract import current_call
from .._core.errors import ToolError
from .._core.ledger import Run, ledger_path, open_ledger, read_run
from .._core.quantity import human_bytes
from .clues import FINAL, STRONG, Clue, found_messages
from .messages import MESSAGES

_READ_BACK = 0.05  # share of the step time from which reading tensors back counts on a CPU
_SEEN = FINAL + 10
_FIRST_STEPS = 2  # by then an optimizer has its state: later growth has another reason
_OWN_SHARE = 0.25  # of the peak, from which on the step itself is worth making smaller

# Causes that measure_run finds, as constraint and sub-cause.
_CAUSES = {
    "data_loader_bound": ("compute_time", "data_loader_bound"),
    "synchronization": ("compute_time", "gpu_underused"),
    "tiny_batches": ("compute_time", "gpu_underused"),
    "cpu_oversubscription": ("compute_time", "algorithmic"),
    "leak": ("gpu_memory", "leak"),
    "swap": ("host_memory", "ram_capacity"),
}
_MEMORIES = ("gpu_memory", "host_memory")
_FAILED = ("out_of_memory", "crashed", "timed_out")  # then what the run printed says more
_LEAST_STEPS = 10  # with fewer, warm-up aside, measure_run looks for no causes


@dataclass(frozen=True)
class Measured:
    """What one run of the ledger says."""

    clues: list[Clue]
    step_on_cpu: bool  # its own training step, on the CPU, is what filled host memory
    script: Path | None  # that it ran, where the workspace still has it
    output: Path | None  # what it printed, where it failed and the workspace still has that
    command: list[str]  # what was run; empty where it was a function


def read_measurement(ledger_id: str) -> Measured:
    """What the run of that id speaks for. Raises ToolError when the ledger has no such run."""
    with closing(open_ledger(ledger_path(current_call().workspace))) as ledger:
        run = read_run(ledger, ledger_id)
    if run.tool != "measure_run":
        raise ToolError("That id is no run of a program", saw=run.label, try_next="an id of measure_run")
    on_cpu = _step_fills_host_memory(run)
    output = _kept(run.report.get("output_path")) if run.outcome in _FAILED else None
    script = _kept((run.conditions.get("script") or {}).get("path"))
    command = [] if run.report.get("calls") else list(run.conditions.get("command") or [])
    if any("***" in word for word in command):
        command = []  # what is kept of a secret cannot be run
    return Measured([*_by_causes(run), *_by_outcome(run, on_cpu)], on_cpu, script, output, command)


def _kept(name: str | None) -> Path | None:
    path, root = Path(name or ""), current_call().workspace.root
    return path.relative_to(root) if path.is_file() and path.is_relative_to(root) else None


def _by_causes(run: Run) -> list[Clue]:
    clues = []
    for found in run.report.get("causes", []):
        if (
            found["cause"] == "synchronization"
            and not _on_gpu(run)
            and (found.get("share") or 0) < _READ_BACK
        ):
            continue
        constraint, cause = _CAUSES[found["cause"]]
        if cause == "leak" and not _on_gpu(run):
            constraint = "host_memory"
        clues.append(_clue(constraint, cause, f"measured: {found['evidence']}", share=found.get("share")))
    return clues


def _by_outcome(run: Run, step_on_cpu: bool) -> list[Clue]:
    reason = run.report.get("reason") or run.outcome
    shows = f"measured: {reason}"
    if run.outcome == "out_of_memory" and step_on_cpu:
        before = human_bytes(run.report["rss_before_training_bytes"])
        return [
            _clue("host_memory", "ram_capacity", f"{shows}; {before} of it before its first forward pass")
        ]
    if run.outcome == "out_of_memory":
        return [_clue(_exhausted(run, reason), None, shows)]
    if run.outcome == "crashed":
        return [_crash(reason, shows)]
    if run.outcome == "timed_out":
        return [_clue("compute_time", None, "measured: the run did not finish in its time")]
    if run.outcome in ("finished", "stopped_at_limit") and not _by_causes(run):
        return _by_steps(run)
    return []


def _exhausted(run: Run, reason: str) -> str:
    """Which memory ran out, by the error that was raised; a limit that ended the run is one of host memory."""
    raised = [clue for clue in found_messages(reason.lower(), MESSAGES) if clue.constraint in _MEMORIES]
    if raised:
        return max(raised, key=lambda clue: clue.points).constraint
    return "gpu_memory" if reason.startswith("Out of memory") and _on_gpu(run) else "host_memory"


def _crash(reason: str, shows: str) -> Clue:
    """What the last error means; an error of no known kind yields to one that the output raises before it."""
    raised = found_messages(reason.lower(), MESSAGES) if reason.startswith("Exit code") else []
    known = max(raised, key=lambda clue: clue.points, default=None)
    if known and known.points >= STRONG:
        return _clue(known.constraint, known.sub_cause, shows)
    return Clue("not_a_resource_problem", "bug_other", FINAL, 0, 0, shows, source="measurement")


def _by_steps(run: Run) -> list[Clue]:
    """A run that worked and shows no cause: how it spent its time, as far as its steps tell."""
    steps, source = run.report.get("steps") or 0, run.report.get("step_source")
    if not steps:
        return []
    if source in ("forward", "calls"):
        return [_clue("inference_latency", None, "measured: it trains nothing; its calls take the time")]
    if steps < _LEAST_STEPS:
        return [_clue("compute_time", None, f"measured: it trains, but {steps} steps are too few to say why")]
    shows = "measured: the steps hold no wait, no synchronisation and no growth; they compute"
    return [_clue("compute_time", "true_capacity", shows)]


def _on_gpu(run: Run) -> bool:
    figure = run.figure("peak_gpu_bytes")
    return figure is not None and figure.value > 0


def _step_fills_host_memory(run: Run) -> bool:
    """Whether a run on the CPU died in its first steps of what they added, not of what was loaded before them."""
    before, peak = run.report.get("rss_before_training_bytes"), run.report.get("peak_rss_bytes")
    if run.outcome != "out_of_memory" or run.report.get("training_device") != "cpu" or not before or not peak:
        return False
    return bool(run.report["steps"] <= _FIRST_STEPS and peak - before > _OWN_SHARE * peak)


def _clue(constraint: str, cause: str | None, shows: str, share: float | None = None) -> Clue:
    return Clue(constraint, cause, _SEEN + (share or 0.0), 0, 0, shows, source="measurement")
