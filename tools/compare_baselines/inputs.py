"""What a comparison reads: a table of series over time, or labelled cases."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np

from .._core.errors import ToolError
from .._series.intake.cases import Cases, from_npz, from_table, nested_column
from .._series.intake.files import ARRAYS, Source, kind_of, read, read_folder
from .._series.intake.roles import Asked
from .._series.intake.series import Series, load


def read_series(request: dict[str, Any]) -> Series:
    """All rows of every series, in order of time."""
    path = Path(request["path"])
    if path.is_file() and kind_of(path) == ARRAYS:
        raise ToolError(
            "Arrays have no time stamps", saw=path.name, try_next="a table, or label_column to classify"
        )
    source = _table(path)
    if column := nested_column(source.table, None):
        raise ToolError(
            "The table has a series in each row",
            saw=f"{path.name}, column {column!r}",
            try_next="one time step a row, or label_column to classify",
        )
    return load(source, _asked(request), whole=True)


def read_cases(request: dict[str, Any]) -> Cases:
    """Labelled series: arrays, lists in a column, or a table with one time step a row."""
    path = Path(request["path"])
    if path.is_file() and kind_of(path) == ARRAYS:
        return from_npz(path)
    source = _table(path)
    if column := nested_column(source.table, None):
        return from_table(source, column, request["id_column"], request["label_column"], None)
    series = load(source, _asked(request), whole=True, channels=True)
    values, notes = [series.of(i) for i in range(len(series.ids))], list(series.warnings)
    if len(series.roles.targets) > 1:
        notes.append(f"{len(series.roles.targets)} channels: {', '.join(series.roles.targets)[:100]}")
    return Cases(series.ids, values, _labels(source, series), np.ones(len(values), bool), "", warnings=notes)


def _labels(source: Source, series: Series) -> list[str]:
    if not series.roles.ids:
        raise ToolError(
            "The table has no id column, so all its rows are one series",
            saw=source.path.name,
            try_next="a row a time step with an id; one series a row goes into npz (x, y) or a column of lists",
        )
    labels = source.table[series.roles.label].to_pylist()
    own = [{str(labels[r]) for r in series.rows[a:b]} for a, b in itertools.pairwise(series.start.tolist())]
    if mixed := [i for i, found in enumerate(own) if len(found) > 1]:
        raise ToolError(
            "A series has more than one label",
            saw=f"{series.ids[mixed[0]]}: {', '.join(sorted(own[mixed[0]])[:3])}",
            try_next="one label a series (labels per step are for augment_series)",
        )
    return [found.pop() for found in own]


def _table(path: Path) -> Source:
    return read_folder(path) if path.is_dir() else read(path)


def _asked(request: dict[str, Any]) -> Asked:
    ids = request["id_column"]
    return Asked(
        ids=(ids,) if isinstance(ids, str) else tuple(ids) if ids else None,
        time=request["time_column"],
        targets=(request["target_column"],) if request["target_column"] else None,
        label=request["label_column"],
    )
