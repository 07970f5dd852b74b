"""DLinear (Zeng et al. 2022): one linear map for the trend and one for the rest of a window, learned on all series.

Windows are normalised by their own mean and deviation. The mean squared error of a linear model depends on the data
through two small matrices only, so each of Adam's steps sees every window: fast, and without a random order of batches,
which makes a copy that adds nothing change nothing.
"""

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

import numpy as np

from ..._series.arrays.generators import kernel_synth
from ..._series.arrays.streams import Floats
from .forecast import Forecast, Task
from .local import repeat_season

KERNEL = 25  # moving average of the paper; narrower for short windows
STEPS, RATE = 400, 0.002  # chosen with the window by benchmarks/series_settings.py
_MOST_WINDOW = 336
_TINY = 1e-8
_CORPUS = 256  # synthetic series to pre-train on


def settings(task: Task) -> dict[str, Any]:
    """The window: a season or a horizon, as far as the shorter histories leave windows to learn from."""
    short = int(np.quantile([len(y) for y in task.train], 0.1))
    window = max(2, min(wanted(task), _MOST_WINDOW, short - task.horizon - max(task.horizon // 3, 2)))
    return {"window": window, "kernel": min(KERNEL, window | 1), "steps": STEPS, "rate": RATE}


def wanted(task: Task) -> int:
    """A window's length, had we all the history we want."""
    return max(task.season, task.horizon)


def dlinear(task: Task) -> Forecast:
    """Forecasts of the originals by a map learned on originals and copies; too short series fall back."""
    return _forecast(task, lambda chosen: _start(chosen["window"], task.horizon))


def dlinear_transfer(task: Task) -> Forecast:
    """The same map, learned on synthetic series before it is learned on these."""
    return _forecast(
        task, lambda chosen: _pre_trained(chosen["window"], task.horizon, task.season, task.seed)
    )


def _forecast(task: Task, start: Callable[[dict[str, Any]], Floats]) -> Forecast:
    chosen = settings(task)
    window = chosen["window"]
    smooth = _moving_average(window, chosen["kernel"])
    gram, cross, count = _moments([*task.train, *task.extra], task.horizon, smooth)
    mean = np.array([repeat_season(y, task.horizon, task.season) for y in task.train])
    if not count:
        why = f"no series has the {window + task.horizon} points of a window"
        return Forecast(mean, None, dict.fromkeys(range(len(mean)), why))
    weights = _learn(gram / count, cross / count, start(chosen))
    short = [i for i, y in enumerate(task.train) if len(y) < window]
    usable = [i for i, y in enumerate(task.train) if len(y) >= window]
    features, centre, size = _features(np.array([task.train[i][-window:] for i in usable]), smooth)
    mean[usable] = features @ weights * size + centre
    why_short = {i: f"{len(task.train[i])} points, a window has {window}" for i in short}
    return Forecast(mean, None, why_short)


def _moments(series: Iterable[Floats], horizon: int, smooth: Floats) -> tuple[Floats, Floats, int]:
    """Second moments of the features of all windows, those with what follows, and the number of windows."""
    window = len(smooth)
    gram, cross, count = np.zeros((2 * window + 1,) * 2), np.zeros((2 * window + 1, horizon)), 0
    for y in series:
        if len(y) < window + horizon:
            continue
        pieces = np.lib.stride_tricks.sliding_window_view(y, window + horizon)
        features, centre, size = _features(pieces[:, :window], smooth)
        gram += features.T @ features
        cross += features.T @ ((pieces[:, window:] - centre) / size)
        count += len(pieces)
    return gram, cross, count


def _moving_average(window: int, kernel: int) -> Floats:
    """The matrix that smooths a window, its ends repeated outwards."""
    half = kernel // 2
    at = np.clip(np.arange(window)[:, None] + np.arange(-half, kernel - half)[None, :], 0, window - 1)
    smooth = np.zeros((window, window))
    np.add.at(smooth, (np.repeat(np.arange(window), kernel), at.reshape(-1)), 1.0 / kernel)
    return smooth


def _features(windows: Floats, smooth: Floats) -> tuple[Floats, Floats, Floats]:
    """Trend, remainder and a constant of each normalised window, with what undoes the normalisation."""
    centre = windows.mean(axis=1, keepdims=True)
    size = windows.std(axis=1, keepdims=True)
    size = np.where(size > _TINY * np.maximum(np.abs(centre), 1e-300), size, 1.0)
    normal = (windows - centre) / size
    trend = normal @ smooth.T
    return np.hstack([trend, normal - trend, np.ones((len(normal), 1))]), centre, size


def _start(window: int, horizon: int) -> Floats:
    """The paper's: every weight 1/window."""
    weights = np.full((2 * window + 1, horizon), 1.0 / window)
    weights[-1] = 0.0
    return weights


@lru_cache(maxsize=64)
def _pre_trained(window: int, horizon: int, season: int, seed: int) -> Floats:
    """Weights learned on draws of Gaussian processes with this season (KernelSynth, Ansari et al. 2024)."""
    steps = 2 * (window + horizon)
    blank = np.tile(
        np.arange(steps, dtype=np.float64)[None, :, None], (_CORPUS, 1, 1)
    )  # gives length and size only
    corpus = kernel_synth(blank, seed=seed, season=season, ids=[str(i) for i in range(_CORPUS)], threads=1)
    smooth = _moving_average(window, min(KERNEL, window | 1))
    gram, cross, count = _moments(corpus[:, :, 0], horizon, smooth)
    return _learn(gram / count, cross / count, _start(window, horizon))


def _learn(gram: Floats, cross: Floats, weights: Floats) -> Floats:
    """Adam from these weights; the rate falls to zero along a cosine."""
    speed, power = np.zeros_like(weights), np.zeros_like(weights)
    for step in range(1, STEPS + 1):
        slope = 2.0 * (gram @ weights - cross)
        speed = 0.9 * speed + 0.1 * slope
        power = 0.999 * power + 0.001 * slope * slope
        rate = RATE * 0.5 * (1.0 + np.cos(np.pi * step / STEPS))
        weights = weights - rate * (speed / (1 - 0.9**step)) / (np.sqrt(power / (1 - 0.999**step)) + 1e-8)
    return weights
