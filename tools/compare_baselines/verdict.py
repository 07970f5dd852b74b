"""Does an augmentation help a model? The paired change of MASE in per cent, asked twice.

`verdict`: on the origins that were asked for, would other series like these move the same way, whatever the luck of the
fits? The variance is clustered by series; the spread between draws of the copies is added. `elsewhere`: does it hold
on other origins? Further ones are added, and series and origins are both drawn from what might have been: clustered by
both (Cameron, Gelbach and Miller 2011), so that the weather of a few origins is no finding.

Fits of both sides are paired by their seeds. The change is a ratio of means, its deviation that of the linearised
ratio. The verdicts of a comparison are corrected together (Holm 1979), and the intervals are at the level which that
leaves, so that a verdict and its interval always agree.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from .._series.arrays.streams import Floats
from .backtest import Outcome, mean_over_first, per_line
from .folds import Fold

ERROR_RATE = 0.05  # chance of any wrong verdict in a comparison
MIN_SERIES = 5  # fewer give no interval worth the name
NIL_PERCENT = 0.1  # a change below this is nobody's reason to augment, however certain


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


def judge(
    outcomes: list[Outcome], folds: list[Fold], further: list[Fold], lines: int
) -> list[dict[str, Any]]:
    """The verdict of each model with copies or pre-training against it without, on `folds` and on all origins."""
    plain = {o.cell.model.name: o for o in outcomes if not o.cell.wished}
    pairs = [(plain[o.cell.against], o) for o in outcomes if o.cell.against in plain]
    here = _judged(pairs, folds, lines, change_here)
    anywhere = _judged(pairs, [*folds, *further], lines, change_anywhere)
    against = {(o.cell.model.name, o.cell.augmentation): o.cell.against for _, o in pairs}
    return [
        {
            "model": model,
            "augmentation": augmentation,
            "against": against[model, augmentation],
            **found,
            "holds_elsewhere": holds(found["verdict"], anywhere[model, augmentation]["verdict"]),
            "elsewhere": anywhere[model, augmentation],
            "unit": "per cent of MASE; negative is better",
            "basis": "measured",
        }
        for (model, augmentation), found in here.items()
    ]


def _judged(
    pairs: list[tuple[Outcome, Outcome]], folds: list[Fold], lines: int, measure: Callable[..., Change | None]
) -> dict[tuple[str, str], dict[str, Any]]:
    """What is found of each pair on these folds, corrected together."""
    changes = {}
    for before, after in pairs:
        tables = (o.by_line(folds, lines, "mase") for o in (before, after))
        if found := measure(*tables):
            changes[after.cell.model.name, after.cell.augmentation] = found
    level = error_rate_left([c.chance for c in changes.values()])
    return {
        key: {
            "difference": round(found.percent, 3),
            "interval": [round(end, 3) for end in found.interval(level)],
            "verdict": found.verdict(level),
            "series": found.series,
            "origins": len(folds),
        }
        for key, found in changes.items()
    }


def holds(here: str, anywhere: str) -> str | None:
    """yes | no | cannot tell; None where there is nothing to hold."""
    if here == "cannot tell":
        return None
    return "cannot tell" if anywhere == "cannot tell" else "yes" if anywhere == here else "no"


def error_rate_left(chances: list[float]) -> float:
    """The error rate of each single verdict that keeps the chance of any wrong one at ERROR_RATE (Holm's rule)."""
    count = max(len(chances), 1)
    for passed, chance in enumerate(sorted(chances)):
        if chance > ERROR_RATE / (count - passed):
            return ERROR_RATE / (count - max(passed - 1, 0))
    return ERROR_RATE


@dataclass(frozen=True)
class _Paired:
    """The change in per cent, and what each draw, origin and series adds to it, (draw, fold, line)."""

    percent: float
    parts: Floats

    @property
    def by_series(self) -> float:
        """Variance of the change, clustered by series."""
        count = self.parts.shape[2]
        return float((self._mean.sum(axis=0) ** 2).sum() * count / (count - 1))

    @property
    def by_origin(self) -> float:
        """Variance of the change, clustered by origin."""
        count = self.parts.shape[1]
        return float((self._mean.sum(axis=1) ** 2).sum() * count / (count - 1))

    @property
    def by_both(self) -> float:
        """What the two others count twice."""
        return float((self._mean**2).sum())

    @property
    def _mean(self) -> Floats:
        return np.asarray(self.parts.mean(axis=0))

    @property
    def of_draws(self) -> float:
        """Variance from the luck of the fits; each origin has draws of its own."""
        draws = len(self.parts)
        return float(self.parts.sum(axis=2).var(axis=0, ddof=1).sum()) / draws if draws > 1 else 0.0


def change_here(plain: Floats, augmented: Floats) -> Change | None:
    """The change between two (draw, fold, line) tables of MASE for such series on these very origins."""
    paired, count = _pair(plain, augmented)
    if paired is None:
        return None
    luck = paired.of_draws
    draws, origins, _ = paired.parts.shape
    freedom = _freedom((paired.by_series, count - 1), (luck, max(origins * (draws - 1), 1)))
    return Change(paired.percent, (paired.by_series + luck) ** 0.5, freedom, count)


def change_anywhere(plain: Floats, augmented: Floats) -> Change | None:
    """The same for other origins too, which holds the luck of the fits as well: each origin has its own."""
    paired, count = _pair(mean_over_first(plain)[None], mean_over_first(augmented)[None])
    if paired is None:
        return None
    origins = paired.parts.shape[1]
    if origins < 2:
        return Change(paired.percent, float("inf"), 1.0, count)
    by_series, by_origin = paired.by_series, paired.by_origin
    variance = max(by_series, by_origin, by_series + by_origin - paired.by_both)
    freedom = _freedom((by_series, count - 1), (variance - by_series, origins - 1))
    return Change(paired.percent, variance**0.5, freedom, count)


def _pair(plain: Floats, augmented: Floats) -> tuple[_Paired | None, int]:
    """The paired change over series that have both, and their number; None below two series."""
    both = ~(np.isnan(per_line(plain)) | np.isnan(per_line(augmented)))
    before, after = plain[:, :, both], augmented[:, :, both]
    seen = ~np.isnan(before[0])
    count = int(both.sum())
    mean = per_line(before).mean() if count else 0.0
    if count < 2 or mean == 0:
        return None, count
    weight = seen / seen.sum(axis=0) / count  # a series counts once, however many origins it has
    before, after = np.where(seen, before, 0.0), np.where(seen, after, 0.0)
    percent = 100.0 * float((weight * (after - before).mean(axis=0)).sum() / mean)
    return _Paired(percent, weight * (100.0 * (after - before) - percent * before) / mean), count


def _freedom(*estimates: tuple[float, float]) -> float:
    """Degrees of freedom of a sum of estimated variances, by Satterthwaite's rule."""
    spread = sum(variance**2 / freedom for variance, freedom in estimates)
    total = sum(variance for variance, _ in estimates)
    return total**2 / spread if spread > 0 else min(freedom for _, freedom in estimates)
