"""Classifiers over folds and draws, copies of training series only; each first fit tells what the rest will take."""

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .._series.arrays.streams import Floats
from .._series.case_copies import copies_of_cases
from .._series.intake.cases import Cases
from .._series.methods import Wish
from .backtest import COPIES
from .models.classifiers import CLASSIFIERS

DRAWS = 3  # seeds a cell: networks and copies differ from draw to draw


@dataclass(frozen=True)
class Labelled:
    """Series without holes with their labels, and the test rows of each fold."""

    ids: list[str]
    values: list[Floats]
    labels: Any
    folds: list[Any]
    seed: int

    @property
    def tested(self) -> Any:
        """All rows that are in some fold."""
        return np.concatenate(self.folds)


@dataclass
class ClassCell:
    """One line of the table: `found` holds the predicted labels, (draw, series)."""

    name: str
    wished: Wish | None
    found: Any = None
    seconds: float = 0.0
    done: set[tuple[int, int]] = field(default_factory=set)

    @property
    def key(self) -> tuple[str, str]:
        """Classifier and augmentation, as in the table."""
        return self.name, self.wished.name if self.wished else "none"

    @property
    def draws(self) -> int:
        """How many fits a fold; what has nothing random is fitted once."""
        return DRAWS if self.wished or self.name == "fcn" else 1

    def fit(self, data: Labelled, fold: int, draw: int) -> None:
        """Predictions for the test rows of a fold, from the others and their copies."""
        began = time.perf_counter()
        if self.found is None:
            self.found = np.full((DRAWS, len(data.labels)), "", dtype=object)
        rows, seed = data.folds[fold], data.seed + draw
        train = np.setdiff1d(np.arange(len(data.labels)), rows)
        known, learned = [data.values[i] for i in train], data.labels[train]
        if self.wished:
            part = Cases([data.ids[i] for i in train], known, None, np.ones(len(train), bool), "x")
            made, _ = copies_of_cases(part, [self.wished], COPIES, seed)
            known = known + [v for *_, v in made]
            learned = np.concatenate([learned, learned[[c[0] for c in made]]]) if made else learned
        test = [data.values[i] for i in rows]
        self.found[draw, rows] = CLASSIFIERS[self.name][0](known, learned, test, seed)
        self.done.add((fold, draw))
        self.seconds += time.perf_counter() - began

    def finish(self, data: Labelled) -> None:
        """All fits that are not done yet."""
        for fold in range(len(data.folds)):
            for draw in range(self.draws):
                if (fold, draw) not in self.done:
                    self.fit(data, fold, draw)
        self.found[self.draws :] = self.found[0]


def warm_up(cells: list[ClassCell], data: Labelled) -> None:
    """A fit of each classifier on a few series: the first one loads libraries and compiles."""
    few = np.concatenate([np.nonzero(data.labels == kind)[0][:2] for kind in np.unique(data.labels)])
    values = [data.values[i] for i in few]
    for name in dict.fromkeys(c.name for c in cells):
        CLASSIFIERS[name][0](values, data.labels[few], values, 0)


def time_first(cells: list[ClassCell], data: Labelled, until: float) -> float:
    """Seconds that all cells are expected to take, from the first fit of each, which is kept."""
    expected = 0.0
    for cell in cells:
        if expected and time.perf_counter() > until:
            break
        cell.fit(data, 0, 0)
        expected += cell.seconds * cell.draws * len(data.folds)
    return expected
