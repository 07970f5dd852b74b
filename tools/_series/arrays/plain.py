"""The loops in numpy, for machines without numba: slower, and equal to loops.py to the last bit."""

from typing import Any

import numpy as np

from .alignment import align
from .streams import Floats, Keys, normals

__all__ = ["add_noise", "align", "deviations", "fill_normals", "multiply_cubic", "positions", "resample"]

_STRETCH = 1 << 16  # time steps summed at once, which bounds the memory beside one very long series


def add_noise(x: Any, keys: Keys, scale: Floats, out: Any) -> None:
    """out = x + scale * normal, a draw a value."""
    _, steps, channels = x.shape
    for first in range(0, steps, _STRETCH):
        part = slice(first, min(first + _STRETCH, steps))
        count = (part.stop - first) * channels
        draws = normals(keys, count, first * channels).reshape(len(x), -1, channels)
        out[:, part] = x[:, part] + scale[:, None, :] * draws


def fill_normals(keys: Keys, out: Floats) -> None:
    """A standard normal number for each position of each stream."""
    out[:] = normals(keys, out.shape[1])


def deviations(x: Any, out: Floats) -> None:
    """The standard deviation over time of each series and channel, missing values left out."""
    seen = np.maximum((~np.isnan(x)).sum(axis=1), 1)
    mean = _lane_sum(x, np.zeros((len(x), x.shape[2])), squared=False) / seen
    out[:] = np.sqrt(_lane_sum(x, mean, squared=True) / seen)


def _lane_sum(x: Any, mean: Floats, *, squared: bool) -> Floats:
    """Sums over time in four interleaved lanes, each step after step as the compiled loop adds them."""
    lanes = np.zeros((len(x), 4, x.shape[2]))
    for first in range(0, x.shape[1], _STRETCH):
        part = x[:, first : first + _STRETCH].astype(np.float64) - mean[:, None, :]
        part = part * part if squared else part
        part = np.where(np.isnan(part), 0.0, part)
        padded = np.pad(part, ((0, 0), (0, -part.shape[1] % 4), (0, 0)))
        stacked = padded.reshape(len(x), -1, 4, x.shape[2])
        stacked[:, 0] += lanes
        lanes = np.add.accumulate(stacked, axis=1)[:, -1]
    return np.asarray((lanes[:, 0] + lanes[:, 1]) + (lanes[:, 2] + lanes[:, 3]))


def multiply_cubic(x: Any, breaks: Any, cubic: Floats, out: Any) -> None:
    """out = x * curve, where the curve is a cubic in (t - break) between breaks: cubic[i, piece, power, channel]."""
    for j in range(len(breaks) - 1):
        u = np.arange(breaks[j + 1] - breaks[j], dtype=np.float64)[None, :, None]
        a, b, c, d = (cubic[:, j, power, None, :] for power in range(4))
        part = slice(breaks[j], breaks[j + 1])
        out[:, part] = x[:, part] * (a + u * (b + u * (c + u * d)))


def resample(x: Any, breaks: Any, quadratic: Floats, out: Any) -> None:
    """out(t) = x at a position that is quadratic in (t - break) between breaks[i], interpolated linearly."""
    steps = x.shape[1]
    position = positions(breaks, quadratic, steps)
    left = np.minimum(position.astype(np.int64), steps - 2)
    share = (position - left)[:, :, None]
    low = np.take_along_axis(x, left[:, :, None], axis=1)
    out[:] = low + share * (np.take_along_axis(x, left[:, :, None] + 1, axis=1) - low)


def positions(breaks: Any, quadratic: Floats, steps: int) -> Floats:
    """Where each step of the output lies on the input, (series, time)."""
    time = np.arange(steps)[None, :]
    piece = (time[:, :, None] >= breaks[:, None, 1:-1]).sum(axis=2)
    first = np.take_along_axis(breaks, piece, axis=1)
    a, b, c = (np.take_along_axis(quadratic[:, :, power], piece, axis=1) for power in range(3))
    u = (time - first).astype(np.float64)
    return np.asarray(np.minimum(np.maximum(a + u * (b + u * c), 0.0), np.float64(steps - 1)))
