"""The backtest: every cell (a model, with or without an augmentation) over every fold, within the time there is."""

import threading
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import psutil

from .._series.arrays.streams import Floats
from .._series.lines import copies_of
from .._series.methods import Wish
from .folds import Fold
from .metrics import NAMES, score
from .models.forecast import Forecast, Model, Task

COPIES = 3  # a series, in the cells with augmentation
DRAWS = 4  # of the copies at each asked origin: the luck of one draw is no verdict
FEWER_DRAWS = 2  # at further origins, whose number does what draws would


@dataclass(frozen=True)
class Cell:
    """One line of the table."""

    model: Model
    wished: Wish | None = None
    checkpoint: str | None = None
    is_judged: bool = False

    @property
    def augmentation(self) -> str:
        """Its name in the table."""
        return self.wished.name if self.wished else "none"

    @property
    def label(self) -> str:
        """Its name in a list."""
        return self.model.name + (f"+{self.augmentation}" if self.wished else "")

    @property
    def is_drawn(self) -> bool:
        """Whether its fits differ by chance and a verdict hangs on them."""
        return bool(self.wished or self.model.without) or (self.is_judged and not self.model.is_steady)

    @property
    def against(self) -> str:
        """The plain model that it is judged against; "" for none."""
        return self.model.name if self.wished else self.model.without

    def draws(self, at_most: int = DRAWS) -> int:
        """How often it is fitted at an origin, with other seeds and other copies."""
        return at_most if self.is_drawn else 1


@dataclass
class Outcome:
    """What a cell gave: per fold and draw the measures of each member, residuals of each fold, cost, failures."""

    cell: Cell
    scores: list[list[dict[str, Floats]]] = field(default_factory=list)
    errors: list[Floats] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    peak_rss_bytes: int = 0

    def by_line(self, folds: list[Fold], lines: int, measure: str) -> Floats:
        """A measure, (draw, fold, line); NaN where a line sat a fold out or has no scale."""
        table = np.full((self.cell.draws(), len(folds), lines), np.nan)
        for k, fold in enumerate(folds):
            for draw, found in enumerate(self.scores[k]):
                table[draw, k, fold.members] = found[measure]
        return table


def run_cell(cell: Cell, folds: list[Fold], horizon: int, season: int, seed: int) -> Outcome:
    """The cell over all folds."""
    outcome = Outcome(cell)
    started = time.perf_counter()
    with peak_memory(outcome):
        for fold in folds:
            run_fold(outcome, fold, horizon, season, seed)
    outcome.seconds = time.perf_counter() - started
    return outcome


def run_fold(outcome: Outcome, fold: Fold, horizon: int, season: int, seed: int, draws: int = DRAWS) -> None:
    """One fold more; each fold has draws of its own, so that their luck is independent."""
    found, cell = [], outcome.cell
    for draw in range(cell.draws(draws)):
        own = seed + draw + DRAWS * fold.back if cell.is_drawn else seed
        forecast = fit(cell, fold.train, fold.ids, horizon, season, own)
        found.append(score(fold, forecast, season))
    outcome.scores.append(found)
    outcome.errors.append(fold.test - forecast.mean)
    outcome.failed.update({fold.ids[i]: why for i, why in forecast.failed.items()})


def fit(cell: Cell, train: list[Floats], ids: list[str], horizon: int, season: int, seed: int) -> Forecast:
    """One forecast of a cell; copies are made of these histories and nothing else."""
    extra = copies_of(train, ids, cell.wished, COPIES, seed, season) if cell.wished else []
    return cell.model.run(Task(train, horizon, season, seed, extra, cell.checkpoint))


class peak_memory:
    """Samples the resident memory of this process while the block runs."""

    def __init__(self, outcome: Outcome) -> None:
        self._outcome, self._done, self._process = outcome, threading.Event(), psutil.Process()

    def __enter__(self) -> None:
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def __exit__(self, *_: Any) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            seen = self._process.memory_info().rss
            self._outcome.peak_rss_bytes = max(self._outcome.peak_rss_bytes, seen)
            if self._done.wait(0.05):
                return


def summary(outcome: Outcome, folds: list[Fold], lines: int) -> dict[str, Any]:
    """The line of the table: each measure as mean over folds, then over series."""
    row: dict[str, Any] = {"model": outcome.cell.model.name, "augmentation": outcome.cell.augmentation}
    for measure in NAMES:
        values = per_line(outcome.by_line(folds, lines, measure))
        kept = values[~np.isnan(values)]
        row[measure] = round(float(kept.mean()), 6) if len(kept) else None
        if measure == "mase":
            row["series_without_mase"] = int(lines - len(kept))
    row.update(seconds=round(outcome.seconds, 3), peak_rss_bytes=outcome.peak_rss_bytes, basis="measured")
    row["fell_back"] = len(outcome.failed)
    return row


def per_line(values: Floats) -> Floats:
    """Means over draws, then over folds, leaving out what is missing."""
    return mean_over_first(mean_over_first(values))


def mean_over_first(values: Floats) -> Floats:
    """The mean over the first axis; NaN where all is missing."""
    seen = ~np.isnan(values)
    count = seen.sum(axis=0)
    total = np.where(seen, values, 0.0).sum(axis=0)
    return np.asarray(np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0))
