"""The training part of each series: rows in order of time, values, and what was stepped around."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..._core.errors import ToolError
from ..arrays.streams import Floats
from .columns import is_text
from .files import Source
from .numbers import numbers
from .roles import Asked, Roles, find_targets, resolve, training_rows
from .stamps import Stamps, cut_ticks, from_parts, stamps, with_clock


@dataclass(frozen=True)
class Series:
    """`rows[start[i]:start[i + 1]]` are the training rows of series i, in order of time, as rows of the table.

    `values` has a line for each entry of `rows` and a column for each target, in the same order.
    """

    source: Source
    roles: Roles
    ids: list[str]
    rows: Any
    start: Any
    values: Floats
    decimals: list[str | None]
    ticks: Any
    is_date: bool
    is_aware: bool
    warnings: list[str]

    @cached_property
    def lengths(self) -> Any:
        """Training rows a series."""
        return np.diff(self.start)

    def of(self, i: int) -> Floats:
        """The values of series i, (time, targets)."""
        return self.values[self.start[i] : self.start[i + 1]]


def load(
    source: Source, asked: Asked, train_until: str | int | float | None = None, *, whole: bool = False,
    channels: bool = False,
) -> Series:  # fmt: skip
    """Every series of a table up to the cut; nothing of a value after it is read.

    A column that splits training from test rows counts as a cut too, unless the `whole` table is wanted. Of several
    columns of numbers in a long table none is chosen, unless all are wanted as `channels`.
    """
    roles = resolve(source, asked)
    roles = replace(roles, split=None) if whole else roles
    codes, ids = _codes(source, roles)
    stamped = _positions(codes)
    if roles.time is not None:  # an index may have been written without a name
        parts = [roles.time, *roles.days]
        one = source.table[roles.time]
        stamped = (
            from_parts(source.table, parts, source.place)
            if roles.days
            else stamps(one, roles.time, source.place)
        )
    if roles.clock is not None:
        stamped = with_clock(stamped, source.table[roles.clock], roles.clock, source.place)
    warnings = [*source.warnings, *roles.warnings]
    train = _training(source, roles, stamped, train_until, warnings)
    kept = np.nonzero(train)[0]
    if not len(kept):
        raise ToolError("No row lies in the training part", saw=train_until, try_next="a later train_until")
    order = kept[np.lexsort((stamped.ticks[kept], codes[kept]))]
    order = _without_twins(source, roles, codes, stamped, order, warnings)
    train_table = source.table.take(pa.array(order))
    targets = find_targets(train_table, roles, channels or not roles.ids, source.path.name, warnings)
    roles = replace(roles, targets=targets)
    columns = [
        numbers(
            train_table[n], n, lambda row: source.place(int(order[row])), semicolons=source.has_semicolons
        )
        for n in targets
    ]
    _note_holes(columns, targets, warnings)
    present, start = np.unique(codes[order], return_index=True)
    return Series(
        source=source,
        roles=roles,
        ids=[ids[c] for c in present],
        rows=order,
        start=np.append(start, len(order)),
        values=np.column_stack([c.values for c in columns]),
        decimals=[c.decimal for c in columns],
        ticks=stamped.ticks[order],
        is_date=stamped.is_date,
        is_aware=stamped.is_aware,
        warnings=warnings,
    )


def _codes(source: Source, roles: Roles) -> tuple[Any, list[str]]:
    """A number for each row's series, in order of first appearance, and the ids as text."""
    if not roles.ids:
        return np.zeros(source.table.num_rows, np.int64), ["series"]
    parts = []
    for name in roles.ids:
        column = source.table[name]
        if pa.types.is_dictionary(column.type):
            column = pc.cast(column, column.type.value_type)
        absent = pc.is_null(column)
        if is_text(column.type):
            absent = pc.or_kleene(absent, pc.equal(pc.utf8_trim_whitespace(column), ""))
        if pc.any(absent).as_py():
            row = pc.index(absent, True).as_py()
            raise ToolError(
                f"Column {name!r} has a row without id", saw=source.place(row), try_next="an id there"
            )
        parts.append(pc.cast(column, pa.string()))
    joined = pc.binary_join_element_wise(*parts, "/") if len(parts) > 1 else parts[0]
    encoded = joined.combine_chunks().dictionary_encode()
    encoded = encoded.chunk(0) if isinstance(encoded, pa.ChunkedArray) else encoded
    return encoded.indices.to_numpy().astype(np.int64), encoded.dictionary.to_pylist()


def _positions(codes: Any) -> Stamps:
    """The position of each row inside its series, for tables without a time column."""
    order = np.argsort(codes, kind="stable")
    first = np.append(0, np.nonzero(np.diff(codes[order]))[0] + 1)
    sizes = np.diff(np.append(first, len(codes)))
    ticks = np.empty(len(codes), np.int64)
    ticks[order] = np.arange(len(codes)) - np.repeat(first, sizes)
    return Stamps(ticks, False)


def _training(
    source: Source, roles: Roles, stamped: Stamps, train_until: str | int | float | None, warnings: list[str]
) -> Any:
    train = np.ones(source.table.num_rows, bool)
    if train_until is not None:
        train &= stamped.ticks <= cut_ticks(train_until, stamped, roles.time or "row number")
    if roles.split:
        marked = np.asarray(training_rows(source.table, roles.split))
        if not marked.any():
            raise ToolError(
                "The table holds validation or test rows only, and those are never augmented",
                saw=f"{source.path.name}, column {roles.split!r}",
                try_next="the training rows",
            )
        if not marked.all():
            warnings.append(f"Only rows marked train in column {roles.split!r} were used")
        train &= marked
    return train


def _without_twins(
    source: Source, roles: Roles, codes: Any, stamped: Stamps, order: Any, warnings: list[str]
) -> Any:
    """Drop rows that repeat a row of the same series and time; refuse two that differ."""
    same = (np.diff(codes[order]) == 0) & (np.diff(stamped.ticks[order]) == 0)
    if not same.any():
        return order
    later = np.nonzero(same)[0] + 1
    first, second = source.table.take(pa.array(order[later - 1])), source.table.take(pa.array(order[later]))
    equal = np.ones(len(later), bool)
    for name in roles.targets or source.table.column_names:
        left, right = (np.asarray(pc.fill_null(pc.cast(t[name], pa.string()), "")) for t in (first, second))
        equal &= left == right
    if not equal.all():
        at = later[int(np.argmin(equal))]
        where = source.place(int(order[at]))
        fix = "" if roles.ids else "id_column if they belong to different series, or "
        raise ToolError(
            "Two rows of one series have the same time stamp and differ",
            saw=f"{source.place(int(order[at - 1]))} and {where}",
            try_next=f"{fix}keeping one of them (a doubled hour when clocks change: write the UTC offset)",
        )
    warnings.append(f"{len(later)} rows repeat another row exactly; each was used once")
    return np.delete(order, later)


def _note_holes(columns: list[Any], targets: tuple[str, ...], warnings: list[str]) -> None:
    for name, column in zip(targets, columns, strict=True):
        if column.infinite:
            warnings.append(f"{column.infinite} infinite values in {name!r} count as missing")
        if column.missing:
            warnings.append(f"{column.missing} missing values in {name!r}")
