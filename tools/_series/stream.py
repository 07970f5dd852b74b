"""Parquet files larger than memory, row group by row group; and `augment_block`, the same for any engine of blocks.

What a series gets depends on its own rows, the plan and the seed, so any split of a table into whole series gives the
same copies: Ray's `map_batches`, Dask's `map_partitions` and Spark's `mapInArrow` can call `augment_block` as it is.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pa_parquet

from .._core.errors import ToolError
from .block import Copies, Setting, augment, original_table, setting_for, synthetic_table
from .intake.files import PARQUET, Source, checked
from .intake.roles import Asked
from .intake.series import Series, load
from .methods import Wish

LARGE_BYTES = (
    1 << 27
)  # uncompressed; above it a Parquet file is streamed, as a table in memory takes 9 times as much


@dataclass(frozen=True)
class Plan:
    """All that the copies of a block depend on beside its rows."""

    asked: Asked
    train_until: Any
    wishes: list[Wish]
    copies: int
    setting: Setting


def is_large(path: Path) -> bool:
    """Whether a Parquet file is to be streamed."""
    found = pa_parquet.ParquetFile(path).metadata
    return bool(sum(found.row_group(i).total_byte_size for i in range(found.num_row_groups)) > LARGE_BYTES)


def augment_block(table: pa.Table, plan: Plan) -> pa.Table:
    """The rows of whole series, then their copies; both with is_synthetic and source_id."""
    _, _, originals, copies = _block(table, plan, Path("block"))
    return pa.concat_tables([originals, copies])


def plan_for(
    table: pa.Table, asked: Asked, train_until: Any, wishes: list[Wish], copies: int, seed: int
) -> Plan:
    """A plan from the first rows of a table: roles and season are settled once, for every block alike."""
    if mixing := [w.name for w in wishes if w.method.donors]:
        raise ToolError(
            "A method that mixes series needs the whole table in memory",
            saw=mixing[0],
            try_next="another method",
        )
    series = load(checked(Source(Path("block"), PARQUET, table)), asked, train_until)
    settled = Asked(series.roles.ids, series.roles.time, series.roles.targets, series.roles.label)
    return Plan(settled, train_until, wishes, copies, setting_for(series, wishes, seed))


def blocks(path: Path, id_column: str) -> Iterator[pa.Table]:
    """The file in blocks of whole series; a series that comes back later is refused."""
    file = pa_parquet.ParquetFile(path)
    waiting: list[pa.Table] = []
    seen: set[int] = set()
    for number in range(file.num_row_groups):
        group = file.read_row_group(number)
        waiting.append(group)
        ids = group[id_column]
        last = ids[len(ids) - 1]
        whole = pa.concat_tables(waiting)
        is_last = pc.equal(whole[id_column], last)
        cut = pc.index(is_last, True).as_py()
        if number == file.num_row_groups - 1:
            cut = whole.num_rows
        if cut:
            yield _new(whole.slice(0, cut), id_column, seen, path)
        waiting = [whole.slice(cut)] if cut < whole.num_rows else []


def _new(table: pa.Table, id_column: str, seen: set[int], path: Path) -> pa.Table:
    found = {hash(v) for v in pc.unique(table[id_column]).to_pylist()}
    if found & seen:
        raise ToolError(
            "The file is larger than memory and not grouped by series",
            saw=f"{path.name}: an id that comes back in a later row group",
            try_next="sorting it by id and time first",
        )
    seen |= found
    return table


def write_stream(
    path: Path, target: Path, plan: Plan, tell: Callable[[int], None]
) -> tuple[int, int, int, Series, Copies]:
    """Write originals, then copies, in two passes; gives rows, synthetic rows, series and the first block."""
    (id_column,) = plan.asked.ids or ("",)
    rows = made = count = 0
    writer, first = None, None
    for is_second in (False, True):
        for number, table in enumerate(blocks(path, id_column)):
            series, copies, originals, synthetic = _block(table, plan, path, only_originals=not is_second)
            part = synthetic if is_second else originals
            writer = writer or pa_parquet.ParquetWriter(target, part.schema)
            writer.write_table(part.cast(writer.schema) if part.schema != writer.schema else part)
            rows += part.num_rows
            made += part.num_rows if is_second else 0
            if is_second:
                count += len(series.ids)
                first = first or (series, copies)
            tell(number)
    assert writer is not None and first is not None
    writer.close()
    return rows, made, count, *first


def _block(
    table: pa.Table, plan: Plan, path: Path, only_originals: bool = False
) -> tuple[Series, Copies, pa.Table, pa.Table]:
    series = load(Source(path, PARQUET, table), plan.asked, plan.train_until)
    whole = all(w.round for w in plan.wishes)
    originals = original_table(series, whole)
    if only_originals:
        nothing = np.empty((0, series.values.shape[1]))
        return (
            series,
            Copies(np.empty(0), np.empty(0), nothing, nothing, []),
            originals,
            originals.slice(0, 0),
        )
    copies = augment(series, plan.wishes, plan.copies, plan.setting)
    return series, copies, originals, synthetic_table(series, copies, whole)
