"""Transforms that bend time: window_slice, time_warp, window_warp; every channel of a series is bent alike.

Each is a path: for a step of the output, the position on the input it is read at. The path of a series depends on its
stream and length only, so labels per step and further columns can follow it (`path`).
"""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from . import blocks, plain
from .blocks import transform
from .noise import spread
from .streams import Floats, Keys, keys_of, uniforms

Path = tuple[
    Any, Floats
]  # breaks (series, pieces + 1) and quadratics (series, pieces, 3) in the distance from a break


def window_slice(x: Any, *, seed: int, ratio: float = 0.9, **run: Any) -> Any:
    """A random window of `ratio` of the steps, stretched to the full length (Le Guennec et al. 2016)."""
    return _bend(x, "window_slice", {"ratio": ratio}, seed=seed, **run)


def time_warp(x: Any, *, seed: int, sigma: float = 0.2, knots: int = 4, **run: Any) -> Any:
    """Time at a smoothly changing speed: log-normal at `knots` inner and 2 outer points, linear between (Um 2017)."""
    return _bend(x, "time_warp", {"sigma": sigma, "knots": knots}, seed=seed, **run)


def window_warp(x: Any, *, seed: int, ratio: float = 0.1, speed: float = 2.0, **run: Any) -> Any:
    """A random window of `ratio` of the steps at `speed` or 1/`speed`, the rest filling up (Le Guennec et al. 2016)."""
    return _bend(x, "window_warp", {"ratio": ratio, "speed": speed}, seed=seed, **run)


def upsampling(x: Any, *, seed: int, ratio: float = 0.5, **run: Any) -> Any:
    """Half of the series at twice the rate: a window of `ratio` of the steps, interpolated to the full length."""
    return _bend(x, "upsampling", {"ratio": ratio}, seed=seed, **run)


def nearest_steps(
    method: str, steps: int, *, seed: int, ids: list[Any], copy: int, parameters: dict[str, Any]
) -> Any:
    """For each series and step of the output, the input step it is nearest to: labels and statics follow this."""
    keys = keys_of(seed, method, copy, len(ids), ids)
    breaks, quadratic = PATHS[method](keys, steps, **parameters)
    return np.rint(plain.positions(breaks, quadratic, steps)).astype(np.int64)


def _bend(x: Any, method: str, parameters: dict[str, Any], **run: Any) -> Any:
    def work(code: ModuleType, x: Any, keys: Keys, out: Any) -> None:
        if x.shape[1] < 2:
            out[:] = x
            return
        breaks, quadratic = PATHS[method](keys, x.shape[1], **parameters)
        code.resample(x, breaks, quadratic, out)

    return transform(x, method, work, **run)


def _slice_path(keys: Keys, steps: int, ratio: float = 0.9) -> Path:
    kept = min(max(round(ratio * steps), 2), steps)
    starts = np.floor(uniforms(keys, 1)[:, 0] * (steps - kept + 1))
    quadratic = np.zeros((len(keys), 1, 3))
    quadratic[:, 0, 0], quadratic[:, 0, 1] = starts, (kept - 1) / max(steps - 1, 1)
    return np.tile(np.array([[0, steps]]), (len(keys), 1)), quadratic


def _time_path(keys: Keys, steps: int, sigma: float = 0.2, knots: int = 4) -> Path:
    points = max(min(knots + 2, steps), 2)
    breaks = spread(steps, points)
    draws = np.empty((len(keys), points))
    blocks.loops().fill_normals(keys, draws)
    speed = np.exp(sigma * draws)
    gap = np.diff(np.append(breaks[:-1], steps - 1)).astype(np.float64)
    covered = np.zeros((len(keys), points))
    for j in range(points - 1):
        covered[:, j + 1] = covered[:, j] + gap[j] * (speed[:, j] + speed[:, j + 1]) / 2.0
    unit = (steps - 1) / covered[:, -1:]
    change = (speed[:, 1:] - speed[:, :-1]) / (2.0 * gap)
    pieces = np.stack([covered[:, :-1] * unit, speed[:, :-1] * unit, change * unit], axis=2)
    return np.broadcast_to(breaks, (len(keys), points)).copy(), pieces


def _window_path(keys: Keys, steps: int, ratio: float = 0.1, speed: float = 2.0) -> Path:
    width = min(max(round(ratio * steps), 2), steps - 1)
    first, fast = uniforms(keys, 2).T
    starts = np.floor(first * (steps - width)) + 0.0
    pace = np.where(fast < 0.5, speed, 1.0 / speed)
    lengths = np.stack([starts, width / pace, steps - 1 - starts - width], axis=1)
    unit = (steps - 1) / lengths.sum(axis=1)
    joints = np.ceil(np.cumsum(lengths, axis=1) * unit[:, None])
    breaks = np.zeros((len(keys), 4), np.int64)
    breaks[:, 1:3], breaks[:, 3] = joints[:, :2], steps
    slope = np.stack([np.ones_like(pace), pace, np.ones_like(pace)], axis=1) / unit[:, None]
    at = np.stack([np.zeros_like(starts), starts, starts + width], axis=1)
    joint = np.concatenate([np.zeros((len(keys), 1)), np.cumsum(lengths, axis=1)[:, :2] * unit[:, None]], 1)
    begin = at + (breaks[:, :3] - joint) * slope
    return breaks, np.stack([begin, slope, np.zeros_like(begin)], axis=2)


PATHS: dict[str, Callable[..., Path]] = {
    "window_slice": _slice_path,
    "time_warp": _time_path,
    "window_warp": _window_path,
    "upsampling": _slice_path,
}
