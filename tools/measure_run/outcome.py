"""How a run ended, in one word and one sentence."""

import signal
from typing import Any, Literal

from .._core.errors import COLOURS
from .._core.quantity import human_bytes
from .series import Series
from .trace import Trace

Outcome = Literal[
    "finished", "stopped_at_limit", "out_of_memory", "crashed", "never_stepped", "timed_out", "cancelled"
]

_OOM_SIGNS = (
    "OutOfMemoryError",  # torch.OutOfMemoryError, torch.cuda.OutOfMemoryError, java.lang.OutOfMemoryError
    "CUDA out of memory",
    "MPS backend out of memory",
    "DefaultCPUAllocator: can't allocate memory",
    "MemoryError",
    "std::bad_alloc",
    "RESOURCE_EXHAUSTED: Out of memory",
)
_STALLED = 5  # times its longest step: then the program hangs


def outcome_of(
    usage: dict[str, Any],
    trace: Trace,
    series: Series,
    tail: str,
    *,
    max_steps: int | None,
    limit_bytes: int | None,
) -> tuple[Outcome, str]:
    """The outcome and the reason. `tail` is the end of what the program printed."""
    steps = f"after {series.steps} steps" if series.steps else "before any training step"
    if not series.steps and trace.forwards:
        steps = f"after {len(trace.forwards)} forward passes"
    elif not series.steps and "torch" not in trace.facts:
        steps = f"after {usage['seconds']:.1f} s"
    ended_by = usage["ended_by"]
    if ended_by == "memory":
        seen = human_bytes(usage["peak_seen_bytes"])
        return (
            "out_of_memory",
            f"Ended {steps} at {seen} of host memory, over the limit of {human_bytes(limit_bytes or 0)}",
        )
    if ended_by == "machine_memory":
        seen = human_bytes(usage["peak_seen_bytes"])
        return "out_of_memory", f"Ended {steps} at {seen} of host memory, before the machine itself ran out"
    if ended_by == "disk":
        return "stopped_at_limit", f"Ended {steps} because the disk is nearly full"
    if ended_by == "steps":
        return "stopped_at_limit", f"Stopped {steps}, as asked"
    if ended_by == "seconds":
        return _out_of_time(usage, series, steps)
    return _by_itself(usage, trace, series, tail, steps, max_steps)


def _out_of_time(usage: dict[str, Any], series: Series, steps: str) -> tuple[Outcome, str]:
    """Still training when the time was up, or hanging: no step for far longer than any step took."""
    silent = usage["started_at"] + usage["seconds"] - series.last_at if series.steps else usage["seconds"]
    if series.steps > 1 and silent < max(_STALLED * series.longest_seconds, 5.0):
        return "stopped_at_limit", f"Stopped {steps}, when its time was up"
    since = f"; nothing stepped in the last {silent:.0f} s" if series.steps else ""
    return "timed_out", f"Still running {steps} when its time was up{since}"


def _by_itself(
    usage: dict[str, Any], trace: Trace, series: Series, tail: str, steps: str, max_steps: int | None
) -> tuple[Outcome, str]:
    code = usage["exit_code"]
    raised = trace.facts.get("exception", {})
    said = f"{raised.get('kind', '')}: {raised['text']}" if raised else _last_line(tail)
    said = " ".join(COLOURS.sub("", said).split())
    if code == 0:
        if max_steps and not series.steps and not trace.forwards:
            return "never_stepped", f"It ended by itself {steps}{_why_no_steps(trace)}"
        return "finished", f"It ended by itself {steps}"
    if any(sign in said for sign in _OOM_SIGNS) or any(sign in tail for sign in _OOM_SIGNS):
        return "out_of_memory", f"Out of memory {steps}: {said}"[:400]
    if code < 0:  # ended by a signal; never so on Windows, which has no SIGKILL
        name = signal.Signals(-code).name
        if name == "SIGKILL" and usage["machine_after"]["oom_kills"] > usage["machine_before"]["oom_kills"]:
            return "out_of_memory", f"The kernel ended it {steps} for want of memory"
        return "crashed", f"Ended {steps} by {name}"
    return "crashed", f"Exit code {code} {steps}: {said}"[:400]


def _why_no_steps(trace: Trace) -> str:
    if "torch" in trace.facts:
        return ": the probe saw no optimizer step and no backward pass"
    return (
        " and never imported torch, in whose programs alone steps are counted: the figures are the process's"
    )


def _last_line(tail: str) -> str:
    lines = [line.strip() for line in tail.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it printed nothing"
