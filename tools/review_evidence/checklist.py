"""The quality checklist: four boxes, each with its evidence or with exactly what is missing."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from .._core.ledger import Run
from .._core.quantity import human_bytes
from .._remedies import ordered
from .impact import Comparison, Verdict
from .remedies import CHANGES_RESULTS, FOR

_TIME = {"compute_time", "inference_latency", "no_gpu", "network"}
_MEMORY = {"gpu_memory", "host_memory"}


class Box(BaseModel):
    """One box of the checklist."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    box: Literal["binding_constraint", "matching_strategy", "measured_impact", "fallback"]
    ticked: bool
    evidence: str = ""
    missing: str = ""


def constraint_box(constraint: str | None, before: list[Run]) -> Box:
    """Ticked when the runs before show the constraint that was named."""
    if constraint is None:
        return Box(
            box="binding_constraint",
            ticked=False,
            missing="`constraint`: the one that triage_constraint found",
        )
    shown = _shown(constraint, before)
    if shown:
        return Box(box="binding_constraint", ticked=True, evidence=shown)
    sign = _SIGNS.get(constraint, "its own evidence, such as the bill or the error")
    wanted = f"a run before that shows {constraint}: {sign}"
    return Box(box="binding_constraint", ticked=False, missing=wanted)


_SIGNS = {
    "gpu_memory": "one that ran out of memory, or its peak on the GPU",
    "host_memory": "one that ran out of memory, or one with a memory limit",
    "compute_time": "its step times",
    "inference_latency": "the times of its calls",
}


def strategy_box(constraint: str | None, remedies: list[str]) -> Box:
    """Ticked when every remedy belongs to the constraint."""
    if not remedies:
        return Box(
            box="matching_strategy", ticked=False, missing="`remedies`: what was changed between the runs"
        )
    if constraint is None:
        return Box(
            box="matching_strategy", ticked=False, missing="`constraint`, to know which remedies match it"
        )
    strangers = [remedy for remedy in remedies if remedy not in FOR[constraint]]
    if strangers:
        return Box(
            box="matching_strategy",
            ticked=False,
            missing=f"a remedy for {constraint}; {', '.join(strangers)} relieves another constraint",
        )
    more = (
        ""
        if len(remedies) == 1
        else f"; {len(remedies)} at once, so no single one of them is shown to be the cause"
    )
    return Box(box="matching_strategy", ticked=True, evidence=f"{', '.join(remedies)} for {constraint}{more}")


def impact_box(
    verdict: Verdict, why: str, impact: list[Comparison], quality: list[Comparison], remedies: list[str]
) -> Box:
    """Ticked when the deciding figure has a verdict, and a quality figure too where the remedy changes results."""
    if verdict == "cannot tell":
        return Box(box="measured_impact", ticked=False, missing=why)
    changing = [remedy for remedy in remedies if remedy in CHANGES_RESULTS]
    trade = "; ".join(_sentence(one) for one in quality)
    if not trade:
        trade = (
            "no quality figure was taken; the remedy computes the same"
            if remedies and not changing
            else "no quality figure was taken"
        )
    figures = "; ".join(_sentence(one) for one in impact[:3])
    return Box(
        box="measured_impact",
        ticked=bool(quality or (remedies and not changing)),
        evidence=f"{figures or why}. Quality: {trade}",
        missing=""
        if quality or remedies
        else "`remedies`, to know whether results change, or a quality figure (`metrics`)",
    )


def fallback_box(constraint: str | None, remedies: list[str], before: list[Run], after: list[Run]) -> Box:
    """Ticked when the state before can be had again; names what could be tried instead."""
    ways = [way for run in before[:1] for way in _ways_back(run, after[0])]
    untried = [name for name in ordered(constraint or "", None) if name not in remedies]
    instead = f"; not tried yet for {constraint}: {', '.join(untried[:6])}" if untried else ""
    if ways:
        return Box(box="fallback", ticked=True, evidence="; ".join(ways) + instead)
    return Box(
        box="fallback",
        ticked=False,
        missing=f"a way back: a clean git commit, a backup or the script of before under its own name{instead}",
    )


def _shown(constraint: str, before: list[Run]) -> str:
    exhausted = [run for run in before if run.outcome == "out_of_memory"]
    if constraint in _MEMORY and exhausted:
        return f"{exhausted[0].id}: {exhausted[0].report.get('reason', 'out of memory')}"
    names = {"gpu_memory": "peak_gpu_bytes", "host_memory": "peak_rss_bytes"}
    for run in before:
        peak = run.figure(names[constraint]) if constraint in _MEMORY else None
        limit = run.conditions.get("memory_limit_bytes")
        if peak and constraint == "gpu_memory":
            return f"{run.id}: peak of {human_bytes(round(peak.value))} on the GPU"
        if peak and limit and peak.value > 0.8 * limit:
            return f"{run.id}: peak of {human_bytes(round(peak.value))} under a limit of {human_bytes(limit)}"
        step = run.figure("step_seconds_p50") or run.figure("wall_seconds")
        if constraint in _TIME and step:
            causes = [cause["cause"] for cause in run.report.get("causes", [])]
            why = ", ".join(causes) or "no cause beside the computation itself"
            return f"{run.id}: {step.metric} {step.value:.4g} s; {why}"
    return ""


def _ways_back(before: Run, after: Run) -> list[str]:
    ways = []
    script = before.conditions.get("script") or {}
    other = after.conditions.get("script") or {}
    commit = before.conditions.get("git")
    if commit and not commit.endswith("-dirty"):
        ways.append(f"git commit {commit} holds the state before")
    if script and other and script["path"] != other.get("path") and Path(script["path"]).exists():
        ways.append(f"{Path(script['path']).name} is still there")
    if script:
        path = Path(script["path"])
        backups = (
            sorted(path.parent.glob(f"{path.name}.{script['sha256'][:12]}*")) if path.parent.is_dir() else []
        )
        ways += [f"backup {backup.name}" for backup in backups[:1]]
    return ways


def _sentence(one: Comparison) -> str:
    interval = "" if one.low_ratio is None else f" (95 %: {one.low_ratio:.3f} to {one.high_ratio:.3f})"
    ratio = "" if one.ratio is None else f", ratio {one.ratio:.3f}{interval}"
    values = [human_bytes(round(v)) if one.unit == "bytes" else f"{v:.4g}" for v in (one.before, one.after)]
    return f"{one.metric} {values[0]} -> {values[1]}{ratio}: {one.verdict}, {one.how}"
