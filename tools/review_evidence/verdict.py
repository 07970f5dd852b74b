"""From runs to one word: better, worse, no difference, cannot tell."""

from dataclasses import dataclass, field

from .._core.ledger import Run
from .impact import Comparison, Verdict, compare, compare_figure, in_turns
from .quality import times_to_quality
from .remedies import CHANGES_RESULTS

_WORKED = {"finished", "stopped_at_limit"}
_STEADY = 2  # steps from which an optimizer has its state and the peak of a step was seen
_SHORTER = {"early_stopping", "lr_schedule", "larger_batch", "smaller_model", "fewer_experiments"}
_FIGURES = ("peak_gpu_bytes", "peak_rss_bytes", "step_seconds_p50", "wall_seconds")

# What decides, by constraint: the first figure that both sides have.
_DECIDING = {
    "gpu_memory": ("peak_gpu_bytes", "peak_rss_bytes"),  # a CPU counts as a device too
    "host_memory": ("peak_rss_bytes",),
    "compute_time": ("wall_seconds", "step_seconds_p50"),
    "inference_latency": ("step_seconds_p50",),
    "no_gpu": ("wall_seconds", "step_seconds_p50"),
    "edge": ("step_seconds_p50",),
    "network": ("step_seconds_p50", "wall_seconds"),
    "budget": ("wall_seconds",),
}


@dataclass(frozen=True)
class Judgement:
    """The verdict and the figures behind it."""

    verdict: Verdict
    reason: str
    impact: list[Comparison] = field(default_factory=list)
    quality: list[Comparison] = field(default_factory=list)


def judge(
    constraint: str | None, remedies: list[str], before: list[Run], after: list[Run], refused: list[str]
) -> Judgement:
    """The verdict on the constraint's own figure, held back where quality fell or was not taken."""
    if refused:
        return Judgement("cannot tell", f"The runs do not compare: {'; '.join(refused)}")
    quality = _quality(before, after)
    impact = [
        one
        for name in _FIGURES
        if _is_whole(name, before, after) and (one := compare_figure(name, before, after))
    ]
    impact = _with_time_to_quality(impact, before, after)
    verdict, reason = _by_outcome(before, after) or _by_figure(constraint, remedies, impact, quality)
    if verdict in ("better", "no difference"):
        lost_loss = any(None in run.report.get("loss", []) for run in after) and not any(
            None in run.report.get("loss", []) for run in before
        )
        return _held_back(verdict, reason, remedies, impact, quality, lost_loss)
    return Judgement(verdict, reason, impact, quality)


def _held_back(
    verdict: Verdict,
    reason: str,
    remedies: list[str],
    impact: list[Comparison],
    quality: list[Comparison],
    lost_loss: bool,
) -> Judgement:
    """The verdict, unless quality fell, or may have fallen and was not (well enough) measured."""
    if lost_loss:
        return Judgement(
            "cannot tell", f"{reason}, but the loss is not finite after the change", impact, quality
        )
    changing = ", ".join(remedy for remedy in remedies if remedy in CHANGES_RESULTS)
    if changing and not quality:
        wanted = "`metrics` of measure_run, or the loss of equally many steps"
        return Judgement(
            "cannot tell",
            f"{changing} changes results, and no quality figure was taken on both sides ({wanted})",
            impact,
        )
    lost = [one for one in quality if one.verdict == "worse"]
    if lost and verdict == "better":
        fell = f"{lost[0].metric} went from {lost[0].before:.4g} to {lost[0].after:.4g}"
        return Judgement(
            "cannot tell", f"{reason}, but {fell}: a trade, for the user to decide", impact, quality
        )
    if verdict == "better" and changing and all(one.verdict == "cannot tell" for one in quality):
        doubt = f"whether {quality[0].metric} suffered is open ({quality[0].how})"
        return Judgement("cannot tell", f"{reason}; {doubt}", impact, quality)
    moved = [one for one in quality if one.verdict == "cannot tell"]
    if verdict == "better" and moved:
        reason += (
            f"; {moved[0].metric} went from {moved[0].before:.4g} to {moved[0].after:.4g} ({moved[0].how})"
        )
    return Judgement(verdict, reason, impact, quality)


