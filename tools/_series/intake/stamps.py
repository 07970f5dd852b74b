"""Time columns to integers that order and space them, the cut between training and later, and the frequency."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ..._core.errors import ToolError

Ticks = npt.NDArray[np.int64]

_OFFSET = r"(Z|z|[+-]\d{2}:?\d{2}|UTC|GMT)$"
_SLASHED = re.compile(r"^(\d{1,2})([-/.])(\d{1,2})\2(\d{4}|\d{2})(?!\d)")  # 31/12/2020, 31-12-20
_QUARTER = re.compile(r"^(\d{4})[- ]?Q([1-4])$", re.I)
_DAY = 86_400 * 10**9
_YEAR_ONLY = re.compile(r"^\d{4}$")
_COMPACT = re.compile(r"^((?:1[89]|20)\d\d)(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])?$")  # 20201231, 202012
_MONTH_YEAR = re.compile(r"^(0?[1-9]|1[0-2])[-/.]((?:1[89]|20)\d\d)$")  # 12.2020, which is no number


@dataclass(frozen=True)
class Stamps:
    """Ticks for each row: nanoseconds since 1970 in UTC where `is_date`, else the column's own numbers."""

    ticks: npt.NDArray[Any]
    is_date: bool
    is_aware: bool = False
    day_first: bool = False


def stamps(column: pa.ChunkedArray, name: str, place: Callable[[int], str]) -> Stamps:
    """A time column as ticks; `place` turns a row into words for a refusal."""
    if column.null_count:
        row = pc.index(pc.is_null(column), True).as_py()
        raise ToolError(
            f"Column {name!r} has a row without time", saw=place(row), try_next="filling or dropping it"
        )
    kind = column.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        aware = pa.types.is_timestamp(kind) and kind.tz is not None
        whole = pc.cast(column, pa.timestamp("ns", tz=kind.tz if aware else None))
        return Stamps(np.asarray(pc.cast(whole, pa.int64())), True, aware)
    if pa.types.is_integer(kind) and all(_COMPACT.match(str(v)) for v in pc.unique(column).to_pylist()):
        return _from_text(pc.cast(column, pa.string()), name, place)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return _numeric(np.asarray(column), name, place)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _from_text(column, name, place)
    raise ToolError(f"Column {name!r} holds no time stamps", saw=str(kind), try_next="another time_column")


def from_parts(table: pa.Table, names: list[str], place: Callable[[int], str]) -> Stamps:
    """Year, month and perhaps day of three columns as dates."""
    year, month, *day = (np.asarray(pc.cast(table[n], pa.int64())) for n in names)
    months = (year - 1970) * 12 + month - 1
    days = day[0] if day else np.ones_like(year)
    dates = months.astype("datetime64[M]").astype("datetime64[D]") + (days - 1)
    wrong = (
        (month < 1) | (month > 12) | (days < 1) | (dates.astype("datetime64[M]").astype(np.int64) != months)
    )
    wrong |= (year < 1500) | (year > 2200)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ToolError(
            f"Columns {', '.join(map(repr, names))} hold no date together",
            saw=f"{' '.join(str(table[n][row].as_py()) for n in names)} at {place(row)}",
            try_next="time_column, or one column of dates such as 2020-12-31",
        )
    return Stamps(dates.astype("datetime64[ns]").astype(np.int64), True)


def with_clock(stamped: Stamps, column: pa.ChunkedArray, name: str, place: Callable[[int], str]) -> Stamps:
    """Dates with the time of day of another column: text such as 17:30, or whole hours."""
    if not stamped.is_date or (stamped.ticks % _DAY != 0).any():
        raise ToolError(
            "The time of day stands in two columns",
            saw=name,
            try_next="one column of stamps: 2020-12-31T17:30",
        )

    def seconds(value: Any) -> float | None:
        if not re.fullmatch(r"\s*\d{1,2}(:[0-5]\d){0,2}(\.\d+)?\s*", str(value)):
            return None
        parts = [float(p) for p in str(value).split(":")]
        found = sum(p * 60 ** (2 - k) for k, p in enumerate(parts))
        return found if found <= _DAY / 10**9 else None

    codes = column.combine_chunks().dictionary_encode()
    codes = codes.chunk(0) if isinstance(codes, pa.ChunkedArray) else codes
    found = [seconds(v) for v in codes.dictionary.to_pylist()]
    index = np.asarray(pc.fill_null(codes.indices, len(found)))
    wrong = [i for i, v in enumerate([*found, None]) if v is None and (index == i).any()]
    if wrong:
        row = int(np.argmax(index == wrong[0]))
        raise ToolError(
            f"Column {name!r} holds something that is no time of day",
            saw=f"{column[row].as_py()!r} at {place(row)}",
            try_next="times such as 17:30, or hours from 0 to 23",
        )
    ticks = np.rint(np.array(found)[index] * 10**9).astype(np.int64)
    return replace(stamped, ticks=stamped.ticks + ticks)


