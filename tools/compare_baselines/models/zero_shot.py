"""Pre-trained models from a local folder: Chronos, Chronos-Bolt, Chronos-2 and TimesFM. Nothing is downloaded."""

import os
from functools import lru_cache
from typing import Any

import numpy as np

from ..._core.errors import ToolError
from ..._series.arrays.streams import Floats
from .forecast import LEVELS, Forecast, Task
from .local import repeat_season

_NAMES = {
    "ChronosPipeline": "chronos",
    "ChronosBoltPipeline": "chronos_bolt",
    "Chronos2Pipeline": "chronos_2",
}
_BATCH = 64
_MOST_CONTEXT = 2048
_MEDIAN = LEVELS.index(0.5)


def chronos(task: Task, pipeline_class: str) -> Forecast:
    """Chronos, Chronos-Bolt or Chronos-2; `pipeline_class` is what the library loads its checkpoint as."""
    import torch

    pipeline = _load_chronos(str(task.checkpoint))
    if (loaded := type(pipeline).__name__) != pipeline_class:
        raise ToolError(
            f"The checkpoint is of another kind ({loaded}, not {pipeline_class})",
            saw=task.checkpoint,
            try_next=f"the model's own name: {_NAMES.get(loaded, 'none here')}",
        )
    torch.manual_seed(task.seed)
    blocks: list[Floats] = []
    for first in range(0, len(task.train), _BATCH):
        series = [
            torch.tensor(y[-_MOST_CONTEXT:], dtype=torch.float32) for y in task.train[first : first + _BATCH]
        ]
        found, _ = pipeline.predict_quantiles(
            series, prediction_length=task.horizon, quantile_levels=list(LEVELS)
        )
        blocks += [_levels_first(one) for one in found]
    return _checked(np.stack(blocks), task)


def timesfm(task: Task) -> Forecast:
    """TimesFM 2.5."""
    model = _load_timesfm(str(task.checkpoint), task.horizon)
    _, spread = model.forecast(horizon=task.horizon, inputs=[y[-_MOST_CONTEXT:] for y in task.train])
    quantiles = np.asarray(spread, np.float64)[:, :, 1:10]  # the first of ten is the mean
    return _checked(quantiles.transpose(0, 2, 1), task)


def _levels_first(one: Any) -> Floats:
    """(horizon, levels), or (1, horizon, levels) of Chronos-2, as (levels, horizon)."""
    values = np.asarray(one.detach().cpu().numpy(), np.float64)
    return values.reshape(-1, values.shape[-1]).T


def _checked(quantiles: Floats, task: Task) -> Forecast:
    failed = {
        i: "the forecast is not finite" for i in range(len(quantiles)) if not np.isfinite(quantiles[i]).all()
    }
    for i in failed:
        quantiles[i] = repeat_season(task.train[i], task.horizon, task.season)
    return Forecast(quantiles[:, _MEDIAN].copy(), quantiles, failed)


@lru_cache(maxsize=2)
def _load_chronos(folder: str) -> Any:
    _stay_offline(folder, "config.json")
    from chronos import BaseChronosPipeline

    try:
        return BaseChronosPipeline.from_pretrained(folder, device_map="cpu")
    except (ValueError, OSError, KeyError) as error:
        raise _no_checkpoint(folder, error) from error


@lru_cache(maxsize=2)
def _load_timesfm(folder: str, horizon: int) -> Any:
    _stay_offline(folder, "model.safetensors")
    import timesfm as library

    try:
        model = library.TimesFM_2p5_200M_torch.from_pretrained(folder, torch_compile=False)
    except (ValueError, OSError, KeyError, RuntimeError) as error:
        raise _no_checkpoint(folder, error) from error
    model.compile(
        library.ForecastConfig(max_context=1024, max_horizon=max(horizon, 128), normalize_inputs=True)
    )
    return model


def _stay_offline(folder: str, needed: str) -> None:
    """The loaders try the hub first even for a local folder, and hide why that failed."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    if not os.path.isfile(os.path.join(folder, needed)):
        raise ToolError(
            "No checkpoint there", saw=folder, try_next=f"a folder with {needed} as its publisher has it"
        )


def _no_checkpoint(folder: str, error: Exception) -> ToolError:
    return ToolError(
        f"The checkpoint does not load: {str(error).splitlines()[0][:120]}",
        saw=folder,
        try_next="a complete local copy",
    )
