"""What is known of each transform: its function, what it changes, what it needs, what it may be asked."""

import difflib
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from .._core.errors import ToolError
from .arrays import bootstrap, generators, mixing, noise, spectral, warps

Kind = Literal["values", "time", "whole"]


@dataclass(frozen=True)
class Method:
    """One transform.

    `kind`: "values" changes values one by one, "time" bends the time axis (labels per step and measured covariates
    follow), "whole" needs a series without holes (they are bridged before and cut out again after).
    `donors` methods mix with other series. `label_preserving` methods suit classification.
    """

    function: Callable[..., Any]
    kind: Kind
    min_points: int = 2
    min_seasons: int = 0
    label_preserving: bool = True
    donors: bool = False

    def least(self, season: int) -> int:
        """The points of history it needs at this season."""
        return max(self.min_points, self.min_seasons * season)

    @property
    def parameters(self) -> dict[str, Any]:
        """Names and defaults of what may be asked of it."""
        found = inspect.signature(self.function).parameters.values()
        return {
            p.name: p.default
            for p in found
            if p.name not in ("x", "seed", "season", "donors", "donor_ids", "run")
        }


METHODS: dict[str, Method] = {
    "identity": Method(noise.identity, "values", 1),
    "jitter": Method(noise.jitter, "values"),
    "scaling": Method(noise.scaling, "values", 1),
    "window_slice": Method(warps.window_slice, "time", 4),
    "magnitude_warp": Method(noise.magnitude_warp, "values", 4),
    "time_warp": Method(warps.time_warp, "time", 4),
    "window_warp": Method(warps.window_warp, "time", 8),
    "upsampling": Method(warps.upsampling, "time", 8),
    "moving_block_bootstrap": Method(bootstrap.moving_block_bootstrap, "whole", 8, min_seasons=2),
    "iaaft": Method(spectral.iaaft, "whole", 8),
    "frequency_mask": Method(spectral.frequency_mask, "whole", 8),
    "frequency_mix": Method(spectral.frequency_mix, "whole", 8, donors=True, label_preserving=False),
    "dominant_shuffle": Method(spectral.dominant_shuffle, "whole", 8),
    "mixup": Method(mixing.mixup, "whole", 1, donors=True, label_preserving=False),
    "dtw_barycenter": Method(mixing.dtw_barycenter, "whole", 8, donors=True, label_preserving=False),
    "recombination": Method(bootstrap.recombination, "whole", 8, 2, donors=True, label_preserving=False),
    "kernel_synth": Method(generators.kernel_synth, "whole", 8, label_preserving=False),
    "sarima_series": Method(generators.sarima_series, "whole", 8, label_preserving=False),
}


@dataclass(frozen=True)
class Wish:
    """One method with its parameters, and what is done to the values it gives."""

    name: str
    parameters: dict[str, Any] = field(default_factory=dict)
    round: bool = False
    minimum: float | None = None

    @property
    def method(self) -> Method:
        """What is known of it."""
        return METHODS[self.name]


def wish(asked: str | dict[str, Any]) -> Wish:
    """A method as a caller names it: "jitter" or {"name": "jitter", "sigma": 0.05, "round": true, "minimum": 0}."""
    given = {"name": asked} if isinstance(asked, str) else dict(asked)
    name = given.pop("name", None)
    if name not in METHODS:
        near = difflib.get_close_matches(str(name), METHODS, n=1)
        raise ToolError(
            "No such method", saw=name, try_next=near[0] if near else f"one of {', '.join(METHODS)}"
        )
    rounded, minimum = given.pop("round", False), given.pop("minimum", None)
    known = METHODS[name].parameters
    for key, value in given.items():
        if key not in known:
            allowed = ", ".join([*known, "round", "minimum"])
            raise ToolError(
                f"Method {name!r} has no parameter {key!r}", saw=value, try_next=f"one of {allowed}"
            )
        if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
            raise ToolError(
                f"Parameter {key!r} of {name!r} is no number from 0 up", saw=value, try_next=str(known[key])
            )
    if not isinstance(rounded, bool) or not isinstance(minimum, int | float | None):
        raise ToolError("`round` is true or false, `minimum` a number", saw=asked, try_next='"round": true')
    return Wish(name, {**known, **given}, rounded, minimum)
