"""From a request to the table, the verdicts and the forecast. Runs in the child."""

import csv
import importlib.util
import io
import itertools
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from .._core.errors import ToolError
from .._series.intake.cases import Cases, from_npz, from_table, nested_column
from .._series.intake.files import ARRAYS, Source, kind_of, read, read_folder
from .._series.intake.roles import Asked
from .._series.intake.series import load
from .._series.methods import Wish, wish
from .._series.picture import Curve, chart
from .backtest import Cell, Outcome, fit, run_cell, summary
from .classify import classify
from .estimate import time_cost
from .folds import Fold, roll
from .models.forecast import Forecast, Model
from .models.menu import DEFAULT, INTERMITTENT, MENU
from .panel import Panel, panel
from .verdict import judge

_INTERVAL = 0.8
_FEW_ERRORS = 30
_LISTED = 20
_DRAWN_STEPS = 200
_ZERO_SHARE = 0.4  # of values, for a panel to count as intermittent demand


def compare_file(request: dict[str, Any], progress: Any) -> dict[str, Any]:
    """The reply of the engine."""
    started = time.perf_counter()
    wishes = [wish(w) for w in request["augment"]]
    if request["label_column"]:
        return classify(_cases(request), request, wishes, progress)
    horizon = request["horizon"]
    if horizon is None:
        raise ToolError(
            "A forecast needs a horizon", saw=None, try_next="horizon, or label_column to classify"
        )
    data = panel(load(_source(request), _asked(request), whole=True), horizon)
    season = request["season"] or data.grid.season
    notes = list(data.warnings)
    if request["season"] is None:
        notes.append(f"season {season}, from time steps of one {data.grid.name}")
    folds = roll(data.lines, horizon, season, request["folds"])
    if not folds:
        raise ToolError("No series reaches past the horizon", saw=horizon, try_next="a shorter horizon")
    cells, not_run = _cells(request, wishes, data, notes)
    progress(0, len(cells), f"{len(data.lines)} series, {len(folds)} folds: timing {len(cells)} cells")
    estimates = _estimates(cells, folds, horizon, season)
    limit = request["max_seconds"]
    left = max(limit - (time.perf_counter() - started), limit / 2)  # however long the timing itself took
    chosen, too_long = _affordable(cells, estimates, left)
    not_run += too_long
    expected = sum(estimates[id(c)] for c in chosen)
    progress(0, len(chosen), "expect {:.0f} s: {}".format(expected, ", ".join(_label(c) for c in chosen)))
    run_started = time.perf_counter()
    outcomes = _run(chosen, folds, horizon, season, request, started, progress, not_run)
    if not outcomes:
        raise ToolError(
            "No model fits into the time",
            saw=f"{request['max_seconds']} s",
            try_next="more max_seconds or fewer models",
        )
    table = [summary(o, folds, len(data.lines)) for o in outcomes]
    verdicts = _verdicts(outcomes, folds, len(data.lines), request["seed"])
    best = recommend(table, verdicts)
    winner = next(o for o in outcomes if (o.cell.model.name, o.cell.augmentation) == best)
    forecast = _final(winner, data, horizon, season, request["seed"])
    return {
        "series": len(data.lines),
        "season": season,
        "folds": len(folds),
        "table": sorted(table, key=lambda r: (r["mase"] is None, r["mase"])),
        "verdict": verdicts,
        "recommended": _recommended(winner, table, folds, horizon, season),
        "forecast": _forecast_csv(winner, forecast, data, folds, horizon),
        "picture": _picture(forecast, data),
        "not_run": not_run,
        "failures": _failures(outcomes, data),
        "estimated_seconds": round(expected, 1),
        "run_seconds": round(time.perf_counter() - run_started, 1),
        "warnings": notes,
    }


def _source(request: dict[str, Any]) -> Source:
    path = Path(request["path"])
    if path.is_file() and kind_of(path) == ARRAYS:
        raise ToolError(
            "Arrays have no time stamps", saw=path.name, try_next="a table, or label_column to classify"
        )
    source = read_folder(path) if path.is_dir() else read(path)
    if column := nested_column(source.table, None):
        raise ToolError(
            "The table has a series in each row",
            saw=f"{path.name}, column {column!r}",
            try_next="one time step a row, or label_column to classify",
        )
    return source


