"""Transforms that change values and leave time alone: jitter, scaling, magnitude_warp, and identity as a control."""

from functools import lru_cache
from types import ModuleType
from typing import Any

import numpy as np

from .blocks import transform
from .streams import Floats, Keys, uniforms


def identity(x: Any, *, seed: int = 0, **run: Any) -> Any:
    """Exact copies: the control that any honest comparison must call no help."""
    return transform(x, "identity", lambda code, x, keys, out: np.copyto(out, x), seed=seed, **run)


def jitter(x: Any, *, seed: int, sigma: float = 0.1, **run: Any) -> Any:
    """x plus normal noise; `sigma` counts standard deviations of each series and channel (Um et al. 2017)."""

    def work(code: ModuleType, x: Any, keys: Keys, out: Any) -> None:
        scale = np.empty((len(x), x.shape[2]))
        code.deviations(x, scale)
        code.add_noise(x, keys, sigma * scale, out)

    return transform(x, "jitter", work, seed=seed, **run)


def scaling(x: Any, *, seed: int, low: float = 0.8, high: float = 1.2, **run: Any) -> Any:
    """x times one factor a series and channel, uniform between `low` and `high`."""

    def work(code: ModuleType, x: Any, keys: Keys, out: Any) -> None:
        factors = low + (high - low) * uniforms(keys, x.shape[2])
        np.multiply(x, factors[:, None, :], out=out, casting="same_kind")

    return transform(x, "scaling", work, seed=seed, **run)


def magnitude_warp(x: Any, *, seed: int, sigma: float = 0.1, knots: int = 4, **run: Any) -> Any:
    """x times a smooth curve around 1: a natural cubic spline through `knots` inner and 2 outer normal values."""

    def work(code: ModuleType, x: Any, keys: Keys, out: Any) -> None:
        _, steps, channels = x.shape
        points = min(knots + 2, steps)
        draws = np.empty((len(x), points * channels))
        code.fill_normals(keys, draws)
        heights = 1.0 + sigma * draws.reshape(len(x), points, channels)
        breaks = spread(steps, points)
        code.multiply_cubic(x, breaks, _cubics(heights, breaks), out)

    return transform(x, "magnitude_warp", work, seed=seed, **run)


def spread(steps: int, points: int) -> Any:
    """`points` knots over [0, steps): the last piece includes the last step, so the last break is `steps`."""
    breaks = np.round(np.linspace(0, steps - 1, points)).astype(np.int64)
    breaks[-1] = steps
    return breaks if points > 1 else np.array([0, steps])


def _cubics(heights: Floats, breaks: Any) -> Floats:
    """The pieces of the natural spline through the heights, as powers of the distance from each piece's start."""
    series, points, channels = heights.shape
    if points < 3:
        pieces = np.zeros((series, len(breaks) - 1, 4, channels))
        pieces[:, 0, 0] = heights[:, 0]
        if points == 2:
            pieces[:, 0, 1] = (heights[:, 1] - heights[:, 0]) / max(breaks[1] - 1, 1)
        return pieces
    places = (*(float(b) for b in breaks[:-1]), float(breaks[-1] - 1))
    by_knot = np.ascontiguousarray(heights.transpose(1, 0, 2))
    bend = np.zeros_like(by_knot)
    for row, weights in enumerate(_bending(places)):
        for k, weight in enumerate(
            weights
        ):  # in this order everywhere; a matrix product would choose its own
            bend[row] += weight * by_knot[k]
    pieces = np.empty((series, points - 1, 4, channels))
    for j, gap in enumerate(np.diff(places)):
        low, high = bend[j], bend[j + 1]
        pieces[:, j, 0] = by_knot[j]
        pieces[:, j, 1] = (by_knot[j + 1] - by_knot[j]) / gap - gap * (2.0 * low + high) / 6.0
        pieces[:, j, 2] = low / 2.0
        pieces[:, j, 3] = (high - low) / (6.0 * gap)
    return pieces


@lru_cache(maxsize=256)
def _bending(places: tuple[float, ...]) -> Floats:
    """The matrix from heights to second derivatives of a natural cubic spline."""
    gap = np.diff(places)
    points = len(places)
    left, right = np.eye(points), np.zeros((points, points))
    for k in range(1, points - 1):
        left[k, k - 1 : k + 2] = gap[k - 1], 2.0 * (gap[k - 1] + gap[k]), gap[k]
        right[k, k - 1 : k + 2] = (
            6.0 / gap[k - 1],
            -6.0 / gap[k - 1] - 6.0 / gap[k],
            6.0 / gap[k],
        )
    return np.asarray(np.linalg.solve(left, right))
