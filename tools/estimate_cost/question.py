"""A question and its comparison: which options, which plans, which are feasible."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date

from .._catalog.prices import Prices
from .._core.errors import ToolError
from .candidate import Candidate
from .compare import Comparison, compare
from .option import Choice, Constraints, Option
from .plans import plans_of
from .resolve import resolve
from .search import Choices
from .workload import AnyWorkload, Inference, Running


@dataclass(frozen=True, slots=True)
class Question:
    """Everything an answer depends on."""

    workload: AnyWorkload
    options: Sequence[Option]
    constraints: Constraints
    prices: Prices
    today: date

    def choices(self) -> Choices:
        return resolve(self.workload, self.options, self.constraints, self.prices, self.today)

    def compared(self, choices: Sequence[Choice]) -> Comparison:
        found = list(plans_of(self.workload, choices, self.constraints, self.today))
        asked_spot = "spot" in self.constraints.model_fields_set
        avoid_spot = isinstance(self.workload, Inference | Running) and not asked_spot
        return compare(found, self.constraints, avoid_spot=avoid_spot, asked_spot=asked_spot)

    def best_for(self, other: AnyWorkload) -> Candidate | None:
        """The plan to take for another workload; of a searched machine only its cheapest places are looked at."""
        asked = replace(self, workload=other)
        try:
            found = asked.choices().kept
        except ToolError:
            return None  # nothing fits that either
        return asked.compared(_cheapest_places(found)).recommended


def _cheapest_places(choices: Sequence[Choice]) -> list[Choice]:
    """Of each searched machine where it is cheapest on demand and where on spot; every other choice."""
    kept: dict[object, Choice] = {}
    for one in choices:
        if not one.searched:
            kept[id(one)] = one
            continue
        for price in ("on_demand", "spot"):
            usd, key = getattr(one, price), (price, one.provider, one.machine)
            if usd is not None and (key not in kept or usd < getattr(kept[key], price)):
                kept[key] = one
    return list({id(one): one for one in kept.values()}.values())
