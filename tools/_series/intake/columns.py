"""What a column holds, by its values and its name."""

import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

LOOKED_AT = 100  # rows
FEWEST_NUMBERED = 8  # rows, for consecutive numbers to be no accident
_CALENDAR = re.compile(
    r"(^|_)(month|quarter|week|weekday|year|day|dow|hour|minute|holiday|event|season|is)(_|$|of)", re.I
)


def is_text(kind: pa.DataType) -> bool:
    """Whether a column holds text, dictionary-encoded or not."""
    if pa.types.is_dictionary(kind):
        return is_text(kind.value_type)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def is_calendar(name: str) -> bool:
    """Whether a column's name says that it follows the calendar."""
    return _CALENDAR.search(name) is not None


def is_whole(column: pa.ChunkedArray) -> bool:
    """Whether it holds whole numbers and nothing else, as a count of steps does."""
    try:
        return bool(pc.cast(column, pa.int64()).null_count == 0)
    except pa.ArrowException:
        return False


def numbers_rows(column: pa.ChunkedArray) -> bool:
    """Whether its numbers are consecutive and each is there once."""
    if len(column) < FEWEST_NUMBERED or not is_whole(column):
        return False
    return bool(np.all(np.diff(np.sort(np.asarray(pc.cast(column, pa.int64())))) == 1))


def distinct_rows(table: pa.Table, names: list[str]) -> int:
    return int(table.group_by(names).aggregate([]).num_rows) if names else 0
