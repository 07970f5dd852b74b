"""Series on an even grid, one target each, ready for a backtest: holes are bridged for fitting and never scored."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .._core.errors import ToolError
from .._series.arrays.streams import Floats
from .._series.intake.grid import Grid, find_grid
from .._series.intake.series import Series

MIN_POINTS = 3  # to fit anything at all
LEAST_SEEN = 0.4  # of the steps, for bridging to be more than invention
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
    grid = replace(find_grid(series.ticks, series.start, series.is_date), is_aware=series.is_aware)
    lines, left_out, gaps = [], {}, 0
    for i, name in enumerate(series.ids):
        ticks, values = series.ticks[series.start[i] : series.start[i + 1]], series.of(i)
        number = grid.number(ticks)
        number = number - number[0]
        for k, target in enumerate(series.roles.targets):
            own = _name(series, name, target)
            y = np.full(int(number[-1]) + 1, np.nan)
            y[number] = values[:, k]
            if why := _why_not(y, grid):
                left_out[own] = why
                continue
            seen = np.nonzero(~np.isnan(y))[0]
            last = ticks[np.searchsorted(number, seen[-1])]
            y = y[seen[0] : seen[-1] + 1]
            gaps += int(np.isnan(y).sum())
            lines.append(Line(own, y, last))
    if not lines:
        raise ToolError(
            "No series can be used for a backtest",
            saw="{}: {}".format(*next(iter(left_out.items()), ("none", "no series"))),
            try_next=f"more history, a shorter horizon than {horizon}, or a table with a row for each time step",
        )
    return Panel(lines, grid, left_out, _notes(series, grid, gaps))


def _name(series: Series, name: str, target: str) -> str:
    if len(series.roles.targets) == 1:
        return name
    return target if len(series.ids) == 1 else f"{name}/{target}"


def _why_not(y: Floats, grid: Grid) -> str | None:
    """Why a series is left out."""
    seen = np.nonzero(~np.isnan(y))[0]
    if len(seen) < MIN_POINTS + 1:
        return f"{len(seen)} values, {MIN_POINTS + 1} are needed for a test"
    largest = np.nanmax(np.abs(y))
    if largest > LARGEST or 0 < largest < SMALLEST:
        return f"a size of {largest:.2g}, whose square is out of range; scale it first"
    steps = int(seen[-1] - seen[0]) + 1
    if len(seen) < LEAST_SEEN * steps:
        return (
            f"{len(seen)} values on {steps} steps of one {grid.name}: too many gaps, or another step than most of "
            "the table (such series belong in a file of their own, month ends and starts are not to be mixed)"
        )
    return None


def _notes(series: Series, grid: Grid, gaps: int) -> list[str]:
    warnings = list(series.warnings)
    used = {*series.roles.taken, *series.roles.targets}
    if others := [name for name in series.source.table.column_names if name not in used]:
        warnings.append(f"Not used, since these models see the series alone: {', '.join(others)[:100]}")
    if gaps:
        warnings.append(f"{gaps} missing steps are bridged on a straight line for fitting and never scored")
    if not grid.step and not grid.months:
        warnings.append("The time stamps follow no even grid: their order is used, their spacing is not")
    return warnings
