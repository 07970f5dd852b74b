"""MASE, RMSSE, sMAPE (0 to 200) and scaled CRPS of each series in a fold, as utilsforecast defines them."""

import numpy as np

from .._series.arrays.streams import Floats
from .folds import Fold
from .models.forecast import LEVELS, Forecast

NAMES = ("mase", "rmsse", "smape", "crps")


def scales(seen: list[Floats], season: int) -> tuple[Floats, Floats]:
    """Mean absolute and squared error of the seasonal naive in what was seen of each training part; NaN where 0."""
    first, second = np.full(len(seen), np.nan), np.full(len(seen), np.nan)
    for i, y in enumerate(seen):
        change = y[season:] - y[:-season]
        change = change[~np.isnan(change)]
        if len(change) and np.any(change):
            first[i], second[i] = np.abs(change).mean(), (change**2).mean()
    return first, second


def score(fold: Fold, forecast: Forecast, season: int) -> dict[str, Floats]:
    """Each measure for each series of the fold; missing test values are not scored."""
    seen = ~np.isnan(fold.test)
    test = np.where(seen, fold.test, 0.0)
    count = seen.sum(axis=1)
    error = np.where(seen, forecast.mean - test, 0.0)
    absolute, squared = scales(fold.seen, season)
    size = np.where(seen, np.abs(forecast.mean) + np.abs(test), 0.0)
    relative = np.divide(np.abs(error), size, out=np.zeros_like(error), where=size > 0)
    found = {
        "mase": np.abs(error).sum(axis=1) / count / absolute,
        "rmsse": np.sqrt((error**2).sum(axis=1) / count / squared),
        "smape": 200.0 * relative.sum(axis=1) / count,
        "crps": np.full(len(fold.train), np.nan),
    }
    if forecast.quantiles is not None:
        miss = np.where(seen[:, None, :], test[:, None, :] - forecast.quantiles, 0.0)
        level = np.array(LEVELS)[None, :, None]
        pinball = np.maximum(level * miss, (level - 1.0) * miss).mean(axis=1).sum(axis=1)
        total = np.abs(test).sum(axis=1)
        found["crps"] = np.divide(2.0 * pinball, total, out=np.full(len(total), np.nan), where=total > 0)
    return found
