"""N-HiTS (Challu et al. 2022) over all series, by neuralforecast on the CPU."""

import logging
import warnings
from typing import Any

import numpy as np

from .boosted import long_table
from .forecast import Forecast, Task
from .local import repeat_season

_STEPS = 100  # of 32 series, 256 windows each; short panels overfit soon after
_QUIET = {
    "enable_progress_bar": False,
    "logger": False,
    "enable_checkpointing": False,
    "enable_model_summary": False,
}


def settings(task: Task) -> dict[str, Any]:
    """The input: two horizons or seasons, as far as the shorter histories reach."""
    short = int(np.quantile([len(y) for y in task.train], 0.1))
    wanted = max(2 * task.horizon, 2 * task.season)
    return {
        "h": task.horizon,
        "input_size": max(2, min(wanted, short - task.horizon)),
        "max_steps": _STEPS,
        "mlp_units": [[128, 128]] * 3,  # a quarter of the library's width: short panels, and a CPU
        "scaler_type": "standard",
        "start_padding_enabled": True,
        "random_seed": task.seed + 1,
        "accelerator": "cpu",
    }


def nhits(task: Task) -> Forecast:
    """Forecasts of the originals by a network that saw originals and copies."""
    import pandas as pd
    import torch
    from neuralforecast import NeuralForecast
    from neuralforecast.models import NHITS

    torch.set_num_threads(1)  # the layers are small: more threads wait for one another
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    logging.getLogger("lightning_fabric").setLevel(logging.ERROR)
    needed = task.horizon + 1
    failed = {i: f"{len(y)} points, {needed} are needed" for i, y in enumerate(task.train) if len(y) < needed}
    mean = np.array([repeat_season(y, task.horizon, task.season) for y in task.train])
    usable = [i for i in range(len(mean)) if i not in failed]
    if not usable:
        return Forecast(mean, None, failed)
    parts = [*(task.train[i] for i in usable), *(y for y in task.extra if len(y) >= needed)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = NeuralForecast(models=[NHITS(**settings(task), **_QUIET)], freq=1)
        network.fit(long_table(parts, pd))
        ahead = network.predict().sort_values(["unique_id", "ds"], kind="stable")
    mean[usable] = ahead["NHITS"].to_numpy(dtype=np.float64).reshape(len(parts), task.horizon)[: len(usable)]
    return Forecast(mean, None, failed)
