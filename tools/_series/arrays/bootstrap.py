"""Transforms of a decomposed series: moving_block_bootstrap and recombination.

A series is trend + season + remainder: STL (Cleveland et al. 1990, by statsmodels) where it spans two seasons, else a
moving average. Positive series are decomposed after a Box-Cox transform by Guerrero's rule, which is undone at the end.
"""

import warnings
from functools import lru_cache
from types import ModuleType
from typing import Any

import numpy as np

from .blocks import transform
from .mixing import pool_of
from .streams import Floats, Keys, uniforms

_LAMBDAS = np.linspace(0.0, 1.0, 11)
_TREND_SHARE = 8  # without a season, the trend is an average over this fraction of the series


def moving_block_bootstrap(x: Any, *, seed: int, season: int = 1, block: int = 0, **run: Any) -> Any:
    """Trend and season kept, the remainder put together anew from random blocks (Bergmeir et al. 2016).

    `block` defaults to two seasons, or to 8 steps, and never exceeds a third of the series.
    """

    def work(code: ModuleType, x: Any, keys: Keys, out: Any) -> None:
        steps = x.shape[1]
        wide = min(block or max(2 * season, 8), max(steps // 3, 1))
        count = -(-steps // wide) + 1
        starts = np.floor(
            uniforms(keys, count + 1) * np.append(np.full(count, steps - wide + 1.0), wide)
        ).astype(int)
        at = (starts[:, :count, None] + np.arange(wide)).reshape(len(x), -1)
        at = np.take_along_axis(
            at, starts[:, -1:] + np.arange(steps)[None, :], axis=1
        )  # starts inside a block
        for i in range(len(x)):
            for c in range(x.shape[2]):
                power, smooth, rest = _decomposed(np.asarray(x[i, :, c], np.float64).tobytes(), season)
                out[i, :, c] = undo_box_cox(smooth + rest[at[i]], power)

    return transform(x, "moving_block_bootstrap", work, seed=seed, **run)


def recombination(
    x: Any, *, seed: int, season: int = 1, donors: Any = None, donor_ids: Any = None, **run: Any
) -> Any:
    """The trend and remainder of a series with the season of another, at the size of its own."""
    pool = pool_of(x, donors, donor_ids, run.get("ids"))

    def work(code: ModuleType, x: Any, keys: Keys, out: Any) -> None:
        partners = pool.pick(keys, 1)[:, 0]
        for i in range(len(x)):
            for c in range(x.shape[2]):
                _, own = seasonal(x[i, :, c], season)
                _, other = seasonal(pool.values[partners[i], :, c], season)
                size = own.std() / other.std() if other.std() > 0 else 0.0
                out[i, :, c] = x[i, :, c] - own + other * size

    return transform(x, "recombination", work, seed=seed, **run)


@lru_cache(maxsize=4096)
def _decomposed(raw: bytes, season: int) -> tuple[float, Floats, Floats]:
    """The parts of a series; all of its copies share them."""
    y = np.frombuffer(raw)
    power = guerrero(y, season)
    return power, *decompose(box_cox(y, power), season)


def decompose(y: Floats, season: int) -> tuple[Floats, Floats]:
    """Trend plus season, and the remainder."""
    trend, season_part = seasonal(y, season)
    smooth = trend + season_part
    return smooth, y - smooth


def seasonal(y: Floats, season: int) -> tuple[Floats, Floats]:
    """Trend and season; a series of less than two seasons has no season."""
    if season > 1 and len(y) >= 2 * season + 1:
        from statsmodels.tsa.seasonal import STL  # 1 s

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = STL(np.asarray(y, np.float64), period=season, robust=False).fit()
        return found.trend, found.seasonal
    half = max(len(y) // _TREND_SHARE, 1)
    padded = np.concatenate([np.full(half, y[0]), y, np.full(half, y[-1])])
    return np.convolve(padded, np.full(2 * half + 1, 1.0 / (2 * half + 1)), "valid"), np.zeros(len(y))


def guerrero(y: Floats, season: int) -> float:
    """The Box-Cox power that evens out the spread of stretches of a season (Guerrero 1993); 1 unless y > 0."""
    wide = max(season, 2)
    count = len(y) // wide
    if y.min() <= 0 or count < 2:
        return 1.0
    parts = y[len(y) - count * wide :].reshape(count, wide)
    mean, spread = parts.mean(axis=1), parts.std(axis=1, ddof=1)
    if not mean.std() or not spread.any():
        return 1.0
    ratios = spread[None, :] / mean[None, :] ** (1.0 - _LAMBDAS[:, None])
    return float(_LAMBDAS[np.argmin(ratios.std(axis=1) / ratios.mean(axis=1))])


def box_cox(y: Floats, power: float) -> Floats:
    """The Box-Cox transform; the identity at power 1."""
    if power == 1.0:
        return y
    return np.log(y) if power == 0.0 else (y**power - 1.0) / power


def undo_box_cox(z: Floats, power: float) -> Floats:
    """The inverse; what lies below its range becomes 0."""
    if power == 1.0:
        return z
    return np.exp(z) if power == 0.0 else np.maximum(power * z + 1.0, 0.0) ** (1.0 / power)
