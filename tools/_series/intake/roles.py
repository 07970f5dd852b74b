"""Which column is id, time, target, label or split: as told, else by name and content, and said in a warning."""

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from ..._core.errors import ToolError
from .columns import FEWEST_NUMBERED, LOOKED_AT, is_calendar, is_text, is_whole, numbers_rows
from .files import Source
from .ids import find_clock, find_date, settle_ids
from .numbers import is_numeric

_TIME_NAMES = ("ds", "date", "datetime", "timestamp", "time")
_STEP_NAMES = ("t", "step", "period")  # of whole numbers; T may be a temperature
_PARTS = ("month", "quarter", "week", "year", "day")  # in numbers, only a year alone is a time
_DATE = re.compile(
    r"^(\d{4}([-/.]\d{1,2}){1,2}|\d{1,2}([-/.])\d{1,2}\3\d{2,4}|\d{1,2}[-/]\d{4}|\d{4}[- ]?Q[1-4]"
    r"|[a-z]{3,9}[- ](\d{1,2},? )?\d{4}|\d{1,2}[- ][a-z]{3,9}[- ]\d{4})([T ].*)?$",
    re.I,
)
_YEAR = re.compile(r"^(1[5-9]|20)\d\d$")
_UNNAMED = ("", "unnamed: 0")  # what an index becomes in a file
_TARGET_NAMES = ("y", "value", "values", "target", "sales", "demand")
_SPLIT_NAMES = ("split", "subset", "partition", "fold")
_TRAIN = ("train", "training")


@dataclass(frozen=True)
class Asked:
    """What the caller said about columns; None where the caller said nothing."""

    ids: tuple[str, ...] | None = None
    time: str | None = None
    targets: tuple[str, ...] | None = None
    label: str | None = None


@dataclass(frozen=True)
class Roles:
    """The part each column plays; `ids` is empty where the table is one series.

    `days` are month and day where `time` holds the year alone, `clock` is the time of day.
    """

    ids: tuple[str, ...]
    time: str | None
    split: str | None
    label: str | None
    targets: tuple[str, ...] = ()
    days: tuple[str, ...] = ()
    clock: str | None = None
    warnings: list[str] = field(default_factory=list)

    @property
    def taken(self) -> set[str | None]:
        """The columns that cannot hold the series."""
        return {*self.ids, self.time, *self.days, self.clock, self.split, self.label}


def resolve(source: Source, asked: Asked) -> Roles:
    """Ids, time, split and label; targets are found later, from training rows only (`find_targets`)."""
    names = source.table.column_names
    told = [*(asked.ids or ()), *(asked.targets or ()), *[n for n in (asked.time, asked.label) if n]]
    if unknown := [n for n in told if n not in names]:
        raise ToolError("No such column", saw=unknown[0], try_next=f"one of {', '.join(names[:20])}")
    if twice := [n for n in told if told.count(n) > 1]:
        raise ToolError("One column was named for two roles", saw=twice[0], try_next="one role a column")
    warnings: list[str] = []
    split = find_split(source.table, told)
    free = [n for n in names if n not in told and n != split]
    time = asked.time or _find_time(source.table, free, warnings)
    if time is None and not asked.targets:
        _refuse_steps_in_the_header(source)
    date = [time] if time is not None else find_date(source.table, free)
    time = date[0] if date else None
    clock = find_clock(source.table, free) if date else None
    free = [n for n in free if n not in (*date, clock)]
    ids, clock = settle_ids(source, asked.ids, free, date, clock, warnings)
    if time is None and not ids:
        numbered = [n for n in free if n.lower() in _UNNAMED and numbers_rows(source.table[n])]
        time = numbered[0] if numbered else None
    if time is None:
        warnings.append(
            "No time column: rows are taken as evenly spaced, in the order of the file"
            if ids
            else f"No time column and no id column: the {source.table.num_rows} rows are taken as one series, evenly "
            "spaced, in the order of the file"
        )
    return Roles(ids, time, split, asked.label, asked.targets or (), tuple(date[1:]), clock, warnings)


