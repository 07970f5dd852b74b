"""Columns to float64. Missing marks and infinities become NaN and are counted; what else is no number is refused."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..._core.errors import ToolError
from ..arrays.streams import Floats

MISSING = ("", "na", "n/a", "nan", "null", "none", "-", "?", "#n/a", "<na>")
_COMMA_DECIMAL = r"^[+-]?(\d{1,3}(\.\d{3})+|\d*),\d+([eE][+-]?\d+)?$"
_THOUSANDS = r"^[+-]?\d{1,3}(,\d{3})+(\.\d*)?$"
_NUMBER = re.compile(r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$|^[+-]?inf(inity)?$", re.I | re.A)


@dataclass(frozen=True)
class Numbers:
    """The values, and how they were written: "." or "," as decimal mark, or None for a typed column."""

    values: Floats
    decimal: str | None = None
    missing: int = 0
    infinite: int = 0


def is_numeric(column: pa.ChunkedArray) -> bool:
    """Whether a typed column holds numbers, or every present text in a text column is one."""
    kind = column.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))
    try:
        return bool(
            pc.cast(column, pa.float64()).null_count < len(column)
        )  # most columns, and ten times as fast
    except pa.ArrowInvalid:
        texts = _present(column)
    return bool(len(texts)) and all(
        _NUMBER.match(t) or re.match(_COMMA_DECIMAL, t) or re.match(_THOUSANDS, t) for t in texts.to_pylist()
    )


def numbers(
    column: pa.ChunkedArray, name: str, place: Callable[[int], str], *, semicolons: bool = False
) -> Numbers:
    """A column as float64; `place` turns a position in it into words for a refusal.

    In a file whose cells are separated by semicolons a comma is a decimal mark: that is why it has semicolons.
    """
    kind = column.type
    if pa.types.is_boolean(kind):
        raise ToolError(
            f"Column {name!r} holds true and false, which is a label, not a series",
            saw="bool",
            try_next="label_column for it, or 0 and 1 as numbers",
        )
    decimal = None
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        column, decimal = _from_text(column, name, place, semicolons)
    elif not is_numeric(column):
        raise ToolError(f"Column {name!r} holds no numbers", saw=str(kind), try_next="another column")
    values = np.array(pc.cast(column, pa.float64(), safe=False).to_numpy(), dtype=np.float64)
    infinite = np.isinf(values)
    values[infinite] = np.nan
    return Numbers(values, decimal, int(np.isnan(values).sum() - infinite.sum()), int(infinite.sum()))


def _trimmed(column: pa.ChunkedArray) -> pa.ChunkedArray:
    text = pc.utf8_trim_whitespace(column)
    return pc.if_else(pc.is_in(pc.utf8_lower(text), value_set=pa.array(MISSING)), None, text)


def _present(column: pa.ChunkedArray) -> Any:
    return pc.unique(_trimmed(column)).drop_null()


def _from_text(
    column: pa.ChunkedArray, name: str, place: Callable[[int], str], semicolons: bool
) -> tuple[pa.ChunkedArray, str]:
    text = _trimmed(column)
    try:
        return pc.cast(text, pa.float64()), "."
    except pa.ArrowInvalid:
        pass
    comma = pc.fill_null(pc.match_substring(text, ","), False)
    plain = pc.or_(pc.invert(comma), pc.fill_null(pc.match_substring_regex(text, _THOUSANDS), False))
    european = pc.or_(pc.invert(comma), pc.fill_null(pc.match_substring_regex(text, _COMMA_DECIMAL), False))
    both = pc.all(plain).as_py() and pc.all(european).as_py()
    certain = pc.any(pc.match_substring_regex(text, r"^[+-]?0+,|^[+-]?\d{4,},")).as_py()
    if both and not certain and not semicolons and pc.any(comma).as_py():
        row = pc.index(comma, True).as_py()
        raise ToolError(
            f"Column {name!r} can be read with the comma as decimal mark or as thousands mark",
            saw=f"{text[row].as_py()!r} at {place(row)}",
            try_next="writing numbers with a decimal point and without thousands marks",
        )
    if pc.all(european).as_py() and pc.any(comma).as_py():
        text = pc.replace_substring(pc.replace_substring(text, ".", ""), ",", ".")
        return _cast(text, column, name, place), ","
    if pc.all(plain).as_py():
        text = pc.replace_substring(text, ",", "")
    return _cast(text, column, name, place), "."


def _cast(
    text: pa.ChunkedArray, column: pa.ChunkedArray, name: str, place: Callable[[int], str]
) -> pa.ChunkedArray:
    try:
        return pc.cast(text, pa.float64())
    except pa.ArrowInvalid as error:
        cells = enumerate(text.to_pylist())
        row = next((i for i, cell in cells if cell is not None and not _NUMBER.match(cell)), 0)
        raise ToolError(
            f"Column {name!r} holds something that is no number",
            saw=f"{column[row].as_py()!r} at {place(row)}",
            try_next="mending that cell, or leaving it empty if the value is missing",
        ) from error


def as_text(values: Floats, decimal: str) -> list[str]:
    """Numbers as the shortest text that reads back the same; missing ones as empty cells."""
    texts = ["" if v != v else repr(v) for v in values.tolist()]
    return [t.replace(".", ",") for t in texts] if decimal == "," else texts
