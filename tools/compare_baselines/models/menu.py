"""The models by name."""

from functools import partial

from .boosted import lightgbm
from .boosted import settings as boosted_settings
from .dlinear import dlinear, dlinear_transfer
from .dlinear import settings as dlinear_settings
from .forecast import Model
from .local import auto_ets, auto_theta, croston, drift, seasonal_naive, tsb
from .neural import nhits
from .neural import settings as neural_settings
from .zero_shot import chronos, timesfm

_STATS = ("statsforecast",)


def _chronos(name: str, pipeline_class: str, checkpoint: str) -> Model:
    run = partial(chronos, pipeline_class=pipeline_class)
    return Model(name, run, needs=("chronos", "torch"), extra="chronos", checkpoint=checkpoint)


MENU = {
    m.name: m
    for m in (
        Model("seasonal_naive", seasonal_naive, needs=_STATS),
        Model("drift", drift, needs=_STATS),
        Model("auto_ets", auto_ets, needs=_STATS),
        Model("auto_theta", auto_theta, needs=_STATS),
        Model("croston", croston, needs=_STATS),
        Model("tsb", tsb, needs=_STATS),
        Model(
            "lightgbm",
            lightgbm,
            learns=True,
            needs=("mlforecast", "lightgbm"),
            settings=boosted_settings,
        ),
        Model("dlinear", dlinear, learns=True, is_steady=True, settings=dlinear_settings),
        Model(
            "dlinear_transfer",
            dlinear_transfer,
            learns=True,
            without="dlinear",
            settings=dlinear_settings,
        ),
        Model(
            "nhits",
            nhits,
            learns=True,
            needs=("neuralforecast",),
            extra="nhits",
            settings=neural_settings,
        ),
        _chronos("chronos", "ChronosPipeline", "a Chronos (T5) checkpoint"),
        _chronos("chronos_bolt", "ChronosBoltPipeline", "a Chronos-Bolt checkpoint"),
        _chronos("chronos_2", "Chronos2Pipeline", "a Chronos-2 checkpoint"),
        Model(
            "timesfm",
            timesfm,
            needs=("timesfm", "torch"),
            extra="timesfm",
            checkpoint="a TimesFM 2.5 checkpoint",
        ),
    )
}
DEFAULT = ("seasonal_naive", "drift", "auto_ets", "auto_theta", "lightgbm", "dlinear")
INTERMITTENT = ("croston", "tsb")
