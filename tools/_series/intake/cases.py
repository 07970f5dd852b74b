"""Tables with one series a row: arrays in npz files, lists in Parquet columns (as UCR and UEA data have them)."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ..._core.errors import ToolError
from ..arrays.streams import Floats
from .files import Source

_VALUES, _LABELS, _IDS = "x", "y", "ids"


@dataclass(frozen=True)
class Cases:
    """Series with ids and, where there are any, labels; `train` says which may be learned from."""

    ids: list[str]
    values: list[Floats]  # (time, channels) each
    labels: list[str] | None
    train: Any
    column: str  # where the values stand
    table: pa.Table | None = None
    arrays: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def nested_column(table: pa.Table, asked: tuple[str, ...] | None) -> str | None:
    """The column of lists, if the table has one."""
    lists = [n for n in table.column_names if _is_list(table[n].type)]
    named = [n for n in lists if asked is None or n in asked]
    return named[0] if named else None


def from_table(source: Source, column: str, ids: str | None, label: str | None, split: str | None) -> Cases:
    """Cases from a table with a column of lists: of numbers, or of channels that are lists of numbers."""
    table = source.table
    values = [_case(v, source.place(row), column) for row, v in enumerate(table[column].to_pylist())]
    name = ids or ("unique_id" if "unique_id" in table.column_names else None)
    names = [str(v) for v in table[name].to_pylist()] if name else [str(i) for i in range(len(values))]
    labels = [str(v) for v in table[label].to_pylist()] if label else None
    train = np.ones(len(values), bool)
    if split:
        train = np.array([str(v).strip().lower() in ("train", "training") for v in table[split].to_pylist()])
    return Cases(_distinct(names, source.path.name), values, labels, train, column, table)


def from_npz(path: Path) -> Cases:
    """Cases from arrays: `x` (series, time) or (series, time, channels), and `y` and `ids` where they are there."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (ValueError, OSError) as error:
        why = "it holds Python objects, which could run code" if "pickle" in str(error) else str(error)
        raise ToolError(
            f"The npz file cannot be read: {why}", saw=path.name, try_next="plain arrays of numbers and text"
        ) from error
    if _VALUES not in arrays or arrays[_VALUES].ndim not in (2, 3) or arrays[_VALUES].dtype.kind not in "fiu":
        raise ToolError(
            "The npz file needs an array x (series, time) or (series, time, channels)",
            saw={k: v.shape for k, v in arrays.items()},
            try_next="np.savez(path, x=..., y=labels, ids=names)",
        )
    x = arrays[_VALUES].astype(np.float64)
    x[np.isinf(x)] = np.nan
    x = x if x.ndim == 3 else x[:, :, None]
    names = [str(i) for i in arrays[_IDS].tolist()] if _IDS in arrays else [str(i) for i in range(len(x))]
    labels = (
        [str(v) for v in arrays[_LABELS].tolist()]
        if _LABELS in arrays and arrays[_LABELS].ndim == 1
        else None
    )
    return Cases(_distinct(names, path.name), list(x), labels, np.ones(len(x), bool), _VALUES, None, arrays)


def as_lists(values: Floats, kind: pa.DataType) -> Any:
    """A case back as the lists it came from."""
    return values.T.tolist() if _is_list(kind.value_type) else values[:, 0].tolist()


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _case(value: Any, place: str, column: str) -> Floats:
    channels = value if value and isinstance(value[0], list) else [value or []]
    lengths = {len(c) for c in channels}
    if len(lengths) != 1 or 0 in lengths:
        raise ToolError(
            f"Column {column!r} has a series whose channels differ in length or are empty",
            saw=f"{sorted(lengths)} at {place}",
            try_next="channels of one length in each row",
        )
    case = np.array(channels, dtype=np.float64).T
    case[np.isinf(case)] = np.nan
    return np.ascontiguousarray(case)


def _distinct(names: list[str], file: str) -> list[str]:
    if len(set(names)) < len(names):
        twice = next(n for n in names if names.count(n) > 1)
        raise ToolError("Two series have the same id", saw=f"{twice!r} in {file}", try_next="distinct ids")
    return names
