"""What changed between two groups of runs: each figure with its interval and a verdict."""

import re
import statistics
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from .._core.ledger import Run
from .._core.spread import paired_ratio, ratio_of

Verdict = Literal["better", "worse", "no difference", "cannot tell"]

_REPEATS = 3  # from here on the spread between runs is known
BUSY = 0.2  # share of ready time without a processor from which on times are not to be trusted
_DRIFT = 1.5  # assumed: how far a machine that looks idle drifts between two sets of runs
_SMALLEST = 0.01  # a change of less than one percent is none for a user
SEED_MARGIN = 0.05  # assumed spread of a quality figure between seeds, where one seed was run
MEMORY_MARGIN = (
    0.05  # assumed spread of a peak that was measured once; references/measuring.md has measured ones
)

# Abbreviations only as words of their own: "fid" stands in confidence, "wer" in power, "iou" in previous.
_LOWER = re.compile(
    r"loss|error|mae|mse|mape|mase|perplexity|brier|(?<!per_)seconds|bytes|latency"
    r"|(?<![a-z])(?:err|ppl|wer|cer|fid)(?![a-z])",
    re.IGNORECASE,
)
_HIGHER = re.compile(
    r"accuracy|auc|auroc|precision|recall|bleu|rouge|score|per_second"
    r"|(?<![a-z])(?:[a-z]*acc|f1|r2|m?iou|map|top\d)(?![a-z])",
    re.IGNORECASE,
)


class Comparison(BaseModel):
    """One figure before and after."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    metric: str
    unit: str
    before: float
    after: float
    ratio: float | None = Field(None, description="After divided by before.")
    low_ratio: float | None = Field(None, description="95 % interval of the ratio.")
    high_ratio: float | None = None
    repeats: int = Field(description="Of the side that has fewer.")
    verdict: Verdict
    how: str
    basis: Literal["measured", "assumed"] = Field("measured", description="assumed: the spread is.")


def compare_figure(metric: str, before: list[Run], after: list[Run]) -> Comparison | None:
    """The figure of both sides, or None when one side lacks it."""
    figures = [[figure for run in side if (figure := run.figure(metric))] for side in (before, after)]
    if not figures[0] or not figures[1]:
        return None
    sides = [[value for figure in side for value in figure.singles or [figure.value]] for side in figures]
    within = _within_run([*before, *after]) if metric == "step_seconds_p50" else None
    paired = in_turns(before, after)
    if is_quality(metric) and all(len(set(side)) == 1 for side in sides):
        sides = [side[:1] for side in sides]  # one seed: its repeats show nothing of the spread between seeds
    found = compare(metric, sides[0], sides[1], figures[0][0].unit, paired, within)
    if (
        found.unit == "seconds"
        and not paired
        and found.verdict != "no difference"
        and is_busy([*before, *after])
    ):
        how = "measured apart while threads waited for a processor: run both in turns (`against`)"
        return found.model_copy(update={"verdict": "cannot tell", "how": how})
    return found


def is_quality(metric: str) -> bool:
    """Whether the figure says how good the result is, not what it took."""
    return metric.startswith("metric:") or metric == "final_loss"


def is_busy(runs: list[Run]) -> bool:
    """Whether in one of the runs threads waited for a processor for a good part of their time."""
    return any((run.conditions.get("queued_share") or 0.0) > BUSY for run in runs)


def compare(
    metric: str, before: list[float], after: list[float], unit: str, paired: bool, within: float | None = None
) -> Comparison:
    """Two sides of one figure. `within` is the factor by which the steps of one run differ, where it is known.

    Times that were taken apart may differ by what else the machine did: only more than `_DRIFT` counts there.
    """
    middles = statistics.median(before), statistics.median(after)
    repeats = min(len(before), len(after))
    found: dict[str, Any] = {
        "metric": metric,
        "unit": unit,
        "before": middles[0],
        "after": middles[1],
        "repeats": repeats,
    }
    if min(*before, *after) <= 0:
        verdict = "no difference" if middles[0] == middles[1] else "cannot tell"
        return Comparison(**found, verdict=verdict, how="a figure is not positive, so there is no ratio")
    found["ratio"] = middles[1] / middles[0]
    if repeats < _REPEATS:
        return Comparison(**found, **_once(metric, found["ratio"], within))
    paired = paired and len(before) == len(after)
    interval = paired_ratio(before, after) if paired else ratio_of(before, after)
    found |= {"ratio": interval.value, "low_ratio": interval.low, "high_ratio": interval.high}
    how = "runs taken in turns" if paired else "runs taken apart"
    if interval.low <= 1 <= interval.high or abs(interval.value - 1) < _SMALLEST:
        return Comparison(**found, verdict="no difference", how=how)
    if unit == "seconds" and not paired and interval.low < _DRIFT and interval.high > 1 / _DRIFT:
        how = f"{how}, between which a machine may drift by a factor of {_DRIFT:g}: use `against`"
        return Comparison(**found, verdict="cannot tell", how=how, basis="assumed")
    return Comparison(**found, verdict=_direction(metric, interval.value), how=how)


def is_lower_better(metric: str) -> bool | None:
    """Whether less of the figure is better, by its name; None when the name does not say."""
    lower, higher = bool(_LOWER.search(metric)), bool(_HIGHER.search(metric))
    return None if lower == higher else lower


def in_turns(before: list[Run], after: list[Run]) -> bool:
    """Whether both sides come from one call that ran them in turns."""
    turns = {run.conditions.get("turns") for run in [*before, *after]}
    return len(before) == len(after) == len(turns) == 1 and None not in turns


def _once(metric: str, ratio: float, within: float | None) -> dict[str, Any]:
    """The verdict on figures measured once or twice: only what the known spread cannot explain."""
    if metric.endswith("_bytes"):
        verdict = "no difference" if abs(ratio - 1) <= MEMORY_MARGIN else _direction(metric, ratio)
        return {
            "verdict": verdict,
            "how": f"measured once, with an assumed spread of {MEMORY_MARGIN:.0%}",
            "basis": "assumed",
        }
    if ratio == 1:
        return {"verdict": "no difference", "how": "equal"}
    if is_quality(metric):
        return _one_seed(metric, ratio)
    if within and 1 / within <= ratio <= within:
        return {
            "verdict": "no difference",
            "how": f"inside the spread of the steps of one run (factor {within:.2f})",
        }
    return {
        "verdict": "cannot tell",
        "how": f"fewer than {_REPEATS} repeats on a side: the spread between runs is unknown",
    }


def _one_seed(metric: str, ratio: float) -> dict[str, Any]:
    """A quality figure of one seed: only a fall beyond the assumed spread between seeds decides."""
    if _direction(metric, ratio) == "worse" and abs(ratio - 1) > SEED_MARGIN:
        how = f"one seed, with an assumed spread between seeds of {SEED_MARGIN:.0%}"
        return {"verdict": "worse", "how": how, "basis": "assumed"}
    return {
        "verdict": "cannot tell",
        "how": f"one seed a side: repeat both with {_REPEATS} other seeds to know the spread",
    }


def _within_run(runs: list[Run]) -> float | None:
    """How far the slow steps of a run lie from its median, as a factor."""
    pairs = [(run.figure("step_seconds_p95"), run.figure("step_seconds_p50")) for run in runs]
    return max(
        (slow.value / middle.value for slow, middle in pairs if slow and middle and middle.value),
        default=None,
    )


def _direction(metric: str, ratio: float) -> Verdict:
    lower = is_lower_better(metric)
    if lower is None:
        return "cannot tell"
    return "better" if (ratio < 1) == lower else "worse"
