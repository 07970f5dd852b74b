"""`augment`: the synthetic rows of a table, for each series its copies, method by method.

What a series gets depends on its own training rows, the wishes and the seed only, so a table may be cut into any
blocks of whole series.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .._core.errors import ToolError
from .apply import Donors, apply, draw_donors, fates, finish
from .arrays.streams import Floats
from .arrays.warps import nearest_steps
from .intake.columns import is_calendar
from .intake.files import TEXT
from .intake.grid import find_grid
from .intake.numbers import as_text, is_numeric, numbers
from .intake.series import Series
from .methods import Wish

COPY_ID = "{}__{}_{}"
NEW_ID_COLUMN = "unique_id"  # for a table that is one series and has no id column


@dataclass(frozen=True)
class Copies:
    """The synthetic values with, for each row, where it is from; `entries` has one line a copy."""

    template: Any  # row of the original table each synthetic row was made from
    nearest: Any  # row it is nearest to after a warp: labels per step follow it
    values: Floats  # (rows, targets)
    covariates: Floats  # (rows, measured covariates)
    entries: list[dict[str, Any]]
    dropped: Counter[tuple[str, str]] = field(default_factory=Counter)


@dataclass(frozen=True)
class Setting:
    """What all copies of a table share."""

    seed: int
    season: int = 1
    donors: Donors | None = None
    threads: int | None = None


def setting_for(series: Series, wishes: list[Wish], seed: int, threads: int | None = None) -> Setting:
    """The season from the time steps, and the donors where a method mixes."""
    season = find_grid(series.ticks, series.start, series.is_date).season
    if not any(w.method.donors for w in wishes):
        return Setting(seed, season, None, threads)
    drawn = draw_donors(series.ids, seed)
    donors = Donors([series.ids[i] for i in drawn], [bridge(series.of(i)[None])[0] for i in drawn])
    return Setting(seed, season, donors, threads)


def augment(series: Series, wishes: list[Wish], copies: int, setting: Setting) -> Copies:
    """All copies of all series, a series after the other."""
    measured = _measured(series, wishes)
    count = len(wishes) * copies
    total = len(series.rows)
    base = np.append(0, np.cumsum(series.lengths * count))
    stacked = np.hstack([series.values, measured])
    result = np.empty((total * count, stacked.shape[1]))
    template = np.empty(total * count, np.int64)
    nearest = np.empty(total * count, np.int64)
    fate = np.full((len(series.ids), count), "", dtype=object)
    targets = series.values.shape[1]
    for length in np.unique(series.lengths):
        members = np.nonzero(series.lengths == length)[0]
        at = series.start[members][:, None] + np.arange(length)[None, :]
        x, rows = stacked[at], series.rows[at]
        names = [series.ids[i] for i in members]
        for number in range(count):
            wished, copy = wishes[number // copies], number % copies + 1
            made, near = _make(x, names, wished, copy, setting, targets)
            to = base[members][:, None] + number * length + np.arange(length)[None, :]
            result[to], template[to], nearest[to] = made, rows, np.take_along_axis(rows, near, axis=1)
            fate[members, number] = fates(x[:, :, :targets], made[:, :, :targets], wished, setting.season)
    return _kept(series, wishes, copies, base, Copies(template, nearest, result, result, []), fate, targets)


def synthetic_table(series: Series, copies: Copies, whole: bool = False) -> pa.Table:
    """The copies as rows of the original table's columns, ids replaced, with is_synthetic and source_id."""
    source, roles = series.source, series.roles
    table = source.table.take(pa.array(copies.template))
    sizes = [e["rows"] for e in copies.entries]
    columns = {name: table[name] for name in table.column_names}
    for name, new in _id_columns(series, copies, sizes, columns).items():
        columns[name] = _like(new, source.table[name].type) if name in table.column_names else new
    for k, name in enumerate(roles.targets):
        columns[name] = _typed(copies.values[:, k], series, name, series.decimals[k], whole)
    for k, name in enumerate(measured_names(series)):
        if copies.covariates.shape[1]:
            columns[name] = _typed(copies.covariates[:, k], series, name, ".", False)
    if roles.label:
        columns[roles.label] = source.table[roles.label].take(pa.array(copies.nearest))
    origin = np.repeat(np.array([e["source_id"] for e in copies.entries], dtype=object), sizes)
    return with_marks(pa.table(columns), True, pa.array(origin, pa.string()), source.kind)


