"""Where one plan becomes cheaper than another."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Crossing:
    """Up to `value` the first of `between` is the cheaper one, beyond it the second; `costs` is for the chart."""

    between: tuple[str, str]
    quantity: str
    value: float
    costs: Callable[[float], tuple[float, float]]
    note: str = ""


def by_use(pair: tuple[str, str], quantity: str, value: float, fixed_usd: float, note: str = "") -> Crossing:
    """The first is paid by use, the second costs `fixed_usd` however much it is used."""
    return Crossing(pair, quantity, value, lambda used: (fixed_usd * used / value, fixed_usd), note)
