"""From what was taken to rows of the ledger and the Report."""

import math
import statistics
from contextlib import closing
from pathlib import Path
from typing import Any

from .._core.errors import ToolError
from .._core.ledger import Run, append, ledger_path, new_id, now, open_ledger
from .._core.workspace import Workspace
from . import MeasureRunReport, MeasureRunRequest
from .calling import split_target, take_calls
from .causes import (
    data_wait_share,
    find_causes,
    queued_share,
    samples_per_step,
)
from .conditions import conditions_of, device_name, usable_cores, workload_hash
from .launch import Launch, prepare
from .notes import notes_of, probe_of
from .row import figures_of, repeat_of, trace_of
from .series import percentile
from .taking import Taken, take
from .trace import Trace

_LOSSES = 100  # in the Report; the trace has all
_AGAINST_REPEATS = 3


def measure(request: MeasureRunRequest, workspace: Workspace, python: Path) -> MeasureRunReport:
    """Run what is asked, in turns with `against`, and keep each command's runs under one id."""
    ledger_path(workspace)  # declines before anything runs where nothing may be kept
    if request.target:
        launch, runs = _take_target(request, workspace, python)
        return _keep(request, launch, runs, workspace, None)
    commands = [request.command, *([request.against] if request.against else [])]
    launches = [
        prepare(command, python=python, cwd=workspace.root, max_steps=request.max_steps)
        for command in commands
    ]
    repeats = request.repeats or (_AGAINST_REPEATS if request.against else 1)
    taken: list[list[Taken]] = [[] for _ in launches]
    for turn in range(repeats):
        order = list(zip(launches, taken, strict=True))
        for launch, runs in order if turn % 2 == 0 else reversed(order):
            runs.append(_take(request, launch, workspace))
    turns = new_id() if len(launches) > 1 else None  # what was run in turns is compared turn by turn
    reports = [
        _keep(request, launch, runs, workspace, turns) for launch, runs in zip(launches, taken, strict=True)
    ]
    if len(reports) == 1:
        return reports[0]
    return reports[0].model_copy(update={"against": _beside(reports[1])})


def _take(request: MeasureRunRequest, launch: Launch, workspace: Workspace) -> Taken:
    """One run; a cancelled one is kept as cancelled (the worker has ended it by then)."""
    try:
        return take(
            launch,
            max_steps=request.max_steps,
            max_seconds=request.max_seconds,
            memory_limit_bytes=request.memory_limit_bytes,
            metrics=request.metrics,
        )
    except ToolError:
        raise
    except BaseException:  # whatever the host cancels with, or Ctrl-C
        _keep_cancelled(request, launch, workspace)
        raise


def _take_target(
    request: MeasureRunRequest, workspace: Workspace, python: Path
) -> tuple[Launch, list[Taken]]:
    target = split_target(request.target or "", workspace)
    taken = [
        take_calls(
            target,
            python=python,
            cwd=workspace.root,
            batch_sizes=request.batch_sizes,
            threads=request.threads,
            max_calls=request.max_steps,
            max_seconds=request.max_seconds,
            memory_limit_bytes=request.memory_limit_bytes,
        )
        for _ in range(request.repeats or 1)
    ]
    return taken[0][0], [run for _, run in taken]


def _keep_cancelled(request: MeasureRunRequest, launch: Launch, workspace: Workspace) -> None:
    conditions = conditions_of(launch, Trace(), None)
    row = Run(
        id=new_id(),
        taken_at=now(),
        tool="measure_run",
        label=request.label,
        outcome="cancelled",
        device=device_name([]),
        workload=workload_hash(conditions["workload"]),
        conditions=conditions,
    )
    with closing(open_ledger(ledger_path(workspace))) as ledger:
        append(ledger, row)


def _beside(report: MeasureRunReport) -> dict[str, Any]:
    return report.model_dump(
        mode="json",
        include={
            "id",
            "outcome",
            "reason",
            "steps",
            "step_seconds",
            "wall_seconds",
            "peak_rss_bytes",
            "metrics",
            "repeats",
        },
    )


