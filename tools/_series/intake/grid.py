"""The even grid behind time stamps: how often a series is observed, its season, and where it has gaps."""

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np

_SECOND = 10**9
_HOUR, _DAY, _WEEK = 3600 * _SECOND, 86_400 * _SECOND, 7 * 86_400 * _SECOND
_MONTH_DAYS = {
    1: (28, 31),
    3: (89, 92),
    12: (365, 366),
}  # shortest and longest distance of month, quarter, year
_SEASONS = {_HOUR // 4: 96, _HOUR // 2: 48, _HOUR: 24, _DAY: 7, _WEEK: 52}
_MONTH_SEASONS = {1: 12, 3: 4, 12: 1}
_UNEVEN = 0.05  # a share of steps off the grid above which spacing is ignored


@dataclass(frozen=True)
class Grid:
    """`months` a step for calendar steps, else `step` ticks; both 0 where the stamps follow no grid."""

    step: int = 0
    months: int = 0
    is_date: bool = False
    is_business: bool = False  # days without weekends
    is_aware: bool = False  # the stamps have a UTC offset

    @property
    def season(self) -> int:
        """The usual season at this step; 1 where none is usual."""
        if self.is_business:
            return 5
        return _MONTH_SEASONS.get(self.months, 1) if self.months else _SEASONS.get(self.step, 1)

    @property
    def name(self) -> str:
        """The step in words."""
        if self.is_business:
            return "business day"
        named = {1: "month", 3: "quarter", 12: "year"}
        if self.months:
            return named[self.months]
        if not self.is_date:
            return f"{self.step} (numbers)" if self.step else "uneven"
        if not self.step:
            return "uneven"
        seconds = float(self.step / _SECOND)
        words = {60.0: "minute", 3600.0: "hour", 86400.0: "day", 604800.0: "week"}
        return words.get(seconds, f"step of {seconds:g} s")

    def number(self, ticks: Any) -> Any:
        """The step each tick lies on, rounded."""
        if self.months:
            return _months(ticks) // self.months
        if self.is_business:
            return np.busday_count(_days(ticks[:1]), _days(ticks))
        return (
            np.rint((ticks - ticks[0]) / self.step).astype(np.int64) if self.step else np.arange(len(ticks))
        )

    def after(self, last: Any, count: int) -> list[str]:
        """The `count` time stamps that follow `last`, as text."""
        if self.months:
            first = np.array([last], "datetime64[ns]").astype("datetime64[M]")
            day = np.array([last], "datetime64[ns]") - first.astype("datetime64[ns]")
            ahead = first + np.arange(1, count + 1) * self.months
            room = (
                (ahead + 1).astype("datetime64[D]") - ahead.astype("datetime64[D]") - np.timedelta64(1, "D")
            )
            stamps = ahead.astype("datetime64[ns]") + np.minimum(day, room.astype("timedelta64[ns]"))
        elif self.is_business:
            day = np.array([last], "datetime64[ns]").astype("datetime64[D]")
            stamps = np.busday_offset(day, np.arange(1, count + 1), roll="backward").astype("datetime64[ns]")
        elif self.is_date and self.step:
            stamps = np.array([last], "datetime64[ns]") + np.arange(1, count + 1) * np.timedelta64(
                self.step, "ns"
            )
        elif self.is_date:
            return [f"+{k}" for k in range(1, count + 1)]
        else:
            return [str(k) for k in (int(last) + np.arange(1, count + 1) * (self.step or 1)).tolist()]
        whole = np.datetime_as_string(stamps, unit="s")
        if self.is_aware:
            return [f"{t}Z" for t in whole.tolist()]
        return [t.removesuffix("T00:00:00") for t in whole.tolist()]


def find_grid(ticks: Any, start: Any, is_date: bool) -> Grid:
    """The commonest step inside series, as calendar months where the distances say so."""
    inside = np.ones(max(len(ticks) - 1, 0), bool)
    inside[np.asarray(start[1:-1], dtype=np.int64) - 1] = False
    gaps = np.diff(ticks)[inside]
    if not len(gaps):
        return Grid(0, 0, is_date)
    sizes, counts = np.unique(gaps, return_counts=True)
    days = sizes[np.argmax(counts)] / _DAY if is_date else 0.0
    for months, (short, long) in _MONTH_DAYS.items():
        if short <= days <= long:
            return Grid(0, months, True)
    step = int(sizes[np.argmax(counts)])
    if step <= 0 or (gaps / step != np.rint(gaps / step)).mean() > _UNEVEN:
        return Grid(0, 0, is_date)
    skips = step == _DAY and bool((sizes > _DAY).any())
    is_business = is_date and skips and bool(np.is_busday(_days(ticks)).all())
    return Grid(step, 0, is_date, is_business)


def missing_steps(ticks: Any, start: Any, grid: Grid) -> int:
    """How many steps of the grid inside the series have no row."""
    if not grid.step and not grid.months:
        return 0
    count = 0
    for a, b in itertools.pairwise(np.asarray(start).tolist()):
        number = grid.number(ticks[a:b])
        count += int(number[-1] - number[0]) + 1 - len(np.unique(number))
    return count


def _days(ticks: Any) -> Any:
    return np.asarray(ticks, np.int64).astype("datetime64[ns]").astype("datetime64[D]")


def _months(ticks: Any) -> Any:
    return np.asarray(ticks, np.int64).astype("datetime64[ns]").astype("datetime64[M]").astype(np.int64)