def find_targets(
    table: pa.Table, roles: Roles, wide: bool, file: str, warnings: list[str]
) -> tuple[str, ...]:
    """The columns that hold the series: as told, else by name; in a wide table, all that vary as numbers."""
    if roles.targets:
        return roles.targets
    named = [n for n in table.column_names if n not in roles.taken and n.lower() in _TARGET_NAMES]
    if named and not wide:
        return (named[0],)
    free = [n for n in table.column_names if n not in roles.taken and is_numeric(table[n])]
    plain = [n for n in free if not is_calendar(n)] or free
    counters = [n for n in plain if len(plain) > 1 and numbers_rows(table[n])]
    if 0 < len(counters) < len(plain):
        warnings.append(
            f"Not taken for a series, as it only numbers the rows: {', '.join(map(repr, counters))}"
        )
        plain = [n for n in plain if n not in counters]
    if not plain:
        left = [n for n in table.column_names if n not in roles.taken]
        seen = f"{file}: {left[0]!r} holds {table[left[0]][0].as_py()!r}" if left else file
        raise ToolError(
            "No column of numbers is left for the series",
            saw=seen,
            try_next="numbers without signs such as %, or target_column (target_columns to augment)",
        )
    if wide or len(plain) == 1:
        return tuple(plain)
    raise ToolError(
        "Several columns could be the series",
        saw=f"{file}: {', '.join(plain[:8])}",
        try_next="target_column (target_columns to augment)",
    )


def training_rows(table: pa.Table, split: str) -> pa.ChunkedArray:
    """True where the split column says training."""
    text = pc.utf8_lower(pc.utf8_trim_whitespace(pc.cast(table[split], pa.string())))
    return pc.fill_null(pc.is_in(text, value_set=pa.array(_TRAIN)), False)


def find_split(table: pa.Table, told: Sequence[str] = ()) -> str | None:
    """The column that splits training from test rows, if there is one."""
    for name in table.column_names:
        if name.lower() in _SPLIT_NAMES and name not in told and is_text(table[name].type):
            return str(name)
    return None


def _find_time(table: pa.Table, free: list[str], warnings: list[str]) -> str | None:
    """By type, by name, by content."""
    for name in free:
        kind = table[name].type
        if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
            return name
    parts = [n for n in free if n.lower() in _PARTS]
    for wanted in (*_TIME_NAMES, *_STEP_NAMES, *_PARTS):
        for name in free:
            is_count = wanted in _STEP_NAMES and is_whole(table[name])
            is_year = wanted == "year" and parts == [name]
            if name.lower() == wanted and (
                wanted in _TIME_NAMES or is_count or is_year or not is_numeric(table[name])
            ):
                return name
    found = next((n for n in free if _holds_dates(table[n])), None)
    if found is not None:
        warnings.append(f"The time stamps are taken from column {found!r}; name time_column for another")
    return found


def _holds_dates(column: pa.ChunkedArray) -> bool:
    """Whether a text column begins with dates."""
    if not is_text(column.type) or is_numeric(column):
        return False
    return all(t is not None and _DATE.match(t.strip()) for t in column.slice(0, LOOKED_AT).to_pylist())


def _refuse_steps_in_the_header(source: Source) -> None:
    """One series a row: dates as names, or numbered ones (d_1, d_2) beside text that names the rows."""
    names = source.table.column_names
    steps = [n for n in names if _DATE.match(n) or _YEAR.match(n)]
    figures = [n for n in names if is_numeric(source.table[n])]
    if len(steps) < 3 and any(is_text(source.table[n].type) for n in set(names) - set(figures)):
        steps = _numbered(figures)
    if 2 * len(steps) > len(names) and len(steps) > 2:
        rest = [n for n in names if n not in steps][:3]
        raise ToolError(
            "The time steps stand in the header, a column each",
            saw=f"{source.path.name}: {', '.join(steps[:3])}",
            try_next=f"one time step a row, as pandas makes it: table.melt({rest}, var_name='t', value_name='y')",
        )


def _numbered(names: list[str]) -> list[str]:
    """The names of one stem whose numbers follow each other, where there are many."""
    found: dict[str, list[str]] = {}
    for name in names:
        if match := re.fullmatch(r"(.*?)0*(\d+)", name):
            found.setdefault(match[1], []).append(name)
    steps = max(found.values(), key=len, default=[])
    last = [int(re.findall(r"\d+$", n)[0]) for n in steps]
    follow = all(b - a == 1 for a, b in itertools.pairwise(last))
    return steps if follow and len(steps) >= FEWEST_NUMBERED else []
