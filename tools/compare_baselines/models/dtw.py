"""Dynamic time warping in a band, all channels warped alike; compiled by numba."""

from typing import Any

import numpy as np
from numba import njit

from ..._series.arrays.streams import Floats


def nearest(test: list[Floats], train: list[Floats], band: float) -> Any:
    """For each test series the number of the nearest training series."""
    return np.array([_nearest(x, train, max(1, int(band * len(x)))) for x in test])


def _nearest(x: Floats, train: list[Floats], band: int) -> int:
    best, at = np.inf, 0
    for k, other in enumerate(train):
        far = distance(x, other, max(band, abs(len(x) - len(other)) + 1), best)
        if far < best:
            best, at = far, k
    return at


@njit(nogil=True, cache=True)
def distance(a: Any, b: Any, band: int, limit: float) -> Any:
    """The warped squared distance of two series (time, channels); infinite once it must pass `limit`."""
    before = np.full(len(b) + 1, np.inf)
    before[0] = 0.0
    for i in range(len(a)):
        now = np.full(len(b) + 1, np.inf)
        least = np.inf
        for j in range(max(0, i - band), min(len(b), i + band + 1)):
            gap = 0.0
            for c in range(a.shape[1]):
                gap += (a[i, c] - b[j, c]) ** 2
            now[j + 1] = gap + min(before[j], before[j + 1], now[j])
            least = min(least, now[j + 1])
        if least > limit:
            return np.inf
        before = now
    return before[len(b)]
