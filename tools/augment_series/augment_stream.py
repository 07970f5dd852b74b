"""Augment a Parquet file that is larger than memory."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pa_parquet

from .._core.errors import ToolError
from .._core.leftovers import announced
from .._core.workspace import Workspace
from .._series.fidelity import fidelity
from .._series.intake.files import PARQUET, kind_of
from .._series.intake.roles import Asked
from .._series.intake.writing import digest, manifest_path, place, write_json
from .._series.methods import Wish
from .._series.stream import plan_for, write_stream


def augment_stream(
    request: dict[str, Any], asked: Asked, wishes: list[Wish], progress: Any
) -> dict[str, Any]:
    """The reply of the engine; fidelity is measured on the first block, and the manifest lists no single copies."""
    path, output = Path(request["path"]), Path(request["output"])
    if kind_of(output) != PARQUET:
        raise ToolError(
            "A file this large is written as Parquet", saw=output.name, try_next="an output in .parquet"
        )
    file = pa_parquet.ParquetFile(path)
    plan = plan_for(
        file.read_row_group(0), asked, request["train_until"], wishes, request["copies"], request["seed"]
    )
    if len(plan.asked.ids or ()) != 1:
        raise ToolError("A file this large needs one id column", saw=plan.asked.ids, try_next="id_column")
    workspace = Workspace.of_the_caller(Path(request["root"]))
    with announced(output, workspace) as fresh:
        total = 2 * file.num_row_groups
        rows, made, count, series, copies = write_stream(
            path, fresh, plan, lambda number: progress(number, total, "row groups")
        )
        place(fresh, output)
    manifest = {
        "format": 1,
        "source": path.name,
        "seed": request["seed"],
        "copies": request["copies"],
        "train_until": request["train_until"],
        "methods": [{"name": w.name, **w.parameters, "round": w.round, "minimum": w.minimum} for w in wishes],
        "synthetic": None,
        "order": "series as in the source, for each its methods as listed, for each its copies; rows in order of time",
        "output_sha256": digest(output),
    }
    write_json(manifest, manifest_path(output), workspace)
    return {
        "rows": rows,
        "synthetic_rows": made,
        "series": count,
        "fidelity": fidelity(series, copies, wishes),
        "warnings": [
            "Streamed by row group: fidelity is that of the first block of series",
            *series.warnings,
        ],
        "picture": None,
        "manifest_path": str(manifest_path(output)),
    }