def original_table(series: Series, whole: bool = False) -> pa.Table:
    """The original rows with the columns that tell them from copies.

    Integer targets widen to double unless the copies are `whole` numbers too; an integer id turns to text.
    """
    source = series.source
    table, roles = source.table, series.roles
    columns = {}
    for name in table.column_names:
        column = table[name]
        if name in roles.targets and pa.types.is_integer(column.type) and not whole:
            column = pc.cast(column, pa.float64(), safe=False)
        columns[name] = column
    if not roles.ids:
        own: Any = pa.array(["series"] * table.num_rows, pa.string())
        columns[NEW_ID_COLUMN] = own
    else:
        parts = [pc.cast(_plain(table[n]), pa.string()) for n in roles.ids]
        own = pc.binary_join_element_wise(*parts, "/") if len(parts) > 1 else parts[0]
        columns[roles.ids[-1]] = _like(parts[-1], table[roles.ids[-1]].type)
    return with_marks(pa.table(columns), False, own, source.kind)


def with_marks(table: pa.Table, synthetic: bool, origin: Any, kind: str) -> pa.Table:
    """The table with its two further columns."""
    flag = pa.array(np.full(table.num_rows, synthetic))
    if kind == TEXT:
        flag = pa.array(["True" if synthetic else "False"] * table.num_rows)
    return table.append_column("is_synthetic", flag).append_column("source_id", origin)


def measured_names(series: Series) -> list[str]:
    """Covariates that were measured beside the target and bend with it: numbers with fractions, not calendar."""
    roles, table = series.roles, series.source.table
    taken = {*roles.ids, roles.time, roles.split, roles.label, *roles.targets}
    names = [n for n in table.column_names if n not in taken and not is_calendar(n)]
    return [n for n in names if _is_fractional(table[n].take(pa.array(series.rows)))]


def _is_fractional(column: pa.ChunkedArray) -> bool:
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return is_numeric(column) and bool(pc.any(pc.match_substring(column, ".")).as_py())
    return bool(pa.types.is_floating(column.type))


def _measured(series: Series, wishes: list[Wish]) -> Floats:
    if not any(w.method.kind == "time" for w in wishes):
        return np.empty((len(series.rows), 0))
    table = series.source.table
    picked = [
        numbers(table[n].take(pa.array(series.rows)), n, series.source.place) for n in measured_names(series)
    ]
    return np.column_stack([p.values for p in picked]) if picked else np.empty((len(series.rows), 0))


def _make(
    x: Floats, names: list[str], wished: Wish, copy: int, setting: Setting, targets: int
) -> tuple[Floats, Any]:
    """The copies of equally long series, and for each step the original step it is nearest to."""
    call: dict[str, Any] = {
        "seed": setting.seed,
        "season": setting.season,
        "donors": setting.donors,
        "threads": setting.threads,
    }
    stay = np.broadcast_to(np.arange(x.shape[1]), x.shape[:2])
    if wished.method.kind == "time":
        made = apply(wished, x, names, copy, **call).copy()
        made[:, :, :targets] = finish(made[:, :, :targets], wished)
        return made, _nearest(x.shape[1], names, wished, copy, setting) if made is not x else stay
    values, made = x[:, :, :targets], x.copy()
    new = apply(wished, bridge(values) if wished.method.kind == "whole" else values, names, copy, **call)
    made[:, :, :targets] = np.where(np.isnan(values), np.nan, finish(new, wished))
    return made, stay