def _by_outcome(before: list[Run], after: list[Run]) -> tuple[Verdict, str] | None:
    """A run that works against one that does not needs no ratio."""
    broken = [[run for run in side if run.outcome not in _WORKED] for side in (before, after)]
    if broken[0] and broken[1]:
        return (
            "cannot tell",
            f"neither side runs: {broken[0][0].outcome} before, {broken[1][0].outcome} after",
        )
    if broken[1]:
        return (
            "worse",
            f"before it ran, after it ends as {broken[1][0].outcome}: {broken[1][0].report.get('reason', '')}",
        )
    if not broken[0]:
        return None
    limits = {run.conditions.get("memory_limit_bytes") for run in [*before, *after]}
    if broken[0][0].outcome == "out_of_memory" and len(limits) == 1:
        if doubt := _too_short(before, after):
            return "cannot tell", doubt
        return (
            "better",
            f"before it ran out of memory, after it runs under the same limit ({after[0].outcome})",
        )
    return "cannot tell", f"before it ended as {broken[0][0].outcome}, so there is no baseline"


def _too_short(before: list[Run], after: list[Run]) -> str:
    """Why a run that was stopped does not yet show that it gets further than the one that died; else nothing."""
    reached = max((figure.value for run in before if (figure := run.figure("steps"))), default=0)
    wanted = max(_STEADY, 2 * reached)
    for run in after:
        steps = figure.value if (figure := run.figure("steps")) else 0
        if run.outcome != "finished" and steps < wanted:
            return (
                f"before it ran out of memory after {reached:g} steps, after it was stopped after {steps:g}: "
                f"let it run to its end, or for {wanted:g} steps (max_steps)"
            )
    return ""


def _by_figure(
    constraint: str | None, remedies: list[str], impact: list[Comparison], quality: list[Comparison]
) -> tuple[Verdict, str]:
    figures = {one.metric: one for one in impact}
    if constraint == "training_data":
        decider = quality[0] if quality else None
    elif constraint is None:
        return _without_constraint(impact)
    else:
        names = (
            ("time_to_quality_seconds", *_DECIDING.get(constraint, ()))
            if constraint == "compute_time"
            else _DECIDING.get(constraint, ())
        )
        if constraint == "compute_time" and set(remedies) & _SHORTER:
            names = ("time_to_quality_seconds", "wall_seconds")
        decider = next((figures[name] for name in names if name in figures), None)
    if decider is None:
        return "cannot tell", f"no figure that decides {constraint} was measured on both sides"
    return decider.verdict, _said(decider)


def _without_constraint(impact: list[Comparison]) -> tuple[Verdict, str]:
    """Without a constraint every figure counts: one that got better decides only when none got worse."""
    said = "; ".join(_said(one) for one in impact) or "no figure was measured on both sides"
    seen = {one.verdict for one in impact}
    if {"better", "worse"} <= seen:
        return (
            "cannot tell",
            f"some figures got better and some worse, and no constraint says which counts: {said}",
        )
    for verdict in ("worse", "better"):
        if verdict in seen:
            return verdict, said
    return ("no difference" if seen == {"no difference"} else "cannot tell"), said


def _quality(before: list[Run], after: list[Run]) -> list[Comparison]:
    """The caller's metrics that both sides have, else the loss after equally many steps."""
    names = [
        {f.metric for run in side for f in run.figures if f.metric.startswith("metric:")}
        for side in (before, after)
    ]
    shared = sorted(names[0] & names[1])
    chosen = shared or (["final_loss"] if len(_steps([*before, *after])) == 1 else [])
    return [one for name in chosen if (one := compare_figure(name, before, after))]


def _with_time_to_quality(impact: list[Comparison], before: list[Run], after: list[Run]) -> list[Comparison]:
    for name in sorted({name for run in before for name in run.report.get("metric_series", {})}):
        times = times_to_quality(name, before, after)
        if times:
            return [compare("time_to_quality_seconds", *times, "seconds", in_turns(before, after)), *impact]
    return impact


def _is_whole(metric: str, before: list[Run], after: list[Run]) -> bool:
    """Wall time compares only between runs that came to their own end after equally many steps."""
    runs = [*before, *after]
    return metric != "wall_seconds" or (
        all(run.outcome == "finished" for run in runs) and len(_steps(runs)) <= 1
    )


def _steps(runs: list[Run]) -> set[float]:
    return {figure.value for run in runs if (figure := run.figure("steps")) and figure.value}


def _said(one: Comparison) -> str:
    change = "" if one.ratio is None else f" by a factor of {one.ratio:.3f}"
    interval = "" if one.low_ratio is None else f" (95 %: {one.low_ratio:.3f} to {one.high_ratio:.3f})"
    return f"{one.metric} changed{change}{interval}, {one.how}"
