"""Copies of single series without holes, for a fold of a backtest: equal lengths are worked off together."""

import numpy as np

from .apply import Donors, apply, fates, finish
from .arrays.streams import Floats
from .methods import Wish


def copies_of(
    train: list[Floats], ids: list[str], wished: Wish, copies: int, seed: int, season: int
) -> list[Floats]:
    """`copies` copies of each series that the method changes; the streams follow the ids, not the order."""
    made: list[Floats] = []
    lengths = np.array([len(y) for y in train])
    donors = Donors(ids, [y[:, None] for y in train])
    for length in np.unique(lengths):
        members = np.nonzero(lengths == length)[0]
        x = np.stack([train[i] for i in members])[:, :, None]
        names = [ids[i] for i in members]
        for copy in range(1, copies + 1):
            new = finish(apply(wished, x, names, copy, seed=seed, season=season, donors=donors), wished)
            fate = fates(x, new, wished, season)
            made += [y[:, 0] for y, why in zip(new, fate, strict=True) if not why]
    return made
