"""Series on an even grid, one target each, ready for a backtest: holes are bridged for fitting and never scored."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from .._core.errors import ToolError
from .._series.arrays.streams import Floats
from .._series.intake.grid import Grid, find_grid
from .._series.intake.series import Series

MIN_POINTS = 3  # to fit anything at all
SMALLEST, LARGEST = 1e-150, 1e150  # beyond them squares vanish or overflow


@dataclass(frozen=True)
class Line:
    """One series: `y` has NaN where nothing was observed."""

    id: str
    y: Floats
    last: Any

    @property
    def bridged(self) -> Floats:
        """Without holes: on a straight line between neighbours."""
        gone = np.isnan(self.y)
        if not gone.any():
            return self.y
        at = np.arange(len(self.y))
        return np.interp(at, at[~gone], self.y[~gone])


@dataclass(frozen=True)
class Panel:
    """All usable series, with what was left out and why."""

    lines: list[Line]
    grid: Grid
    left_out: dict[str, str]
    warnings: list[str]


def panel(series: Series, horizon: int) -> Panel:
    """Each target of each series as a line; unusable ones are left out with the reason."""
    grid = find_grid(series.ticks, series.start, series.is_date)
    lines, left_out, gaps = [], {}, 0
    for i, name in enumerate(series.ids):
        ticks, values = series.ticks[series.start[i] : series.start[i + 1]], series.of(i)
        number = grid.number(ticks)
        number = number - number[0]
        for k, target in enumerate(series.roles.targets):
            own = (
                name
                if len(series.roles.targets) == 1
                else target
                if len(series.ids) == 1
                else f"{name}/{target}"
            )
            y = np.full(int(number[-1]) + 1, np.nan)
            y[number] = values[:, k]
            seen = np.nonzero(~np.isnan(y))[0]
            if len(seen) < MIN_POINTS + 1:
                left_out[own] = f"{len(seen)} values, {MIN_POINTS + 1} are needed for a test"
                continue
            largest = np.nanmax(np.abs(y))
            if largest > LARGEST or 0 < largest < SMALLEST:
                left_out[own] = f"a size of {largest:.2g}, whose square is out of range; scale it first"
                continue
            last = ticks[np.searchsorted(number, seen[-1])]
            y = y[seen[0] : seen[-1] + 1]
            gaps += int(np.isnan(y).sum())
            lines.append(Line(own, y, last))
    if not lines:
        raise ToolError(
            "No series is long enough for a backtest",
            saw=next(iter(left_out.items()), "no series"),
            try_next=f"a shorter horizon than {horizon}, or more history",
        )
    warnings = list(series.warnings)
    if gaps:
        warnings.append(f"{gaps} missing steps are bridged on a straight line for fitting and never scored")
    if not grid.step and not grid.months:
        warnings.append("The time stamps follow no even grid: their order is used, their spacing is not")
    return Panel(lines, grid, left_out, warnings)
