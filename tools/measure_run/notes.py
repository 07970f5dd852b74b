"""What a reader of the figures must know: where they come from, what was left out, what makes them noisy."""

import math

from .causes import queued_share
from .taking import Taken

_BUSY = 0.2  # share of ready time without a processor from which on the machine counts as busy


def probe_of(run: Taken) -> str:
    facts = run.trace.facts
    if "probe_failed" in facts:
        return f"failed in {facts['probe_failed']['where']}: {facts['probe_failed']['text']}"
    if "unsupported" in facts:
        return f"figures of the process only: {facts['unsupported']['why']}"
    if "torch" in facts:
        return f"attached (torch {facts['torch']['version']})"
    return "figures of the process only: no torch was imported in a Python that reads PYTHONPATH"


def notes_of(run: Taken) -> list[str]:
    notes = [*run.metric_notes]
    if run.metric_notes and run.outcome in ("stopped_at_limit", "timed_out"):
        notes.append(
            "the run was stopped before its end: what it prints or writes there needs a run without limits"
        )
    if run.usage["left_behind"]:
        notes.append(f"{run.usage['left_behind']} processes that the program left behind were ended")
    if run.series.evaluated:
        notes.append(f"{run.series.evaluated} steps hold an evaluation and are left out of step times")
    lost = next(
        (n for n, loss in enumerate(run.series.losses, 1) if loss is not None and not math.isfinite(loss)), 0
    )
    if lost:
        notes.append(f"the loss is not finite from step {lost} on")
    if (queued := queued_share(run.usage)) and queued > _BUSY:
        notes.append(f"its threads waited {queued:.0%} of their ready time for a processor: times are noisy")
    if 0 < len(run.series.laps) < 5:
        notes.append(f"only {len(run.series.laps)} step times after warm-up; more steps make them firmer")
    return notes
