"""What the ledger keeps of a set of runs beside the Report: figures with their range, each repeat, the whole trace."""

import json
import math
import statistics
from typing import Any

from .._core.ledger import Figure
from .causes import data_wait_share
from .taking import Taken


def figures_of(runs: list[Taken]) -> list[Figure]:
    """Each figure as the median of the repeats with their range."""
    columns: dict[str, tuple[str, list[float | None]]] = {
        "step_seconds_p50": ("seconds", [r.step_seconds["p50"] if r.step_seconds else None for r in runs]),
        "step_seconds_p95": ("seconds", [r.step_seconds["p95"] if r.step_seconds else None for r in runs]),
        "wall_seconds": ("seconds", [r.usage["seconds"] for r in runs]),
        "steps": ("steps", [r.steps for r in runs]),
        "peak_rss_bytes": ("bytes", [r.peak_rss_bytes for r in runs]),
        "peak_gpu_bytes": ("bytes", [r.peak_gpu_bytes[0] for r in runs]),
        "data_wait_share": ("1", [data_wait_share(r.series) for r in runs]),
        "final_loss": (
            "1",
            [next((v for v in reversed(r.series.losses) if v is not None), None) for r in runs],
        ),
    }
    for name in sorted({name for run in runs for name in run.metrics}):
        columns[f"metric:{name}"] = ("1", [run.metrics.get(name) for run in runs])
    figures = []
    for metric, (unit, column) in columns.items():
        values = [float(value) for value in column if value is not None and math.isfinite(value)]
        if values:
            figures.append(
                Figure(
                    metric=metric,
                    value=statistics.median(values),
                    unit=unit,
                    repeats=len(values),
                    low=min(values),
                    high=max(values),
                    singles=values,
                )
            )
    return figures


def repeat_of(run: Taken) -> dict[str, Any]:
    return {
        "outcome": run.outcome,
        "steps": run.steps,
        "step_seconds_p50": run.step_seconds["p50"] if run.step_seconds else None,
        "wall_seconds": round(run.usage["seconds"], 3),
        "peak_rss_bytes": run.peak_rss_bytes,
        "metrics": run.metrics,
        "metric_series": run.metric_series,
    }


def trace_of(run: Taken) -> bytes:
    usage = run.usage
    content = {
        "facts": run.trace.facts,
        "optimizers": run.trace.optimizers,
        "step_fields": list(run.trace.steps[0]._fields) if run.trace.steps else [],
        "steps": run.trace.steps,
        "forwards": run.trace.forwards,
        "usage": usage,
    }
    return json.dumps(content).encode()
