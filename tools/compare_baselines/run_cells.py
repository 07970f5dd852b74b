"""Cells run one after the other within the time; then more origins for those whose difference is to be judged."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .backtest import FEWER_DRAWS, Cell, Outcome, run_cell, run_fold, summary
from .cells import affordable, skipped
from .estimate import time_cost
from .folds import Fold

Progress = Callable[[int, int, str], None]

_NOTHING_SECONDS = 1.0  # a cell that is run whatever else is


@dataclass(frozen=True)
class Bounds:
    """What all cells of a comparison share; `until` is the clock's reading when the time is up."""

    horizon: int
    season: int
    seed: int
    until: float

    @property
    def left(self) -> float:
        """Seconds."""
        return self.until - time.perf_counter()


def choose(
    cells: list[Cell], folds: list[Fold], extra: list[Fold], bounds: Bounds, seconds: float
) -> tuple[list[Cell], float, list[dict[str, str]]]:
    """The cells that fit, the seconds they and the extra origins are expected to take, and the other cells."""
    costs = {c.model.name: time_cost(c, folds, bounds.horizon, bounds.season) for c in cells if not c.wished}
    needed = {id(c): costs[c.model.name].seconds(c, folds, bounds.season) for c in cells}
    left = max(bounds.left, seconds / 2)  # however long the timing itself took
    # what copies change was asked: before a slow bystander
    first = sorted(cells, key=lambda c: needed[id(c)] > _NOTHING_SECONDS and not is_judged(c, cells))
    chosen, too_long = affordable(first, needed, left)
    chosen = [c for c in cells if c in chosen]
    expected = sum(needed[id(c)] for c in chosen)
    more = sum(
        needed[id(c)] * len(extra) / len(folds) * c.draws(FEWER_DRAWS) / c.draws()
        for c in chosen
        if is_judged(c, chosen)
    )
    return chosen, min(expected + more, max(left, expected)), too_long


def is_judged(cell: Cell, cells: list[Cell]) -> bool:
    """Whether the cell is one side of a verdict."""
    return any(cell in (c, plain_of(c, cells)) for c in cells if plain_of(c, cells))


def plain_of(cell: Cell, cells: list[Cell]) -> Cell | None:
    """The cell against which this one is judged, where it is among these."""
    return next((c for c in cells if not c.wished and c.model.name == cell.against), None)


def run_all(
    cells: list[Cell], folds: list[Fold], bounds: Bounds, progress: Progress, partial: Path
) -> tuple[list[Outcome], list[dict[str, str]]]:
    """The outcomes, and what the time did not reach; `partial` keeps the table so far for whoever stops us."""
    outcomes: list[Outcome] = []
    not_run = []
    lines = 1 + max(i for f in folds for i in f.members)
    for number, cell in enumerate(cells):
        if outcomes and bounds.left < 0:
            not_run.append(skipped(cell, "max_seconds had passed"))
            continue
        progress(number, len(cells), cell.label)
        outcomes.append(run_cell(cell, folds, bounds.horizon, bounds.season, bounds.seed))
        partial.write_text(json.dumps([summary(o, folds, lines) for o in outcomes]), encoding="utf-8")
    return outcomes, not_run


def add_origins(outcomes: list[Outcome], extra: list[Fold], bounds: Bounds, progress: Progress) -> list[Fold]:
    """Further origins for every cell that is judged, one origin at a time for all; those that the time allowed.

    How many is settled by the clock and never by how the comparison stands, which would make chance look like help.
    """
    judged = [o for o in outcomes if is_judged(o.cell, [p.cell for p in outcomes])]
    done: list[Fold] = []
    took = 0.0
    for fold in extra if judged else []:
        started = time.perf_counter()
        if bounds.left < took:
            break
        progress(len(done), len(extra), f"origin {len(done) + 1} of {len(extra)} more for the verdicts")
        for outcome in judged:
            run_fold(outcome, fold, bounds.horizon, bounds.season, bounds.seed, FEWER_DRAWS)
        done.append(fold)
        took = time.perf_counter() - started
    return done


def label_all(cells: list[Cell]) -> str:
    """The cells in one line."""
    return ", ".join(c.label for c in cells)


def rows_of(outcomes: list[Outcome], folds: list[Fold], lines: int) -> list[dict[str, Any]]:
    """The table, best first."""
    table = [summary(o, folds, lines) for o in outcomes]
    return sorted(table, key=lambda r: (r["mase"] is None, r["mase"]))
