"""The models by name."""

from .boosted import lightgbm
from .boosted import settings as boosted_settings
from .dlinear import dlinear
from .dlinear import settings as dlinear_settings
from .forecast import Model
from .local import auto_ets, auto_theta, croston, drift, seasonal_naive, tsb

_STATS = ("statsforecast",)
MENU = {
    m.name: m
    for m in (
        Model("seasonal_naive", seasonal_naive, needs=_STATS),
        Model("drift", drift, needs=_STATS),
        Model("auto_ets", auto_ets, needs=_STATS),
        Model("auto_theta", auto_theta, needs=_STATS),
        Model("croston", croston, needs=_STATS),
        Model("tsb", tsb, needs=_STATS),
        Model("lightgbm", lightgbm, learns=True, needs=("mlforecast", "lightgbm"), settings=boosted_settings),
        Model("dlinear", dlinear, learns=True, settings=dlinear_settings),
    )
}
DEFAULT = ("seasonal_naive", "drift", "auto_ets", "auto_theta", "lightgbm", "dlinear")
INTERMITTENT = ("croston", "tsb")