def _cases(request: dict[str, Any]) -> Cases:
    """Labelled series: arrays, lists in a column, or a table with one time step a row."""
    path = Path(request["path"])
    if path.is_file() and kind_of(path) == ARRAYS:
        return from_npz(path)
    source = read_folder(path) if path.is_dir() else read(path)
    if column := nested_column(source.table, None):
        return from_table(source, column, request["id_column"], request["label_column"], None)
    series = load(source, _asked(request), whole=True)
    labels = source.table[series.roles.label].to_pylist()
    own = [{str(labels[r]) for r in series.rows[a:b]} for a, b in itertools.pairwise(series.start.tolist())]
    if mixed := [i for i, found in enumerate(own) if len(found) > 1]:
        raise ToolError(
            "A series has more than one label",
            saw=f"{series.ids[mixed[0]]}: {', '.join(sorted(own[mixed[0]])[:3])}",
            try_next="one label a series (labels per step are for augment_series)",
        )
    values = [series.of(i) for i in range(len(series.ids))]
    return Cases(series.ids, values, [found.pop() for found in own], np.ones(len(own), bool), "")


def _asked(request: dict[str, Any]) -> Asked:
    ids = request["id_column"]
    return Asked(
        ids=(ids,) if isinstance(ids, str) else tuple(ids) if ids else None,
        time=request["time_column"],
        targets=(request["target_column"],) if request["target_column"] else None,
        label=request["label_column"],
    )


def _cells(
    request: dict[str, Any], wishes: list[Wish], data: Panel, notes: list[str]
) -> tuple[list[Cell], list[dict[str, str]]]:
    """What is to be run, plain cells first, and what cannot be."""
    named = request["models"] or _default(data, notes)
    cells: list[Cell] = []
    not_run: list[dict[str, str]] = []
    for asked in named:
        model, checkpoint = _model(asked)
        if why := _missing(model, checkpoint):
            not_run.append({"model": model.name, "augmentation": "none", "why": why})
            continue
        cells.append(Cell(model, None, checkpoint))
    for cell in [c for c in cells if c.model.learns]:
        cells += [Cell(cell.model, w) for w in wishes]
    if wishes and not any(c.wished for c in cells):
        notes.append("None of these models learns from all series at once, so copies cannot help them")
    return cells, not_run


def _default(data: Panel, notes: list[str]) -> list[Any]:
    zeros = np.concatenate([line.y for line in data.lines]) == 0
    if zeros.mean() < _ZERO_SHARE:
        return list(DEFAULT)
    notes.append(
        f"{zeros.mean():.0%} of the values are zero: intermittent demand, so Croston and TSB are run too"
    )
    return [*DEFAULT, *INTERMITTENT]


def _model(asked: str | dict[str, Any]) -> tuple[Model, str | None]:
    given = {"name": asked} if isinstance(asked, str) else dict(asked)
    name, checkpoint = given.pop("name", None), given.pop("checkpoint", None)
    if name not in MENU or given:
        raise ToolError("No such model", saw=asked, try_next=f"one of {', '.join(MENU)}")
    return MENU[name], checkpoint


def _missing(model: Model, checkpoint: str | None) -> str | None:
    """Why a model cannot run here, and how it can."""
    absent = [m for m in model.needs if importlib.util.find_spec(m) is None]
    if absent:
        return f"{absent[0]} is not installed: pip install 'optimizing-resources[{model.extra}]'"
    if model.checkpoint and not checkpoint:
        asked = json.dumps({"name": model.name, "checkpoint": "FOLDER"})
        return f"no checkpoint here: give {asked}, the local folder of {model.checkpoint}"
    return None


def _estimates(cells: list[Cell], folds: list[Fold], horizon: int, season: int) -> dict[int, float]:
    costs = {c.model.name: time_cost(c, folds, horizon, season) for c in cells if not c.wished}
    return {id(c): costs[c.model.name].seconds(c, folds, season) for c in cells}


def _affordable(
    cells: list[Cell], estimates: dict[int, float], left: float
) -> tuple[list[Cell], list[dict[str, str]]]:
    """Cells in their order as long as time is left; the others with what they would take."""
    chosen, skipped = [], []
    for cell in cells:
        needed = estimates[id(cell)]
        if needed <= left:
            chosen.append(cell)
            left -= needed
        else:
            skipped.append(
                _skipped(cell, f"would take about {needed:.0f} s; {left:.0f} s of max_seconds are left")
            )
    return chosen, skipped


def _skipped(cell: Cell, why: str) -> dict[str, str]:
    return {"model": cell.model.name, "augmentation": cell.augmentation, "why": why}


def _label(cell: Cell) -> str:
    return cell.model.name + (f"+{cell.augmentation}" if cell.wished else "")


def _run(
    cells: list[Cell], folds: list[Fold], horizon: int, season: int, request: dict[str, Any], started: float,
    progress: Any, not_run: list[dict[str, str]],
) -> list[Outcome]:  # fmt: skip
    outcomes: list[Outcome] = []
    partial = Path(request["partial"])
    for number, cell in enumerate(cells):
        if outcomes and time.perf_counter() - started > request["max_seconds"]:
            not_run.append(_skipped(cell, "max_seconds had passed"))
            continue
        progress(number, len(cells), _label(cell))
        outcomes.append(run_cell(cell, folds, horizon, season, request["seed"], lambda: None))
        lines = 1 + max(i for f in folds for i in f.members)
        partial.write_text(json.dumps([summary(o, folds, lines) for o in outcomes]), encoding="utf-8")
    return outcomes


