"""How long a cell will take, from running it on a few and on a few more series of one fold."""

import time

from .backtest import COPIES, Cell
from .folds import Fold
from .models.forecast import Task

_FEW, _MORE = 4, 16
_LONG_SECONDS = 1.0


def estimate_seconds(cell: Cell, folds: list[Fold], horizon: int, season: int) -> float:
    """Seconds for all folds without copies: a straight line through two small runs, after one to warm up."""
    fold = folds[-1]
    task = Task(fold.train, horizon, season, checkpoint=cell.checkpoint)
    _time(cell, task.part(2))
    few, more = min(_FEW, len(fold.train)), min(_MORE, len(fold.train))
    first = _time(cell, task.part(few))
    if few == more or first > _LONG_SECONDS:
        return len(folds) * first * max(1.0, len(fold.train) / few)
    second = _time(cell, task.part(more))
    each = max(0.0, (second - first) / (more - few))
    return len(folds) * (first + each * (len(fold.train) - few))


def augmented_seconds(plain: float, cell: Cell) -> float:
    """With copies: as many more series to learn from, drawn several times."""
    return plain * (1 + COPIES) * cell.draws


def _time(cell: Cell, task: Task) -> float:
    started = time.perf_counter()
    cell.model.run(task)
    return time.perf_counter() - started
