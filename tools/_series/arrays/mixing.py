"""Transforms that mix a series with others, its donors (by default, the rest of the array): mixup, dtw_barycenter."""

from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from .blocks import as_series, transform
from .streams import Floats, Keys, keys_of, uniforms

_TINY = 1e-300
_MOST_BAND = 50


@dataclass(frozen=True)
class Pool:
    """Donors in an order that depends on their ids only, so that the order of a file changes no copy."""

    values: Floats
    own: Any  # key of each donor

    def pick(self, keys: Keys, count: int, first: int = 0) -> Any:
        """`count` donors for each stream, (series, count); drawn again once where two agree is left to chance."""
        return np.floor(uniforms(keys, count, first) * len(self.values)).astype(np.int64)


def pool_of(x: Any, donors: Any, donor_ids: Sequence[object] | None, ids: Sequence[object] | None) -> Pool:
    """The donors, else the array itself, sorted by the hash of their ids."""
    values = as_series(x if donors is None else donors)
    own = keys_of(0, "donor", 0, len(values), ids if donors is None else donor_ids)
    order = np.argsort(own, kind="stable")
    return Pool(values[order], own[order])


def mixup(
    x: Any,
    *,
    seed: int,
    others: int = 2,
    alpha: float = 1.5,
    donors: Any = None,
    donor_ids: Any = None,
    **run: Any,
) -> Any:
    """A convex combination of a series with `others` donors brought to its size (TSMixup, Ansari et al. 2024).

    The weights are Dirichlet with parameter `alpha`; series are divided by their mean absolute value, mixed, and the
    result gets the size of the first.
    """
    pool = pool_of(x, donors, donor_ids, run.get("ids"))

    def work(code: ModuleType, x: Any, keys: Keys, out: Any) -> None:
        weights = dirichlet(keys, others + 1, alpha)
        partners = pool.pick(keys, others)
        size = _size(x)
        mixed = weights[:, :1, None] * x
        for k in range(others):
            donor = pool.values[partners[:, k]]
            mixed = mixed + weights[:, k + 1, None, None] * (donor / _size(donor) * size)
        out[:] = mixed

    return transform(x, "mixup", work, seed=seed, **run)


def dtw_barycenter(
    x: Any,
    *,
    seed: int,
    others: int = 2,
    alpha: float = 1.5,
    donors: Any = None,
    donor_ids: Any = None,
    **run: Any,
) -> Any:
    """As mixup, but each donor is first warped onto the series: one step of a weighted DTW barycentre (Forestier 2017).

    The warp moves no step by more than a tenth of the length, and by 50 steps at most. Holes are refused.
    """
    pool = pool_of(x, donors, donor_ids, run.get("ids"))
    if np.isnan(as_series(x)).any() or np.isnan(pool.values).any():
        raise ValueError("dtw_barycenter needs series without holes: bridge them first")

    def work(code: ModuleType, x: Any, keys: Keys, out: Any) -> None:
        weights = dirichlet(keys, others + 1, alpha)
        partners = pool.pick(keys, others)
        size = _size(x)
        mixed = weights[:, :1, None] * x
        band = max(1, min(x.shape[1] // 10, _MOST_BAND))
        warped = np.empty(x.shape[1:])
        for i in range(len(x)):
            for k in range(others):
                donor = pool.values[partners[i, k]]
                donor = donor / _size(donor[None])[0] * size[i]
                code.align(np.asarray(x[i], np.float64), np.asarray(donor, np.float64), band, warped)
                mixed[i] += weights[i, k + 1] * warped
        out[:] = mixed

    return transform(x, "dtw_barycenter", work, seed=seed, **run)


def _size(x: Floats) -> Floats:
    return np.asarray(np.maximum(np.abs(x).mean(axis=1, keepdims=True), _TINY))


def dirichlet(keys: Keys, count: int, alpha: float) -> Floats:
    """Weights that add to 1: normalised gamma draws, each by inverting the distribution function at a uniform."""
    from scipy.special import gammaincinv  # 0.1 s

    draws = np.maximum(gammaincinv(alpha, uniforms(keys, count, first=64)), _TINY)
    return np.asarray(draws / draws.sum(axis=1, keepdims=True))
