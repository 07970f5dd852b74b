"""DLinear (Zeng et al. 2022): one linear map for the trend and one for the rest of a window, learned on all series.

Windows are normalised by their own mean and deviation. The mean squared error of a linear model depends on the data
through two small matrices only, so each of Adam's steps sees every window: fast, and without a random order of batches,
which makes a copy that adds nothing change nothing.
"""

from typing import Any

import numpy as np

from ..._series.arrays.streams import Floats
from .forecast import Forecast, Task
from .local import repeat_season

KERNEL = 25  # moving average of the paper; narrower for short windows
STEPS, RATE = 400, 0.005
_MOST_WINDOW = 336
_TINY = 1e-8


def settings(task: Task) -> dict[str, Any]:
    """The window: two seasons or a horizon, as far as the shorter histories leave windows to learn from."""
    short = int(np.quantile([len(y) for y in task.train], 0.1))
    wanted = min(max(2 * task.season, task.horizon), _MOST_WINDOW)
    window = max(2, min(wanted, short - task.horizon - max(task.horizon // 3, 2)))
    return {"window": window, "kernel": min(KERNEL, window | 1), "steps": STEPS, "rate": RATE}


def dlinear(task: Task) -> Forecast:
    """Forecasts of the originals by a map learned on originals and copies; too short series fall back."""
    chosen = settings(task)
    window, total = chosen["window"], chosen["window"] + task.horizon
    smooth = _moving_average(window, chosen["kernel"])
    gram, cross, count = np.zeros((2 * window + 1,) * 2), np.zeros((2 * window + 1, task.horizon)), 0
    for y in [*task.train, *task.extra]:
        if len(y) < total:
            continue
        pieces = np.lib.stride_tricks.sliding_window_view(y, total)
        features, centre, size = _features(pieces[:, :window], smooth)
        wanted = (pieces[:, window:] - centre) / size
        gram += features.T @ features
        cross += features.T @ wanted
        count += len(pieces)
    mean = np.array([repeat_season(y, task.horizon, task.season) for y in task.train])
    failed = {
        i: f"{len(y)} points, a window has {window}" for i, y in enumerate(task.train) if len(y) < window
    }
    if not count:
        return Forecast(
            mean, None, dict.fromkeys(range(len(mean)), f"no series has the {total} points of a window")
        )
    weights = _learn(gram / count, cross / count, window, chosen)
    usable = [i for i in range(len(mean)) if i not in failed]
    features, centre, size = _features(np.array([task.train[i][-window:] for i in usable]), smooth)
    mean[usable] = features @ weights * size + centre
    return Forecast(mean, None, failed)


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


def _learn(gram: Floats, cross: Floats, window: int, chosen: dict[str, Any]) -> Floats:
    """Adam from the paper's start, every weight 1/window; the rate falls to zero along a cosine."""
    weights = np.full(cross.shape, 1.0 / window)
    weights[-1] = 0.0
    speed, power = np.zeros_like(weights), np.zeros_like(weights)
    for step in range(1, chosen["steps"] + 1):
        slope = 2.0 * (gram @ weights - cross)
        speed = 0.9 * speed + 0.1 * slope
        power = 0.999 * power + 0.001 * slope * slope
        rate = chosen["rate"] * 0.5 * (1.0 + np.cos(np.pi * step / chosen["steps"]))
        weights = weights - rate * (speed / (1 - 0.9**step)) / (np.sqrt(power / (1 - 0.999**step)) + 1e-8)
    return weights
