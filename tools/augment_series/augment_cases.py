"""Augment a file with one series a row (npz, or Parquet with lists): for classification, mostly."""

from pathlib import Path
from typing import Any

import numpy as np

from .._core.errors import ToolError
from .._core.leftovers import announced
from .._core.workspace import Workspace
from .._series.case_copies import Copy, arrays_of_cases, copies_of_cases, tables_of_cases
from .._series.fidelity import describe
from .._series.intake.cases import Cases
from .._series.intake.writing import manifest_path, place, write_json, write_tables
from .._series.methods import Wish
from .._series.picture import Curve, chart


def augment_cases(request: dict[str, Any], cases: Cases, wishes: list[Wish]) -> dict[str, Any]:
    """The reply of the engine. `train_until` is the number of the last row that is training data."""
    output, workspace = Path(request["output"]), Workspace.of_the_caller(Path(request["root"]))
    if request["train_until"] is not None:
        cases.train[np.arange(len(cases.ids)) > float(request["train_until"])] = False
    if not cases.train.any():
        raise ToolError(
            "No row is training data, and validation or test rows are never augmented",
            saw=f"{len(cases.ids)} rows",
            try_next="the training rows",
        )
    made, dropped = copies_of_cases(cases, wishes, request["copies"], request["seed"])
    if not request["recipe_only"]:
        _write(cases, made, request["id_column"] or "unique_id", output, workspace)
    write_json(_manifest(request, cases, wishes, made), manifest_path(output), workspace)
    return {
        "rows": len(cases.ids) + len(made),
        "synthetic_rows": len(made),
        "series": int(cases.train.sum()),
        "fidelity": [
            describe(w.name, [(cases.values[i], v) for i, m, _, v in made if m == w.name]) for w in wishes
        ],
        "warnings": _warnings(request, cases, wishes, dropped),
        "picture": _picture(cases, made),
        "manifest_path": str(manifest_path(output)),
    }


def _write(cases: Cases, made: list[Copy], id_column: str, output: Path, workspace: Workspace) -> None:
    if cases.table is not None:
        write_tables(tables_of_cases(cases, made, id_column), output, None, workspace)
        return
    if output.suffix != ".npz":
        raise ToolError("Arrays are written as npz", saw=output.name, try_next="an output that ends in .npz")
    with announced(output, workspace) as fresh:
        with fresh.open("xb") as file:
            np.savez(file, **arrays_of_cases(cases, made))
        place(fresh, output)


def _manifest(request: dict[str, Any], cases: Cases, wishes: list[Wish], made: list[Copy]) -> dict[str, Any]:
    return {
        "format": 1,
        "source": Path(request["path"]).name,
        "seed": request["seed"],
        "copies": request["copies"],
        "train_until": request["train_until"],
        "methods": [{"name": w.name, **w.parameters, "round": w.round, "minimum": w.minimum} for w in wishes],
        "synthetic": [
            {
                "source_id": cases.ids[i],
                "method": m,
                "number": n,
                "first_row": len(cases.ids) + k,
                "rows": 1,
                "source_rows": [[i, i]],
            }
            for k, (i, m, n, _) in enumerate(made)
        ],
    }


def _warnings(
    request: dict[str, Any], cases: Cases, wishes: list[Wish], dropped: dict[Any, int]
) -> list[str]:
    notes = [f"{count} copies by {method} left out: {why}" for (method, why), count in dropped.items()]
    if cases.labels and (unsafe := [w.name for w in wishes if not w.method.label_preserving]):
        notes.append(f"{', '.join(unsafe)} may change what a series is, so a copied label may be wrong")
    if cases.train.all() and request["train_until"] is None:
        notes.append(
            "No train_until: every row counted as training data; copies of validation rows would leak"
        )
    return notes


def _picture(cases: Cases, made: list[Copy]) -> str | None:
    panels = []
    for i in list(dict.fromkeys(c[0] for c in made))[:3]:
        first = [c for c in made if c[0] == i and c[2] == 1][:5]
        curves: list[Curve] = [("original", cases.values[i][:, 0], 0)]
        panels.append((cases.ids[i], [*curves, *[(c[1], c[3][:, 0], 0) for c in first]]))
    return chart(panels).decode("utf-8") if panels else None
