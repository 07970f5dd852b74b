"""Rolling origins: for each fold, what each series may be fitted on and what it is scored on."""

import itertools
from dataclasses import dataclass

import numpy as np

from .._series.arrays.streams import Floats
from .panel import MIN_POINTS, Line

MOST_ORIGINS = 12  # for a verdict
_TYPICAL = 0.1  # the quantile of lengths for which every fold keeps enough history


@dataclass(frozen=True)
class Fold:
    """`members` index the lines of the panel; `train` is `seen` with its holes bridged, test may have holes.

    `back` is how many steps before the end of each series its test part begins.
    """

    back: int
    members: list[int]
    ids: list[str]
    train: list[Floats]
    seen: list[Floats]
    test: Floats  # (series, horizon)


def roll(lines: list[Line], horizon: int, season: int, folds: int) -> list[Fold]:
    """The folds, earliest origin first; a series too short for an origin sits that one out."""
    return _at(lines, horizon, _asked(lines, horizon, season, folds))


def roll_more(lines: list[Line], horizon: int, season: int, folds: int) -> list[Fold]:
    """Origins beside those of `roll`, up to MOST_ORIGINS in all: a verdict on three is a verdict on their weather.

    They are spread over the steps that leave enough to learn from, in an order in which any beginning of the list is
    spread too.
    """
    asked = _asked(lines, horizon, season, folds)
    room = min(_room(lines, horizon, season), (MOST_ORIGINS - 1) * horizon)
    even = (
        {horizon + round(k * room / (MOST_ORIGINS - 1)) for k in range(MOST_ORIGINS)} if room > 0 else set()
    )
    left = sorted(even - set(asked))
    left = left[1::2] + left[0::2]
    return _at(lines, horizon, left[: max(0, MOST_ORIGINS - len(asked))])


def _asked(lines: list[Line], horizon: int, season: int, folds: int) -> list[int]:
    """Steps back of each origin: a horizon apart where histories allow it, less where they are short.

    The first keeps two thirds of what the last has to learn from: with half the history a model is another one.
    """
    third = (_length(lines) - horizon) // 3
    room = _room(lines, horizon, season)
    room = min(room, third) if room > 0 else third  # no origin has the seasons that are wished for
    step = horizon if folds < 2 else max(1, min(horizon, room // (folds - 1)))
    return [horizon + (folds - 1 - number) * step for number in range(folds)]


def _room(lines: list[Line], horizon: int, season: int) -> int:
    """How far the first origin may lie before the last one: two seasons stay, and a season with its horizon.

    Where not even the last origin has as much, one season stays.
    """
    last = _length(lines) - horizon
    wanted = max(2 * season, season + horizon)
    return last - (wanted if last > wanted else season) - 1


def short_of_seasons(lines: list[Line], folds: list[Fold], horizon: int, season: int) -> list[str]:
    """What a reader must know where histories are short: of the season, and of origins that overlap."""
    told = []
    backs = sorted({fold.back for fold in folds})
    apart = min((after - before for before, after in itertools.pairwise(backs)), default=horizon)
    if apart < horizon:
        told.append(f"Origins lie {apart} of the horizon's {horizon} steps apart: their errors overlap")
    if season > 1 and _length(lines) - horizon < 2 * season:
        told.append(
            f"Histories hold less than two seasons of {season} steps: what repeats cannot be told from what happened"
            " once"
        )
    return told


def _length(lines: list[Line]) -> int:
    """That all but the shortest series have."""
    return int(np.quantile([len(line.y) for line in lines], _TYPICAL))


def _at(lines: list[Line], horizon: int, backs: list[int]) -> list[Fold]:
    made = []
    for back in backs:
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
        made.append(Fold(back, members, [lines[i].id for i in members], train, seen, test))
    return made


def _is_scored(y: Floats, back: int, horizon: int) -> bool:
    cut = len(y) - back
    return bool((~np.isnan(y[:cut])).any() and (~np.isnan(y[cut : cut + horizon])).any())


def _history(line: Line, cut: int) -> Floats:
    """The training part, bridged from its own values only: a hole at its end takes the last value before."""
    return Line(line.id, line.y[:cut], None).bridged
