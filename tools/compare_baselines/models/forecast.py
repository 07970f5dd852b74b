"""What a model is given and what it gives back."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..._series.arrays.streams import Floats

LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
INTERVALS = (
    20,
    40,
    60,
    80,
)  # the central intervals whose ends are those quantiles, the median being the mean


@dataclass(frozen=True)
class Task:
    """Histories without holes, and how far ahead to look; `extra` are synthetic series to learn from as well."""

    train: list[Floats]
    horizon: int
    season: int
    seed: int = 0
    extra: list[Floats] = field(default_factory=list)
    checkpoint: str | None = None

    def part(self, count: int) -> "Task":
        """The same task on evenly chosen `count` of its series."""
        step = max(1, len(self.train) // count)
        picked = self.train[::step][:count]
        return Task(picked, self.horizon, self.season, self.seed, [], self.checkpoint)


@dataclass
class Forecast:
    """`mean` (series, horizon); `quantiles` (series, LEVELS, horizon) or None; why a series fell back, by index."""

    mean: Floats
    quantiles: Floats | None = None
    failed: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Model:
    """A named model.

    `learns`: fitted on all series at once, so copies may help it. `is_steady`: its fit has nothing random; others are
    judged by the mean of several fits, each with a seed of its own. `without`: the name of the same model without
    pre-training, against which this one is judged.
    """

    name: str
    run: Callable[[Task], Forecast]
    learns: bool = False
    is_steady: bool = False
    without: str = ""
    needs: tuple[str, ...] = ()
    extra: str = "series"
    checkpoint: str = ""  # what a local folder must hold, for models that are not trained here
    settings: Callable[[Task], dict[str, Any]] | None = None