def _verdicts(outcomes: list[Outcome], folds: list[Fold], lines: int, seed: int) -> list[dict[str, Any]]:
    augmented = [o for o in outcomes if o.cell.wished]
    rows: list[dict[str, Any]] = []
    for plain in (o for o in outcomes if not o.cell.wished):
        of_model = [o for o in augmented if o.cell.model is plain.cell.model]
        rows += judge(plain, of_model, folds, lines, len(augmented), seed)
    return rows


def recommend(table: list[dict[str, Any]], verdicts: list[dict[str, Any]]) -> tuple[str, str]:
    """The cell with the least MASE; an augmentation counts only where its verdict is `helps`."""
    helped = {(v["model"], v["augmentation"]) for v in verdicts if v["verdict"] == "helps"}
    rows = [r for r in table if r["augmentation"] == "none" or (r["model"], r["augmentation"]) in helped]
    best = min(rows, key=lambda r: (r["mase"] is None, r["mase"] if r["mase"] is not None else r["smape"]))
    return best["model"], best["augmentation"]


def _recommended(
    winner: Outcome, table: list[dict[str, Any]], folds: list[Fold], horizon: int, season: int
) -> dict[str, Any]:
    from .models.forecast import Task

    row = next(
        r
        for r in table
        if (r["model"], r["augmentation"]) == (winner.cell.model.name, winner.cell.augmentation)
    )
    naive = next((r for r in table if r["model"] == "seasonal_naive"), None)
    settings = winner.cell.model.settings
    return {
        "model": row["model"],
        "augmentation": row["augmentation"],
        "mase": row["mase"],
        "mase_of_seasonal_naive": naive["mase"] if naive else None,
        "settings": settings(Task(folds[-1].train, horizon, season))
        if settings
        else {"season_length": season},
    }


def _final(winner: Outcome, data: Panel, horizon: int, season: int, seed: int) -> Forecast:
    return fit(
        winner.cell,
        [line.bridged for line in data.lines],
        [line.id for line in data.lines],
        horizon,
        season,
        seed,
    )


def _forecast_csv(winner: Outcome, forecast: Forecast, data: Panel, folds: list[Fold], horizon: int) -> str:
    """The forecast as CSV; its 80 % interval is the spread of the backtest's own errors, scaled to each series."""
    reach = _reach(winner, folds)
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\n")
    out.writerow(["unique_id", "ds", "mean", "lo-80", "hi-80"])
    for i, line in enumerate(data.lines):
        scale = _scale(line.bridged)
        for k, stamp in enumerate(data.grid.after(line.last, horizon)):
            mean = float(forecast.mean[i, k])
            out.writerow(
                [line.id, stamp, repr(mean), repr(mean - reach[k] * scale), repr(mean + reach[k] * scale)]
            )
    return text.getvalue()


def _picture(forecast: Forecast, data: Panel) -> str:
    """The first three histories, each with its forecast."""
    panels = []
    for i, line in enumerate(data.lines[:3]):
        shown = line.y[-_DRAWN_STEPS:]
        ahead: Curve = ("forecast", forecast.mean[i], len(shown))
        panels.append((line.id, [("history", shown, 0), ahead]))
    return chart(panels).decode("utf-8")


def _scale(y: Any) -> float:
    return float(np.abs(np.diff(y)).mean()) or 1.0


def _reach(winner: Outcome, folds: list[Fold]) -> Any:
    """For each step ahead, the size that 80 % of the backtest's errors kept to; few errors are taken together."""
    sizes = np.concatenate(
        [
            np.abs(e) / np.array([_scale(y) for y in f.train])[:, None]
            for e, f in zip(winner.errors, folds, strict=True)
        ]
    )
    reach = np.full(sizes.shape[1], np.nanquantile(sizes, _INTERVAL))
    counted = (~np.isnan(sizes)).sum(axis=0) >= _FEW_ERRORS
    reach[counted] = np.nanquantile(sizes[:, counted], _INTERVAL, axis=0)
    return reach.tolist()


def _failures(outcomes: list[Outcome], data: Panel) -> list[dict[str, str]]:
    rows = [{"series": s, "model": "all", "why": why} for s, why in data.left_out.items()]
    for outcome in outcomes:
        rows += [
            {"series": s, "model": _label(outcome.cell), "why": why} for s, why in outcome.failed.items()
        ]
    return rows[:_LISTED]