def _nearest(steps: int, names: list[str], wished: Wish, copy: int, setting: Setting) -> Any:
    if steps < wished.method.least(setting.season):
        return np.broadcast_to(np.arange(steps), (len(names), steps))
    return nearest_steps(
        wished.name, steps, seed=setting.seed, ids=names, copy=copy, parameters=wished.parameters
    )


def bridge(x: Floats) -> Floats:
    """Holes filled on a straight line between their neighbours, ends with the nearest value; all-missing with 0."""
    holes = np.isnan(x)
    if not holes.any():
        return x
    filled = x.copy()
    for i, c in zip(*np.nonzero(holes.any(axis=1)), strict=True):
        line, gone = filled[i, :, c], holes[i, :, c]
        line[gone] = 0.0 if gone.all() else np.interp(np.nonzero(gone)[0], np.nonzero(~gone)[0], line[~gone])
    return filled


def _kept(
    series: Series, wishes: list[Wish], copies: int, base: Any, all_of: Copies, fate: Any, targets: int
) -> Copies:
    keep = np.ones(len(all_of.template), bool)
    entries: list[dict[str, Any]] = []
    dropped: Counter[tuple[str, str]] = Counter()
    row = 0
    for i, (name, length) in enumerate(zip(series.ids, series.lengths.tolist(), strict=True)):
        for number in range(fate.shape[1]):
            method = wishes[number // copies].name
            if why := fate[i, number]:
                first = base[i] + number * length
                keep[first : first + length] = False
                dropped[method, why] += 1
                continue
            copy = number % copies + 1
            entries.append(
                {
                    "id": COPY_ID.format(name, method, copy),
                    "source_id": name,
                    "method": method,
                    "number": copy,
                    "first_row": row,
                    "rows": length,
                    "series": i,
                }
            )
            row += length
    if clash := {e["id"] for e in entries} & set(series.ids):
        raise ToolError(
            "A series of the table has the id that a copy would get",
            saw=f"{sorted(clash)[0]!r} in {series.source.path.name}",
            try_next="renaming it, or leaving copies made earlier out",
        )
    template, nearest, values = (
        a if keep.all() else a[keep] for a in (all_of.template, all_of.nearest, all_of.values)
    )
    return Copies(template, nearest, values[:, :targets], values[:, targets:], entries, dropped)


def _id_columns(series: Series, copies: Copies, sizes: list[int], columns: dict[str, Any]) -> dict[str, Any]:
    """The id column of the copies; with several, the last one carries the copy's mark."""
    ids = series.roles.ids
    if len(ids) < 2:
        new = np.repeat(np.array([e["id"] for e in copies.entries], dtype=object), sizes)
        return {ids[0] if ids else NEW_ID_COLUMN: pa.array(new, pa.string())}
    marks = np.array([f"__{e['method']}_{e['number']}" for e in copies.entries], dtype=object)
    tail = pa.array(np.repeat(marks, sizes), pa.string())
    old = pc.cast(_plain(columns[ids[-1]]), pa.string())
    return {ids[-1]: pc.binary_join_element_wise(old, tail, "")}


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.cast(column, column.type.value_type) if pa.types.is_dictionary(column.type) else column


def _like(ids: Any, kind: pa.DataType) -> Any:
    """Ids as text, encoded as a dictionary where the original column was."""
    return pc.cast(ids, pa.string()).dictionary_encode() if pa.types.is_dictionary(kind) else ids


def _typed(values: Floats, series: Series, name: str, decimal: str | None, whole: bool) -> Any:
    """Synthetic values in the type of their column: text as the file writes numbers, decimals at their scale."""
    kind = series.source.table[name].type
    if series.source.kind == TEXT or pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return pa.array(as_text(values, decimal or "."), pa.string())
    array = pa.array(values, from_pandas=True)
    if pa.types.is_decimal(kind):
        return pc.cast(pc.round(array, kind.scale), kind, safe=False)
    return array if pa.types.is_integer(kind) and not whole else pc.cast(array, kind, safe=False)
