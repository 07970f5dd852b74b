"""Does an augmentation help a model? The paired change of MASE in per cent, with an interval that means what it says.

The change is a ratio of means over series and origins, its deviation that of the linearised ratio. Series and origins
are both drawn from what might have been: the variance is clustered by both (Cameron, Gelbach and Miller 2011), so that
neither a few odd series nor the weather of a few origins, nor the luck of the fits there, make a verdict. All verdicts
of a comparison are corrected together (Benjamini and Hochberg 1995), and the intervals are at the level which that
leaves (Benjamini and Yekutieli 2005), so that a verdict and its interval always agree.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from .._series.arrays.streams import Floats
from .backtest import Outcome, per_line
from .folds import Fold

ERROR_RATE = 0.05  # expected share of wrong verdicts among those that are clear
MIN_SERIES = 5  # fewer give no interval worth the name
NIL_PERCENT = 0.25  # a change below this is nobody's reason to augment, however certain


@dataclass(frozen=True)
class Change:
    """Per cent of the mean MASE without augmentation, with standard error and its degrees of freedom."""

    percent: float
    error: float
    freedom: float
    series: int

    @property
    def chance(self) -> float:
        """Of a change this large if there were none (two-sided)."""
        if self.series < MIN_SERIES or not self.percent:
            return 1.0
        return float(2.0 * stats.t.sf(abs(self.percent) / max(self.error, 1e-300), self.freedom))

    def interval(self, error_rate: float) -> tuple[float, float]:
        """At the level 1 - `error_rate`."""
        reach = float(stats.t.ppf(1.0 - error_rate / 2.0, self.freedom)) * self.error
        return self.percent - reach, self.percent + reach

    def verdict(self, error_rate: float) -> str:
        """helps | hurts | cannot tell."""
        if self.chance > error_rate or abs(self.percent) < NIL_PERCENT:
            return "cannot tell"
        return "helps" if self.percent < 0 else "hurts"


def judge(outcomes: list[Outcome], folds: list[Fold], lines: int) -> list[dict[str, Any]]:
    """The verdict of each augmented outcome against the same model without."""
    plain = {o.cell.model.name: o for o in outcomes if not o.cell.wished}
    changes: list[tuple[Outcome, Change]] = []
    for outcome in (o for o in outcomes if o.cell.wished):
        before = plain[outcome.cell.model.name].by_line(folds, lines, "mase")
        after = outcome.by_line(folds, lines, "mase")
        if found := change(before, after):
            changes.append((outcome, found))
    level = error_rate_left([c.chance for _, c in changes])
    return [
        {
            "model": outcome.cell.model.name,
            "augmentation": outcome.cell.augmentation,
            "difference": round(found.percent, 3),
            "interval": [round(end, 3) for end in found.interval(level)],
            "verdict": found.verdict(level),
            "series": found.series,
            "origins": len(folds),
            "unit": "per cent of MASE; negative is better",
            "basis": "measured",
        }
        for outcome, found in changes
    ]


def error_rate_left(chances: list[float]) -> float:
    """The error rate of each single verdict that keeps the share of wrong ones among all at ERROR_RATE."""
    count = max(len(chances), 1)
    passed = [k for k, p in enumerate(sorted(chances), 1) if p <= ERROR_RATE * k / count]
    return ERROR_RATE * (passed[-1] if passed else 1) / count


def change(plain: Floats, augmented: Floats) -> Change | None:
    """The paired change between two (draw, fold, line) tables of MASE; None where no two series have both."""
    both = ~(np.isnan(per_line(plain)) | np.isnan(per_line(augmented)))
    before, after = plain[:, :, both].mean(axis=0), augmented[:, :, both].mean(axis=0)
    seen = ~np.isnan(before)
    count, mean = int(both.sum()), per_line(before[None]).mean() if both.any() else 0.0
    if count < 2 or mean == 0:
        return None
    weight = seen / seen.sum(axis=0) / count  # a series counts once, however many origins it has
    before, after = np.where(seen, before, 0.0), np.where(seen, after, 0.0)
    percent = 100.0 * float((weight * (after - before)).sum() / mean)
    error, freedom = _error(weight * (100.0 * (after - before) - percent * before) / mean)
    return Change(percent, error, freedom, count)


def _error(parts: Floats) -> tuple[float, float]:
    """Standard error of the sum of the parts (fold, line), clustered both ways, and its degrees of freedom."""
    origins, series = parts.shape
    by_series = float((parts.sum(axis=0) ** 2).sum()) * series / (series - 1)
    if origins < 2:
        return by_series**0.5, float(series - 1)
    by_origin = float((parts.sum(axis=1) ** 2).sum()) * origins / (origins - 1)
    variance = max(by_series, by_origin, by_series + by_origin - float((parts**2).sum()))
    rest = variance - by_series
    # Satterthwaite's rule for a sum of two estimated variances.
    spread = by_series**2 / (series - 1) + rest**2 / (origins - 1)
    return variance**0.5, variance**2 / spread if spread > 0 else float(series - 1)
