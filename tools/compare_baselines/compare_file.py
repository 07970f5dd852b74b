"""From a request to the table, the verdicts and the forecast. Runs in the child."""

import time
from pathlib import Path
from typing import Any

from .._core.errors import ToolError
from .._series.methods import wish
from .backtest import Outcome
from .cells import choose_cells
from .classify import classify
from .folds import Fold, roll, roll_more, short_of_seasons
from .inputs import read_cases, read_series
from .panel import Panel, panel
from .recommend import describe, final_forecast, forecast_csv, picture, recommend
from .run_cells import Bounds, add_origins, choose, label_all, rows_of, run_all
from .verdict import MIN_SERIES, judge

_LISTED = 20


def compare_file(request: dict[str, Any], progress: Any) -> dict[str, Any]:
    """The reply of the engine."""
    started = time.perf_counter()
    wishes = [wish(w) for w in request["augment"]]
    if request["label_column"]:
        return classify(read_cases(request), request, wishes, progress)
    horizon = request["horizon"]
    if horizon is None:
        raise ToolError(
            "A forecast needs a horizon", saw=None, try_next="horizon, or label_column to classify"
        )
    data = panel(read_series(request), horizon)
    season, notes = _season(request["season"], data)
    folds = roll(data.lines, horizon, season, request["folds"])
    if not folds:
        raise ToolError("No series reaches past the horizon", saw=horizon, try_next="a shorter horizon")
    notes[:0] = short_of_seasons(data.lines, folds, horizon, season)
    bounds = Bounds(horizon, season, request["seed"], started + request["max_seconds"])
    cells, not_run = choose_cells(request["models"], wishes, data, notes)
    if len(data.lines) < MIN_SERIES and any(c.against for c in cells):
        notes.insert(
            0, f"Fewer than {MIN_SERIES} series: what copies or pre-training change gets no clear verdict"
        )
    extra = roll_more(data.lines, horizon, season, request["folds"]) if any(c.against for c in cells) else []
    progress(0, len(cells), f"{len(data.lines)} series, {len(folds)} folds: timing {len(cells)} cells")
    chosen, expected, too_long = choose(cells, folds, extra, bounds, request["max_seconds"])
    progress(0, len(chosen), f"expect {expected:.0f} s: {label_all(chosen)}")
    run_started = time.perf_counter()
    outcomes, late = run_all(chosen, folds, bounds, progress, Path(request["partial"]))
    if not outcomes:
        seen = f"{request['max_seconds']} s; {too_long[0]['model']} {too_long[0]['why']}"
        raise ToolError("No model fits into the time", saw=seen, try_next="more max_seconds, or fewer series")
    further = add_origins(outcomes, extra, bounds, progress)
    return {
        **_results(outcomes, data, folds, further, bounds),
        "not_run": [*not_run, *too_long, *late],
        "estimated_seconds": round(expected, 1),
        "run_seconds": round(time.perf_counter() - run_started, 1),
        "warnings": notes,
    }


def _season(asked: int | None, data: Panel) -> tuple[int, list[str]]:
    """The season, and the notes of a Report to begin with."""
    season = asked or data.grid.season
    told = [] if asked else [f"season {season}, from the time steps ({data.grid.name})"]
    return season, [*data.warnings, *told]


def _results(
    outcomes: list[Outcome], data: Panel, folds: list[Fold], further: list[Fold], bounds: Bounds
) -> dict[str, Any]:
    lines = len(data.lines)
    table = rows_of(outcomes, folds, lines)
    verdicts = judge(outcomes, folds, further, lines)
    best = recommend(table, verdicts)
    winner = next(o for o in outcomes if (o.cell.model.name, o.cell.augmentation) == best)
    forecast = final_forecast(winner, data, bounds.horizon, bounds.season, bounds.seed)
    return {
        "series": lines,
        "season": bounds.season,
        "folds": len(folds),
        "table": table,
        "verdict": verdicts,
        "recommended": describe(winner, table, folds, bounds.horizon, bounds.season),
        "forecast": forecast_csv(winner, forecast, data, folds, bounds.horizon),
        "picture": picture(forecast, data),
        "failures": _failures(outcomes, data),
    }


def _failures(outcomes: list[Outcome], data: Panel) -> list[dict[str, str]]:
    rows = [{"series": s, "model": "all", "why": why} for s, why in data.left_out.items()]
    for outcome in outcomes:
        rows += [{"series": s, "model": outcome.cell.label, "why": why} for s, why in outcome.failed.items()]
    return rows[:_LISTED]