def cut_ticks(train_until: str | int | float, stamped: Stamps, name: str) -> float | int:
    """The last training tick, read as the column is."""
    if not stamped.is_date:
        try:
            return float(train_until)
        except ValueError as error:
            raise ToolError(
                f"train_until is no number, but the column {name!r} counts in numbers",
                saw=train_until,
                try_next="a value of that column",
            ) from error
    text = str(train_until)
    aware = re.search(_OFFSET, text) is not None and ":" in text
    if aware != stamped.is_aware:
        raise ToolError(
            "train_until and the time column must both have a UTC offset or neither",
            saw=f"{text!r}, column {name!r} {'with' if stamped.is_aware else 'without'} offsets",
            try_next="a stamp copied from the column",
        )
    found = _from_text(
        pa.chunked_array([[text]]), "train_until", lambda row: "train_until", stamped.day_first
    )
    return int(found.ticks[0])


def _numeric(values: npt.NDArray[Any], name: str, place: Callable[[int], str]) -> Stamps:
    if not np.all(np.isfinite(values.astype(np.float64))):
        row = int(np.nonzero(~np.isfinite(values.astype(np.float64)))[0][0])
        raise ToolError(
            f"Column {name!r} has a row without time", saw=place(row), try_next="filling or dropping it"
        )
    sizes = np.abs(values[values != 0].astype(np.float64))
    if len(sizes) and sizes.min() > 1e8 and sizes.max() / sizes.min() > 500:
        row = int(np.argmax(np.abs(values.astype(np.float64))))
        raise ToolError(
            f"Column {name!r} mixes epoch seconds with milliseconds or finer",
            saw=f"{values[0]} and {values[row]} at {place(row)}",
            try_next="one unit for the whole column",
        )
    if len(sizes) and sizes.min() > 1e8:  # an epoch: 1e8 s is March 1973
        unit = 10 ** (9 - 3 * min(3, int(np.log10(sizes.max()) - 8) // 3))
        return Stamps((values.astype(np.int64)) * unit, True)
    return Stamps(values, False)


def _from_text(
    column: pa.ChunkedArray, name: str, place: Callable[[int], str], day_first: bool | None = None
) -> Stamps:
    codes = column.combine_chunks().dictionary_encode()
    codes = codes.chunk(0) if isinstance(codes, pa.ChunkedArray) else codes
    texts = [t.strip() for t in codes.dictionary.to_pylist()]
    index = codes.indices.to_numpy()

    def where(text_row: int) -> str:
        return f"{texts[text_row]!r} at {place(int(np.argmax(index == text_row)))}"

    is_number = all(re.fullmatch(r"[+-]?\d+(\.\d+)?", t) for t in texts)
    if is_number and not all(_COMPACT.match(t) or _MONTH_YEAR.match(t) for t in texts):
        whole = all(re.fullmatch(r"[+-]?\d+", t) for t in texts)
        return _numeric(np.array([int(t) if whole else float(t) for t in texts])[index], name, place)
    aware = [re.search(_OFFSET, t) is not None and (":" in t) for t in texts]
    if any(aware) and not all(aware):
        raise ToolError(
            f"Column {name!r} mixes time stamps with and without a UTC offset",
            saw=f"{where(aware.index(True))} and {where(aware.index(False))}",
            try_next="an offset in every row or in none",
        )
    if day_first is None:
        day_first = _day_first(texts, name, where)
    return Stamps(_parse(texts, name, where, day_first)[index], True, all(aware), day_first)


def _day_first(texts: list[str], name: str, where: Callable[[int], str]) -> bool:
    """Whether 03/04/2020 is the 3rd of April, shown by a part above 12; refused where nothing or too much shows it."""
    found = [(i, m) for i, t in enumerate(texts) if (m := _SLASHED.match(t))]
    if not found:
        return False
    parts = np.array([(int(m[1]), int(m[3])) for _, m in found])
    day, month = (bool((parts[:, k] > 12).any()) for k in (0, 1))
    two_digits = [i for i, m in found if m[2] == "-" and len(m[4]) == 2]  # 20-03-04 may begin with its year
    if day != month and not two_digits:
        return day
    raise ToolError(
        f"Column {name!r} can be read with the day or the month first",
        saw=where(two_digits[0] if two_digits else found[-1][0]),
        try_next="dates written as 2020-12-31",
    )


def _parse(texts: list[str], name: str, where: Callable[[int], str], day_first: bool) -> Ticks:
    import pandas as pd  # 0.4 s, only for time as text

    def one(text: str) -> Any:
        if found := _QUARTER.match(text):
            return f"{found[1]}-{3 * int(found[2]) - 2:02d}-01"
        if found := _COMPACT.match(text):
            return f"{found[1]}-{found[2]}-{found[3] or '01'}"
        if found := _MONTH_YEAR.match(text):
            return f"{found[2]}-{int(found[1]):02d}-01"
        if not re.search(r"\d{4}", text) and not _SLASHED.match(text):
            return None  # a time of day, say, which pandas would take for today's
        return f"{text}-01-01" if _YEAR_ONLY.match(text) else text

    normal = pd.Series([one(t) for t in texts], dtype=object)
    parsed = pd.to_datetime(normal, format="ISO8601", utc=True, errors="coerce")
    if parsed.isna().any():
        parsed = pd.to_datetime(normal, format="mixed", dayfirst=day_first, utc=True, errors="coerce")
    if parsed.isna().any():
        row = int(np.argmax(parsed.isna().to_numpy()))
        raise ToolError(
            f"Column {name!r} holds something that is no time stamp",
            saw=where(row),
            try_next="stamps such as 2020-12-31 or 2020-12-31T23:00:00Z",
        )
    return np.asarray(parsed.dt.tz_localize(None).astype("datetime64[ns]").astype("int64"))
