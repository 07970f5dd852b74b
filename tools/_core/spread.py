"""How sure a ratio of repeated measurements is: its 95 % interval."""

import math
import statistics
from dataclasses import dataclass

# Student's t, 97.5 % point by degrees of freedom (any table of the distribution); beyond the last one the normal's.
_T = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip
_NORMAL = 1.960


@dataclass(frozen=True)
class Ratio:
    """After divided by before, with the interval that holds the true one in 95 of 100 cases."""

    value: float
    low: float
    high: float


def paired_ratio(before: list[float], after: list[float]) -> Ratio:
    """For runs taken in turns: the mean of each turn's own ratio, so that slow drifts of the machine cancel."""
    assert len(before) == len(after) >= 2
    logs = [math.log(late / early) for early, late in zip(before, after, strict=True)]
    return _interval(statistics.fmean(logs), statistics.stdev(logs) / math.sqrt(len(logs)), len(logs) - 1)


def ratio_of(before: list[float], after: list[float]) -> Ratio:
    """For runs taken apart: the ratio of the (geometric) means, by Welch's method on logarithms."""
    assert len(before) >= 2 and len(after) >= 2
    logs = [[math.log(value) for value in values] for values in (before, after)]
    errors = [statistics.variance(values) / len(values) for values in logs]
    freedom = (
        sum(errors) ** 2 / sum(e**2 / (len(v) - 1) for e, v in zip(errors, logs, strict=True))
        if any(errors)
        else 1
    )
    middle = statistics.fmean(logs[1]) - statistics.fmean(logs[0])
    return _interval(middle, math.sqrt(sum(errors)), freedom)


def _interval(middle: float, error: float, freedom: float) -> Ratio:
    t = _T[int(freedom) - 1] if freedom < len(_T) + 1 else _NORMAL
    return Ratio(math.exp(middle), math.exp(middle - t * error), math.exp(middle + t * error))
