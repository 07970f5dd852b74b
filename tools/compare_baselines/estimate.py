"""How long a cell will take, from timing it on a part of one fold; a model that learns is timed on all of it."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from .._series.lines import copies_of
from .._series.methods import Wish
from .backtest import COPIES, Cell
from .folds import Fold
from .models.forecast import Task

_FEW = 4
_LOCAL_SERIES = 24  # of which a model that fits each series alone is timed on
_LONG_SECONDS = 1.0


@dataclass(frozen=True)
class Cost:
    """Seconds of one fit: a fixed part and a part for each series."""

    fixed: float
    each: float

    def seconds(self, cell: Cell, folds: list[Fold], season: int) -> float:
        """All folds of a cell; copies are more series to learn from, and are drawn several times."""
        series = sum(len(f.train) for f in folds)
        if not cell.wished:
            return cell.draws() * (len(folds) * self.fixed + self.each * series)
        making = _seconds_of_copies(cell.wished, folds[-1], season)
        return cell.draws() * (len(folds) * self.fixed + (self.each * (1 + COPIES) + making) * series)


def _seconds_of_copies(wished: Wish, fold: Fold, season: int) -> float:
    """What the copies of one series take; the first call only loads libraries and compiles."""
    few = min(_FEW, len(fold.train))
    work = [
        partial(copies_of, fold.train[a : a + few], fold.ids[a : a + few], wished, COPIES, 0, season)
        for a in (0, len(fold.train) - few)
    ]
    _timed(work[0])
    return _timed(work[-1]) / few


def time_cost(cell: Cell, folds: list[Fold], horizon: int, season: int) -> Cost:
    """The cost of a model, from a straight line through two runs, after one to warm up."""
    fold = folds[-1]
    task = Task(fold.train, horizon, season, checkpoint=cell.checkpoint)
    count = len(fold.train)
    small, large = (
        (-(-count // 4), count) if cell.model.learns else (min(_FEW, count), min(_LOCAL_SERIES, count))
    )
    _timed(lambda: cell.model.run(task.part(2)))
    first = _timed(lambda: cell.model.run(task.part(small)))
    if small == large or first > _LONG_SECONDS:
        return Cost(first, 0.0) if small == large and cell.model.learns else Cost(0.0, first / small)
    second = _timed(lambda: cell.model.run(task.part(large)))
    each = max(0.0, (second - first) / (large - small))
    return Cost(max(0.0, first - each * small), each)


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
