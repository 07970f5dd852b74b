"""Rolling origins: for each fold, what each series may be fitted on and what it is scored on."""

from dataclasses import dataclass

import numpy as np

from .._series.arrays.streams import Floats
from .panel import MIN_POINTS, Line

_TYPICAL = 0.1  # the quantile of lengths for which every fold keeps enough history


@dataclass(frozen=True)
class Fold:
    """`members` index the lines of the panel; `train` is `seen` with its holes bridged, test may have holes."""

    number: int
    members: list[int]
    ids: list[str]
    train: list[Floats]
    seen: list[Floats]
    test: Floats  # (series, horizon)


def step_between(lengths: list[int], horizon: int, season: int, folds: int) -> int:
    """Steps between origins: the horizon where histories allow it, less where they are short."""
    if folds < 2:
        return horizon
    short = int(np.quantile(lengths, _TYPICAL))
    room = short - horizon - (2 * season + horizon)
    return max(1, min(horizon, room // (folds - 1)))


def roll(lines: list[Line], horizon: int, season: int, folds: int) -> list[Fold]:
    """The folds, earliest origin first; a series too short for an origin sits that one out."""
    step = step_between([len(line.y) for line in lines], horizon, season, folds)
    made = []
    for number in range(folds):
        back = horizon + (folds - 1 - number) * step
        members = [
            i
            for i, line in enumerate(lines)
            if len(line.y) - back >= MIN_POINTS and _is_scored(line.y, back, horizon)
        ]
        if not members:
            continue
        train = [_history(lines[i], len(lines[i].y) - back) for i in members]
        test = np.array([lines[i].y[len(lines[i].y) - back :][:horizon] for i in members])
        seen = [lines[i].y[: len(lines[i].y) - back] for i in members]
        made.append(Fold(number, members, [lines[i].id for i in members], train, seen, test))
    return made


def _is_scored(y: Floats, back: int, horizon: int) -> bool:
    cut = len(y) - back
    return bool((~np.isnan(y[:cut])).any() and (~np.isnan(y[cut : cut + horizon])).any())


def _history(line: Line, cut: int) -> Floats:
    """The training part, bridged from its own values only: a hole at its end takes the last value before."""
    return Line(line.id, line.y[:cut], None).bridged
