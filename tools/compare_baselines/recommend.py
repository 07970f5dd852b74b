"""The recommended cell, its forecast with intervals, and the picture."""

import csv
import io
from typing import Any

import numpy as np

from .._series.picture import Curve, chart
from .backtest import Outcome, fit
from .folds import Fold
from .models.forecast import Forecast, Task
from .panel import Panel

_INTERVAL = 0.8
_FEW_ERRORS = 30
_DRAWN_STEPS = 200


def recommend(table: list[dict[str, Any]], verdicts: list[dict[str, Any]]) -> tuple[str, str]:
    """The cell with the least MASE; copies and pre-training count only where their help lasts, and by that."""
    plain = {r["model"]: _size(r) for r in table if r["augmentation"] == "none"}
    sizes = {(model, "none"): size for model, size in plain.items()}
    for v in sorted(
        verdicts, key=lambda v: str(v["augmentation"]) != "none"
    ):  # pre-training before its copies
        sizes.pop((v["model"], v["augmentation"]), None)
        base = sizes.get((v["against"], "none"))
        if base is not None and v["elsewhere"]["verdict"] == "helps":
            sizes[v["model"], v["augmentation"]] = base * (1.0 + v["elsewhere"]["difference"] / 100.0)
    return min(sizes, key=lambda cell: sizes[cell])


def _size(row: dict[str, Any]) -> float:
    """MASE, or, where no series has one, something larger that still orders the models."""
    return float(row["mase"]) if row["mase"] is not None else 1e12 + float(row["smape"] or 0.0)


def describe(
    winner: Outcome, table: list[dict[str, Any]], folds: list[Fold], horizon: int, season: int
) -> dict[str, Any]:
    """What the Report says of the recommended cell."""
    cell = winner.cell
    row = next(r for r in table if (r["model"], r["augmentation"]) == (cell.model.name, cell.augmentation))
    naive = next((r for r in table if r["model"] == "seasonal_naive"), None)
    settings = cell.model.settings
    return {
        "model": row["model"],
        "augmentation": row["augmentation"],
        "mase": row["mase"],
        "mase_of_seasonal_naive": naive["mase"] if naive else None,
        "settings": settings(Task(folds[-1].train, horizon, season))
        if settings
        else {"season_length": season},
    }


def final_forecast(winner: Outcome, data: Panel, horizon: int, season: int, seed: int) -> Forecast:
    """The recommended cell fitted on all that is known."""
    train, ids = [line.bridged for line in data.lines], [line.id for line in data.lines]
    return fit(winner.cell, train, ids, horizon, season, seed)


def forecast_csv(winner: Outcome, forecast: Forecast, data: Panel, folds: list[Fold], horizon: int) -> str:
    """The forecast as CSV; its 80 % interval is the spread of the backtest's own errors, scaled to each series."""
    reach = _reach(winner, folds)
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\n")
    out.writerow(["unique_id", "ds", "mean", "lo-80", "hi-80"])
    for i, line in enumerate(data.lines):
        scale = _scale(line.bridged)
        for k, stamp in enumerate(data.grid.after(line.last, horizon)):
            mean = float(forecast.mean[i, k])
            ends = (mean - reach[k] * scale, mean + reach[k] * scale)
            out.writerow([line.id, stamp, repr(mean), *map(repr, ends)])
    return text.getvalue()


def picture(forecast: Forecast, data: Panel) -> str:
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
            for e, f in zip(winner.errors, folds, strict=False)  # errors of further origins come after
        ]
    )
    reach = np.full(sizes.shape[1], np.nanquantile(sizes, _INTERVAL))
    counted = (~np.isnan(sizes)).sum(axis=0) >= _FEW_ERRORS
    reach[counted] = np.nanquantile(sizes[:, counted], _INTERVAL, axis=0)
    return reach.tolist()
