"""How far a figure may be off: one band for each input, and what they come to together.

A band is a pair of factors (low, high) around 1. The widths are judgement, stated in references/cost.md#bands, with
the observations they were set against.
"""

import math
from collections.abc import Mapping
from datetime import date

from .._catalog.prices import OLD_AFTER_DAYS

Band = tuple[float, float]

EXACT: Band = (1.0, 1.0)
UTILIZATION: Band = (
    0.30 / 0.45,
    0.30 / 0.15,
)  # hours are inverse to utilisation: 0.45 at best, 0.15 at worst
DERIVED_SPOT = 0.15  # list price x (1 - advisor savings) against observed zone prices
_FRESH_DAYS = 31


def price_band(as_of: date | None, today: date, *, derived: bool = False) -> Band:
    """By the price's age; a price the caller states is exact. A derived spot price is wider still."""
    if as_of is None:
        return EXACT
    age = (today - as_of).days
    width = 0.03 if age <= _FRESH_DAYS else 0.15 if age <= OLD_AFTER_DAYS else 0.40
    low, high = 1 - width, 1 + width
    return (low * (1 - DERIVED_SPOT), high * (1 + DERIVED_SPOT)) if derived else (low, high)


def is_old(as_of: date, today: date) -> bool:
    """Whether a price is so old that it is shown only when it is asked for."""
    return (today - as_of).days > OLD_AFTER_DAYS


def combine(bands: Mapping[str, Band]) -> Band:
    """Independent factors together: their logarithms add in quadrature, each side for itself."""
    low = math.exp(-math.hypot(*(math.log(band[0]) for band in bands.values()))) if bands else 1.0
    high = math.exp(math.hypot(*(math.log(band[1]) for band in bands.values()))) if bands else 1.0
    return low, high


def widest(bands: Mapping[str, Band]) -> str | None:
    """The input that moves the cost most; None when all are exact."""
    named = {name: math.log(high / low) for name, (low, high) in bands.items() if high > low}
    return max(named, key=named.__getitem__) if named else None
