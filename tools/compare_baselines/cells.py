"""Which cells (a model, with or without an augmentation) are to be run, and which cannot be and why."""

import importlib.util
import json
from dataclasses import replace
from typing import Any

import numpy as np

from .._core.errors import ToolError
from .._series.methods import Wish
from .backtest import Cell
from .models.forecast import Model
from .models.menu import DEFAULT, INTERMITTENT, MENU
from .panel import Panel

CHEAP_SECONDS = 60.0
_ZERO_SHARE = 0.4  # of values, for a panel to count as intermittent demand


def choose_cells(
    models: list[Any], wishes: list[Wish], data: Panel, notes: list[str]
) -> tuple[list[Cell], list[dict[str, str]]]:
    """What is to be run, plain cells first, and what cannot be."""
    cells: list[Cell] = []
    not_run: list[dict[str, str]] = []
    for asked in models or _default(data, notes):
        model, checkpoint = _model(asked)
        cell = Cell(model, None, checkpoint)
        if why := _missing(model, checkpoint):
            not_run.append(skipped(cell, why))
        else:
            cells.append(replace(cell, is_judged=bool(wishes) and model.learns))
    if not cells:
        raise ToolError(
            "None of the models can run here",
            saw=f"{not_run[0]['model']}: {not_run[0]['why']}",
            try_next="models that need nothing more, such as auto_theta",
        )
    for cell in [c for c in cells if c.model.learns]:
        cells += [Cell(cell.model, w) for w in wishes]
    if wishes and not any(c.wished for c in cells):
        notes.append("None of these models learns from all series at once, so copies cannot help them")
    return cells, not_run


def affordable(
    cells: list[Cell], estimates: dict[int, float], left: float
) -> tuple[list[Cell], list[dict[str, str]]]:
    """Cells in their order as long as time is left; the others with what they would take.

    The cheapest is run in any case if it is cheap at all: a tight budget is no reason for no answer.
    """
    cheapest = min(estimates.values())
    left = max(left, cheapest) if cheapest < CHEAP_SECONDS else left
    chosen, too_long = [], []
    for cell in cells:
        needed = estimates[id(cell)]
        if needed <= left:
            chosen.append(cell)
            left -= needed
        else:
            why = f"would take about {needed:.0f} s; {left:.0f} s of max_seconds are left"
            too_long.append(skipped(cell, why))
    return chosen, too_long


def skipped(cell: Cell, why: str) -> dict[str, str]:
    """A line of `not_run`."""
    return {"model": cell.model.name, "augmentation": cell.augmentation, "why": why}


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
