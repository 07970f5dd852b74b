"""Does an augmentation help a model? The paired change of MASE in per cent, with an interval that means what it says.

A series is the unit: its MASE with and without, averaged over folds and draws. The change is a ratio of means, its
deviation from the linearised ratio. The interval is the wider of Student's t and the bootstrap over series, widened by
what the draws of copies disagree on, at a level divided by the number of comparisons (Bonferroni).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from .._series.arrays.streams import Floats
from .backtest import Outcome, per_line
from .folds import Fold

LEVEL = 0.95
MIN_SERIES = 5  # fewer give no interval worth the name
NIL_PERCENT = 0.25  # a change below this is nobody's reason to augment, however certain
_RESAMPLES = 2000


@dataclass(frozen=True)
class Change:
    """Per cent of the mean MASE without augmentation."""

    percent: float
    low: float
    high: float
    series: int

    @property
    def verdict(self) -> str:
        """helps | hurts | cannot tell."""
        if self.series < MIN_SERIES or self.low <= 0.0 <= self.high or abs(self.percent) < NIL_PERCENT:
            return "cannot tell"
        return "helps" if self.percent < 0 else "hurts"


def judge(
    plain: Outcome, augmented: list[Outcome], folds: list[Fold], lines: int, tests: int, seed: int
) -> list[Any]:
    """The verdict of each augmented outcome against the same model without."""
    rows = []
    for outcome in augmented:
        found = change(
            plain.by_line(folds, lines, "mase"), outcome.by_line(folds, lines, "mase"), tests, seed
        )
        if found is None:
            continue
        rows.append(
            {
                "model": outcome.cell.model.name,
                "augmentation": outcome.cell.augmentation,
                "difference": round(found.percent, 3),
                "interval": [round(found.low, 3), round(found.high, 3)],
                "verdict": found.verdict,
                "series": found.series,
                "unit": "per cent of MASE; negative is better",
                "basis": "measured",
            }
        )
    return rows


def change(plain: Floats, augmented: Floats, tests: int, seed: int = 0) -> Change | None:
    """The paired change between two (draw, fold, line) tables of MASE; None where no series has both."""
    before = per_line(plain)
    after = per_line(augmented)
    both = ~(np.isnan(before) | np.isnan(after))
    before, difference = before[both], (after - before)[both]
    count = len(before)
    if not count or before.mean() == 0:
        return None
    ratio = 100.0 * difference.mean() / before.mean()
    if count < 2:
        return Change(ratio, -np.inf, np.inf, count)
    influence = (100.0 * difference - ratio * before) / before.mean()
    variance = influence.var(ddof=1) / count + _draw_variance(augmented[:, :, both], before)
    tail = (1.0 - LEVEL) / (2.0 * tests)
    reach = stats.t.ppf(1.0 - tail, count - 1) * np.sqrt(variance)
    low, high = _bootstrap(before, difference, tail, seed)
    return Change(ratio, min(ratio - reach, low), max(ratio + reach, high), count)


def _draw_variance(augmented: Floats, before: Floats) -> float:
    """The variance of the mean over draws, from how far the draws' means lie apart."""
    if len(augmented) < 2:
        return 0.0
    means = [per_line(augmented[d : d + 1]).mean() for d in range(len(augmented))]
    return float(np.var(100.0 * np.array(means) / before.mean(), ddof=1) / len(means))


def _bootstrap(before: Floats, difference: Floats, tail: float, seed: int) -> tuple[float, float]:
    draws = np.random.default_rng(seed).integers(0, len(before), (_RESAMPLES, len(before)))
    ratios = 100.0 * difference[draws].mean(axis=1) / before[draws].mean(axis=1)
    low, high = np.quantile(ratios, [tail, 1.0 - tail])
    return float(low), float(high)