def _keep(
    request: MeasureRunRequest, launch: Launch, runs: list[Taken], workspace: Workspace, turns: str | None
) -> MeasureRunReport:
    """The Report of one command's runs, after it became a row of the ledger."""
    main = _typical(runs)
    samples = samples_per_step(main.trace, main.series)
    conditions = conditions_of(launch, main.trace, samples)
    conditions["turns"] = turns
    conditions["queued_share"] = queued_share(main.usage)
    conditions["memory_limit_bytes"] = request.memory_limit_bytes
    conditions["max_steps"] = request.max_steps
    report = _report(request, launch, runs, main, samples)
    if not workspace.root.is_dir():
        gone = "the run deleted the workspace, so nothing could be kept"
        return report.model_copy(update={"notes": [*report.notes, gone]})
    report = report.model_copy(
        update={
            "id": new_id(),
            "output_path": str(workspace.store("output.log", main.printed)),
            "trace_path": str(workspace.store("trace.json", trace_of(main))),
        }
    )
    row = Run(
        id=report.id or "",
        taken_at=now(),
        tool="measure_run",
        label=request.label,
        outcome=report.outcome,
        device=device_name(main.usage["gpu"]["names"] if main.usage["gpu"] else []),
        workload=workload_hash(conditions["workload"]),
        conditions=conditions,
        report=report.model_dump(mode="json"),
        figures=figures_of(runs),
    )
    with closing(open_ledger(ledger_path(workspace))) as ledger:
        append(ledger, row)
    return report


def _typical(runs: list[Taken]) -> Taken:
    """The run whose outcome the set has: one that went wrong, else the one with the median step time."""
    wrong = [run for run in runs if run.outcome not in ("finished", "stopped_at_limit")]
    if wrong:
        return wrong[0]
    return sorted(runs, key=lambda run: (run.step_seconds or {"p50": run.usage["seconds"]})["p50"])[
        len(runs) // 2
    ]


def _report(
    request: MeasureRunRequest, launch: Launch, runs: list[Taken], main: Taken, samples: int | None
) -> MeasureRunReport:
    usage, series, trace = main.usage, main.series, main.trace
    seconds = main.step_seconds
    every = -(-len(series.losses) // _LOSSES) or 1
    gpu = usage["gpu"] or {}
    wait = data_wait_share(series)
    causes = find_causes(trace, series, usage, usable_cores())
    return MeasureRunReport(
        id=None,
        label=request.label,
        outcome=main.outcome,
        reason=main.reason,
        exit_code=usage["exit_code"],
        steps=main.steps,
        step_source=_source(main, bool(request.target)),
        step_seconds={name: float(f"{value:.6g}") for name, value in seconds.items()} if seconds else None,
        samples_per_step=samples,
        samples_per_second=round(samples / statistics.fmean(series.seconds), 3)
        if samples and seconds
        else None,
        wall_seconds=round(usage["seconds"], 3),
        cpu_cores_used=_cores_used(main),
        gpu_utilization_percent=_utilization(gpu),
        data_wait_share=None if wait is None else round(wait, 4),
        peak_rss_bytes=max(run.peak_rss_bytes for run in runs),
        rss_before_training_bytes=trace.facts.get("model", {}).get("resident_bytes"),
        training_device=trace.facts.get("model", {}).get("device"),
        peak_gpu_bytes=main.peak_gpu_bytes[0],
        peak_gpu_reserved_bytes=main.peak_gpu_bytes[1],
        peak_gpu_device_bytes=gpu.get("peak_bytes"),
        loss=[_finite(loss) for loss in series.losses[::every] if loss is not None],
        loss_every=every,
        metrics=main.metrics,
        metric_series=main.metric_series,
        calls=main.calls,
        causes=causes,
        repeats=[repeat_of(run) for run in runs] if len(runs) > 1 else [],
        python=str(launch.python),
        probe=probe_of(main),
        notes=notes_of(main),
    )


def _finite(loss: float) -> float | None:
    """Six digits; JSON has no number that is not finite."""
    return float(f"{loss:.6g}") if math.isfinite(loss) else None


def _source(run: Taken, is_target: bool) -> Any:
    if run.trace.steps:
        return "optimizer" if any(step.optimizer >= 0 for step in run.trace.steps) else "backward"
    if run.calls:
        return "calls" if is_target else "forward"
    return None


def _cores_used(run: Taken) -> float | None:
    laps = run.series.laps
    if laps and run.usage["most_processes"] == 1:
        return round(sum(lap.cpu_seconds for lap in laps) / sum(lap.seconds for lap in laps), 2)
    used = run.usage["cpu_seconds"]
    return None if used is None else round(used / run.usage["seconds"], 2)


def _utilization(gpu: dict[str, Any]) -> float | None:
    percents = [percent for _, percent in gpu.get("utilisations", [])]
    return percentile(percents, 0.5) if percents else None
