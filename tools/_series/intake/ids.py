"""What tells the series of a table apart, and the time of day that stands in a column of its own."""

import itertools
import re

import pyarrow as pa

from ..._core.errors import ToolError
from .columns import LOOKED_AT, distinct_rows, is_calendar, is_text, is_whole
from .files import ID_NAMES, Source
from .numbers import is_numeric

_CLOCK = re.compile(r"^\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?$")
_HOURS = ("hour", "hr", "hour_of_day")
_ENTITY = re.compile(
    r"store|shop|outlet|branch|item|product|article|family|dep(ar)?t|categor|customer|client|user|account|patient|subject"
    r"|sensor|meter|station|machine|engine|unit|device|asset|turbine|vehicle|pump|site|location|region|city|country|zone"
    r"|building|plant|warehouse|route|(^|[a-z_ ])(id|nbr|no|nr|num|number|code|key)$",
    re.I,
)  # what whole numbers may name; a settlement period is no thing
_MOST_ID_COLUMNS = 3


def find_date(table: pa.Table, free: list[str]) -> list[str]:
    """Year, month and perhaps day in columns of their own, all whole numbers; none without year and month."""
    named = {n.lower(): n for n in free if n.lower() in ("year", "month", "day") and is_whole(table[n])}
    if "year" not in named or "month" not in named:
        return []
    return [named[part] for part in ("year", "month", "day") if part in named]


def find_clock(table: pa.Table, free: list[str]) -> str | None:
    """The column with the time of day beside one of dates: 17:30 as text, or an hour as a whole number."""
    for name in free:
        shown = table[name].slice(0, LOOKED_AT).to_pylist()
        if is_text(table[name].type) and all(t is not None and _CLOCK.match(t.strip()) for t in shown):
            return name
        if name.lower() in _HOURS and is_whole(table[name]):
            return name
    return None


def settle_ids(
    source: Source,
    asked: tuple[str, ...] | None,
    free: list[str],
    date: list[str],
    clock: str | None,
    warnings: list[str],
) -> tuple[tuple[str, ...], str | None]:
    """The ids, and the clock where the rows of a series need it, beside the columns of the date, to be told apart."""

    def ids(beside: list[str], notes: list[str]) -> tuple[str, ...]:
        return asked if asked is not None else _find_ids(source, free, beside, notes)

    notes: list[str] = []
    found = ids(date, notes)
    if clock and distinct_rows(source.table, [*found, *date]) < source.table.num_rows:
        notes = []
        found = ids([*date, clock], notes)
    else:
        clock = None
    stamp = [*date, *([clock] if clock else [])]
    warnings += notes
    if len(stamp) > 1:
        warnings.append(f"{', '.join(map(repr, stamp))} are read together as the time stamp")
    return found, clock


def _find_ids(source: Source, free: list[str], beside: list[str], warnings: list[str]) -> tuple[str, ...]:
    """Named ones, else the fewest text or numbered columns that tell the rows of one stamp (`beside`) apart."""
    for wanted in ID_NAMES:
        for name in free:
            if name.lower() == wanted:
                return (name,)
    table = source.table
    if beside and distinct_rows(table, beside) == table.num_rows:
        return ()
    texts = [n for n in free if is_text(table[n].type) and not is_numeric(table[n]) and not is_calendar(n)]
    rows = distinct_rows(table, texts + beside)
    for name in reversed(texts):  # a static, or text that changes over time, tells nothing apart
        left = [n for n in texts if n != name]
        texts = left if left and distinct_rows(table, left + beside) == rows else texts
    if beside and rows < table.num_rows:
        texts += _numbered_ids(table, [n for n in free if n not in texts], texts, beside)
    if not beside and texts and rows == table.num_rows > 1:
        raise ToolError(
            f"Each row would be a series of its own, told apart by {', '.join(texts)}",
            saw=f"{source.path.name}: {table[texts[-1]][0].as_py()!r}",
            try_next="time_column, with stamps such as 2020-12-31",
        )
    if texts:
        warnings.append(
            f"The series are told apart by {', '.join(texts)}; name id_column for another reading"
        )
    return tuple(texts)


def _numbered_ids(table: pa.Table, free: list[str], texts: list[str], beside: list[str]) -> list[str]:
    """The fewest columns of whole numbers that name things (store, item) and tell rows apart; none if several sets do.

    Each of their series must have a row at half of all stamps or more: a measurement repeats too seldom for that.
    """
    names = [n for n in free if _ENTITY.search(n) and not is_calendar(n) and is_whole(table[n])]
    stamps = distinct_rows(table, beside)
    for size in range(1, _MOST_ID_COLUMNS + 1):
        found = [
            list(picked)
            for picked in itertools.combinations(names, size)
            if 2 * table.num_rows >= stamps * distinct_rows(table, [*texts, *picked])
            and distinct_rows(table, [*texts, *picked, *beside]) == table.num_rows
        ]
        if found:
            return found[0] if len(found) == 1 else []
    return []
