"""Whether a provider's answer may replace what is held."""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..._catalog.prices import Prices
from ..._core.errors import ToolError
from .fresh import Fresh

_LEAST_SHARE = 0.5  # of the rows held; fewer looks like half an answer
_MOST_MOVE = 3.0  # of the median price; more looks like another unit
_MOST_JUMP = 10.0  # of one price; more looks like a slip, and the old price stays

_KEPT = "the prices held are unchanged; look at the source before trusting it"


@dataclass(frozen=True, slots=True)
class Judged:
    """What may be kept, and what was left out."""

    rows: list[Fresh]
    without_price: int
    held_back: dict[tuple[str, str], float]  # (region, machine): how many times the old price


def judge(fresh: Iterable[Fresh], provider: str, prices: Prices) -> Judged:
    """Raises ToolError when the answer as a whole does not look like prices."""
    found = list(fresh)
    priced = [row for row in found if math.isfinite(row.on_demand) and row.on_demand > 0]
    if not priced:
        raise ToolError(f"{provider} sent no prices", saw=f"{len(found)} rows", try_next=_KEPT)
    regions = {row.region for row in priced}
    held = {
        (offer.region, offer.machine.name): offer.on_demand_usd_per_hour
        for offer in prices.offers(providers=[provider])
        if offer.region in regions
    }
    if len(priced) < _LEAST_SHARE * len(held):
        saw = f"{len(priced)} rows where {len(held)} are held"
        raise ToolError(f"{provider} sent less than half of its prices", saw=saw, try_next=_KEPT)
    ratios = _ratios(priced, held)
    if ratios and not 1 / _MOST_MOVE <= (middle := statistics.median(ratios.values())) <= _MOST_MOVE:
        saw = f"the median of {len(ratios)} machines"
        raise ToolError(f"The prices of {provider} moved {middle:.3g}-fold", saw=saw, try_next=_KEPT)
    jumped = {key: ratio for key, ratio in ratios.items() if not 1 / _MOST_JUMP < ratio < _MOST_JUMP}
    kept = [row for row in priced if (row.region, row.machine) not in jumped]
    return Judged(kept, len(found) - len(priced), jumped)


def _ratios(priced: Sequence[Fresh], held: dict[tuple[str, str], float]) -> dict[tuple[str, str], float]:
    keys = ((row.region, row.machine, row.on_demand) for row in priced)
    return {
        (region, name): price / held[region, name] for region, name, price in keys if (region, name) in held
    }
