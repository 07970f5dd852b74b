"""What a remedy was expected to change, beside what was measured: the plan's range of after / before."""

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from .._core.ledger import Run
from .._core.quantity import Basis
from .._remedies import BY_ID, Effect
from .impact import MEMORY_MARGIN, Comparison

Agreement = Literal["as expected", "less than expected", "more than expected", "cannot tell"]

# The figure that shows a quantity of the plan; a quantity that no run shows (a bill, a disk) has none.
_FIGURES = {
    "peak GPU memory": ("peak_gpu_bytes", "peak_rss_bytes"),
    "reserved GPU memory": ("peak_gpu_reserved_bytes",),
    "peak of evaluation": ("peak_gpu_bytes", "peak_rss_bytes"),
    "peak host memory": ("peak_rss_bytes",),
    "step time": ("step_seconds_p50",),
    "latency": ("step_seconds_p50",),
    "time to the same quality": ("time_to_quality_seconds", "wall_seconds"),
    "training time": ("wall_seconds",),
}
_WHOLE_PROCESS = "of the whole process here: what surrounds the tensors does not shrink"


class Expectation(BaseModel):
    """One quantity: the range that the plan expects and what was measured, as ratios of after to before."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    quantity: str
    expected_low_ratio: float
    expected_high_ratio: float
    expected_basis: Basis = Field("assumed", description="Of the range.")
    measured_ratio: float | None = Field(description="A least change where before it did not fit.")
    agreement: Agreement
    how: str

    def sentence(self) -> str:
        """The comparison in words."""
        expected = f"expected {self.expected_low_ratio:.2g} to {self.expected_high_ratio:.2g} of before"
        seen = "not measured" if self.measured_ratio is None else f"measured {self.measured_ratio:.2f}"
        return f"{self.quantity}: {expected} ({self.expected_basis}), {seen}: {self.agreement}, {self.how}"


def expectations(
    constraint: str | None, remedies: list[str], impact: list[Comparison], before: list[Run], after: list[Run]
) -> list[Expectation]:
    """For each quantity that the remedies are to change: less, as much or more than expected."""
    effects: dict[str, list[Effect]] = {}
    for remedy in remedies:
        effect = BY_ID[remedy].effect_on(constraint or "")
        effects.setdefault(effect.quantity, []).append(effect)
    return [
        _expectation(quantity, several, impact, before, after)
        for quantity, several in effects.items()
        if quantity in _FIGURES
    ]


def _expectation(
    quantity: str, effects: list[Effect], impact: list[Comparison], before: list[Run], after: list[Run]
) -> Expectation:
    agreement: Agreement
    low, high = (math.prod(getattr(one, side) for one in effects) for side in ("low_ratio", "high_ratio"))
    figures = {one.metric: one for one in impact}
    seen = next((figures[name] for name in _FIGURES[quantity] if name in figures), None)
    if seen is None or seen.ratio is None:
        ratio, agreement, how = None, "cannot tell", "no figure on both sides shows it"
    elif any(run.outcome == "out_of_memory" for run in before):
        ratio, (agreement, how) = seen.ratio, _at_least(seen.ratio, low, high)
    else:
        ratio, (agreement, how) = seen.ratio, _within(seen, seen.ratio, low, high)
    if seen and seen.metric == "peak_rss_bytes" and quantity != "peak host memory":
        how = f"{how}; {_WHOLE_PROCESS}"
    if len(effects) > 1:
        how = f"{how}; the range is the product of {len(effects)} remedies'"
    return Expectation(
        quantity=quantity,
        expected_low_ratio=low,
        expected_high_ratio=high,
        measured_ratio=ratio,
        agreement=agreement,
        how=how,
    )


def _within(seen: Comparison, ratio: float, low: float, high: float) -> tuple[Agreement, str]:
    """By the interval of the ratio: outside of the range only when all of it is."""
    if seen.low_ratio is not None and seen.high_ratio is not None:
        least, most = seen.low_ratio, seen.high_ratio
        how = f"95 % interval {least:.2f} to {most:.2f}"
    elif seen.basis == "assumed":
        least, most = ratio * (1 - MEMORY_MARGIN), ratio * (1 + MEMORY_MARGIN)
        how = seen.how
    else:
        return "cannot tell", seen.how
    if least > high:
        return "less than expected", how
    return ("more than expected" if most < low else "as expected"), how


def _at_least(ratio: float, low: float, high: float) -> tuple[Agreement, str]:
    """Before it did not fit, so its true peak lies above what was seen, and the true ratio below."""
    how = "before it did not fit, so the true ratio is smaller"
    if ratio < low:
        return "more than expected", how
    return ("as expected" if ratio <= high else "cannot tell"), how
