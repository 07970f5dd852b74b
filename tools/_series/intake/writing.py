"""Tables out again, in the format they came in, in one atomic step that never replaces a different file.

What a killed process leaves half-written beside the target is removed by the next server (`leftovers.announced`).
"""

import csv
import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather as pa_feather
import pyarrow.parquet as pa_parquet

from ..._core.errors import ToolError
from ..._core.leftovers import announced
from ..._core.workspace import Workspace
from .files import FEATHER, PARQUET, TEXT, TextForm, kind_of


def write_tables(
    tables: Iterable[pa.Table], target: Path, form: TextForm | None, workspace: Workspace
) -> None:
    """Write the tables one after the other into `target`; their schemas agree."""
    kind = kind_of(target)
    with announced(target, workspace) as fresh:
        if kind == TEXT:
            _write_text(tables, fresh, form or TextForm())
        elif kind == PARQUET:
            _write_parquet(tables, fresh)
        elif kind == FEATHER:
            pa_feather.write_feather(pa.concat_tables(tables), fresh)
        else:
            raise ToolError(
                "A table is not written as npz", saw=target.name, try_next="a .parquet or .csv output"
            )
        place(fresh, target)


def manifest_path(output: Path) -> Path:
    """Where the manifest of an output lies: beside it."""
    return output.with_name(output.name + ".manifest.json")


def write_json(content: dict[str, Any], target: Path, workspace: Workspace) -> None:
    """Write a manifest in one step."""
    with announced(target, workspace) as fresh:
        fresh.write_text(json.dumps(content, separators=(",", ":")), encoding="utf-8")
        place(fresh, target)


def place(fresh: Path, target: Path) -> None:
    """Move a finished file to its name; a file with other content that is there already is left alone."""
    if target.exists() and digest(target) != digest(fresh):
        raise ToolError(
            "The output exists and differs", saw=target.name, try_next="another name, or moving it away"
        )
    os.chmod(fresh, 0o666 & ~_umask())
    os.replace(fresh, target)


def digest(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _write_text(tables: Iterable[pa.Table], fresh: Path, form: TextForm) -> None:
    with fresh.open("w", encoding=form.encoding, newline="") as file:
        out = csv.writer(file, delimiter=form.delimiter, lineterminator="\n")
        for number, table in enumerate(tables):
            if number == 0:
                out.writerow(table.column_names)
            for batch in table.to_batches(max_chunksize=1 << 16):
                columns = [["" if v is None else v for v in column.to_pylist()] for column in batch.columns]
                out.writerows(zip(*columns, strict=True))


def _write_parquet(tables: Iterable[pa.Table], fresh: Path) -> None:
    writer = None
    for table in tables:
        writer = writer or pa_parquet.ParquetWriter(fresh, table.schema)
        writer.write_table(table)
    assert writer is not None
    writer.close()
