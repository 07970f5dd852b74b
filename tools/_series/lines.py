"""Copies of single series without holes, for a fold of a backtest: equal lengths are worked off together."""

import inspect

import numpy as np

from .arrays.streams import Floats
from .methods import Wish


def copies_of(train: list[Floats], ids: list[str], wished: Wish, copies: int, seed: int, season: int) -> list[Floats]:
    """`copies` copies of each series that the method changes; the streams follow the ids, not the order."""
    made: list[Floats] = []
    known = inspect.signature(wished.method.function).parameters
    parameters = {**wished.parameters, **({"season": season} if "season" in known else {})}
    lengths = np.array([len(y) for y in train])
    for length in np.unique(lengths):
        members = np.nonzero(lengths == length)[0]
        if length < wished.method.least(season):
            continue
        x = np.stack([train[i] for i in members])
        if wished.method.donors:
            long = [i for i in range(len(train)) if lengths[i] >= length]
            parameters["donors"] = np.stack([train[i][len(train[i]) - length :] for i in long])
            parameters["donor_ids"] = [ids[i] for i in long]
        for copy in range(1, copies + 1):
            names = [ids[i] for i in members]
            new = wished.method.function(x, seed=seed, ids=names, copy=copy, **parameters)
            new = np.rint(new) if wished.round else new
            new = new if wished.minimum is None else np.maximum(new, wished.minimum)
            made += [y for y, old in zip(new, x, strict=True) if np.isfinite(y).all() and not np.array_equal(y, old)]
    return made
