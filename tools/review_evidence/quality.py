"""Time to the same quality: when each run first was as good as both became."""

from typing import Any

from .._core.ledger import Run
from .impact import is_lower_better

Points = list[tuple[float, float]]


def times_to_quality(
    metric: str, before: list[Run], after: list[Run]
) -> tuple[list[float], list[float]] | None:
    """Seconds until each run reached the level that the worse of all runs reached at best; None without such series."""
    lower = is_lower_better(metric)
    sides = [_series(metric, side) for side in (before, after)]
    if lower is None or not sides[0] or not sides[1]:
        return None
    best = [
        min(v for _, v in points) if lower else max(v for _, v in points) for side in sides for points in side
    ]
    level = max(best) if lower else min(best)
    first, second = ([_reached(points, level, lower) for points in side] for side in sides)
    return first, second


def _reached(points: Points, level: float, lower: bool) -> float:
    return next(at for at, value in points if (value <= level if lower else value >= level))


def _series(metric: str, runs: list[Run]) -> list[Points]:
    found: list[Points] = []
    for run in runs:
        takes: list[dict[str, Any]] = run.report.get("repeats") or [run.report]
        found += [
            [(at, value) for at, value in one["metric_series"][metric]]
            for one in takes
            if metric in one.get("metric_series", {})
        ]
    return [points for points in found if len(points) > 1]
