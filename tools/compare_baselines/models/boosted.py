"""LightGBM over lags of all series, by mlforecast: seasonal difference, each series scaled, one model for all."""

from typing import Any

import numpy as np

from ..._series.arrays.streams import Floats
from .forecast import Forecast, Task
from .local import repeat_season

# 100 trees. Small leaves learned gently: LightGBM's own 31 and 0.1 lose to the seasonal naive on short panels, see
# benchmarks/series_settings.py. Each tree sees a part of the lags, so that draws show, and average out, the luck of
# splits; exact copies still change nothing. The rest is for repeatability.
BOOSTING: dict[str, Any] = {
    "num_leaves": 8,
    "learning_rate": 0.03,
    "colsample_bytree": 0.7,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
    "verbosity": -1,
}
_MOST_LAGS = 24
_LEFT = 4  # points after a seasonal difference of two seasons, to learn anything at all
_LEAF, _BIN = 20, 3  # LightGBM's own least numbers of rows


def settings(task: Task) -> dict[str, Any]:
    """What mlforecast is given: lags and the seasonal difference, as far as histories reach."""
    short = int(np.quantile([len(y) for y in task.train], 0.1))
    difference = task.season if task.season > 1 and short >= 2 * task.season + _LEFT else 1
    lags = max(1, min(max(task.season, 6), _MOST_LAGS, (short - difference) // 2))
    return {
        "lags": list(range(1, lags + 1)),
        "differences": [difference],
        "boosting": {**BOOSTING, "seed": task.seed},
    }


def lightgbm(task: Task) -> Forecast:
    """Forecasts of the originals by a model that saw originals and copies; too short series fall back."""
    import lightgbm as lgb
    import pandas as pd
    from mlforecast import MLForecast
    from mlforecast.target_transforms import Differences, LocalStandardScaler

    chosen = settings(task)
    needed = len(chosen["lags"]) + chosen["differences"][0] + 2
    usable = [i for i, y in enumerate(task.train) if len(y) >= needed]
    failed = {
        i: f"{len(y)} points, {needed} are needed; seasonal naive instead"
        for i, y in enumerate(task.train)
        if len(y) < needed
    }
    mean = np.array([repeat_season(y, task.horizon, task.season) for y in task.train])
    if not usable:
        return Forecast(mean, None, failed)
    parts = [*(task.train[i] for i in usable), *(y for y in task.extra if len(y) >= needed)]
    share = len(parts) / len(
        usable
    )  # copies are no new evidence: a leaf needs as many originals as without them
    sizes = {"min_child_samples": round(_LEAF * share), "min_data_in_bin": round(_BIN * share)}
    model = MLForecast(
        models={"lightgbm": lgb.LGBMRegressor(**chosen["boosting"], **sizes)},
        freq=1,
        lags=chosen["lags"],
        target_transforms=[Differences(chosen["differences"]), LocalStandardScaler()],
    )
    model.fit(long_table(parts, pd), static_features=[])
    ahead = model.predict(task.horizon, ids=list(range(len(usable))))
    mean[usable] = ahead["lightgbm"].to_numpy().reshape(len(usable), task.horizon)
    return Forecast(mean, None, failed)


def long_table(parts: list[Floats], pd: Any) -> Any:
    """Series as the long table of the Nixtla libraries: unique_id, ds, y."""
    sizes = [len(y) for y in parts]
    return pd.DataFrame(
        {
            "unique_id": np.repeat(np.arange(len(parts)), sizes),
            "ds": np.concatenate([np.arange(n) for n in sizes]),
            "y": np.concatenate(parts),
        }
    )
