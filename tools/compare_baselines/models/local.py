"""Models fitted to one series at a time, by statsforecast: a series that cannot be fitted falls back and is listed."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from ..._series.arrays.streams import Floats
from .forecast import INTERVALS, Forecast, Task


def seasonal_naive(task: Task) -> Forecast:
    """The last season, again; where there is less than a season, the last value."""
    from statsforecast.models import SeasonalNaive

    return _each(task, lambda y: SeasonalNaive(season_length=_season(y, task.season)))


def drift(task: Task) -> Forecast:
    """A straight line through the first and the last value."""
    from statsforecast.models import RandomWalkWithDrift

    return _each(task, lambda y: RandomWalkWithDrift())


def auto_ets(task: Task) -> Forecast:
    """Exponential smoothing, its form chosen by the corrected Akaike criterion."""
    from statsforecast.models import AutoETS

    return _each(task, lambda y: AutoETS(season_length=task.season))


def auto_theta(task: Task) -> Forecast:
    """The best of four Theta models."""
    from statsforecast.models import AutoTheta

    return _each(task, lambda y: AutoTheta(season_length=task.season))


def croston(task: Task) -> Forecast:
    """Croston's method with the Syntetos-Boylan correction, for intermittent demand."""
    from statsforecast.models import CrostonSBA

    return _each(task, lambda y: CrostonSBA(), quantiles=False)


def tsb(task: Task) -> Forecast:
    """Teunter, Syntetos and Babai's method for intermittent demand that may die out."""
    from statsforecast.models import TSB

    return _each(task, lambda y: TSB(alpha_d=0.1, alpha_p=0.1), quantiles=False)


def repeat_season(y: Floats, horizon: int, season: int) -> Floats:
    """The seasonal naive forecast itself, what a failed series falls back to."""
    last = y[-_season(y, season) :]
    return np.resize(last, horizon)


def _season(y: Floats, season: int) -> int:
    return season if len(y) >= season else 1


def _each(task: Task, make: Callable[[Floats], Any], quantiles: bool = True) -> Forecast:
    mean = np.empty((len(task.train), task.horizon))
    spread = np.empty((len(task.train), 2 * len(INTERVALS) + 1, task.horizon))
    failed: dict[int, str] = {}
    levels = list(INTERVALS) if quantiles else None
    for i, y in enumerate(task.train):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = make(y).forecast(y=y, h=task.horizon, level=levels)
            ends = _ends(found) if quantiles else None
            if not np.isfinite(found["mean"]).all():
                raise ValueError("the forecast is not finite")
        except Exception as error:
            failed[i] = (
                f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}"[:120]
            )
            found, ends = {"mean": repeat_season(y, task.horizon, task.season)}, None
        mean[i] = found["mean"]
        spread[i] = mean[i] if ends is None else ends
    return Forecast(mean, spread if quantiles else None, failed)


def _ends(found: dict[str, Any]) -> Floats:
    """Quantiles from interval ends, the mean as median; an end that is not finite takes the mean's place."""
    rows = [found[f"lo-{level}"] for level in reversed(INTERVALS)]
    rows += [found["mean"], *(found[f"hi-{level}"] for level in INTERVALS)]
    stacked = np.array(rows)
    return np.where(np.isfinite(stacked), stacked, stacked[len(INTERVALS)])
