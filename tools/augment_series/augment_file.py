"""From a request to the augmented file, its manifest and the figures of the report. Runs in the child."""

import itertools
import re
from pathlib import Path
from typing import Any

from .._core.errors import ToolError
from .._core.workspace import Workspace
from .._series.block import Copies, augment, original_table, setting_for, synthetic_table
from .._series.fidelity import fidelity
from .._series.intake.cases import from_npz, from_table, nested_column
from .._series.intake.files import ARRAYS, PARQUET, Source, kind_of, read, read_folder
from .._series.intake.grid import find_grid, missing_steps
from .._series.intake.roles import Asked, find_split
from .._series.intake.series import Series, load
from .._series.intake.writing import digest, manifest_path, write_json, write_tables
from .._series.methods import Wish, wish
from .._series.picture import Curve, chart
from .._series.stream import is_large
from .augment_cases import augment_cases
from .augment_stream import augment_stream

_DEFAULT = ["jitter"]
MANIFEST_FORMAT = 1
_DRAWN_STEPS = 400
_HELD_OUT = {"test", "val", "valid", "validation", "holdout", "eval"}


def augment_file(request: dict[str, Any], progress: Any) -> dict[str, Any]:
    """The reply of the engine: what the Report says, and the picture."""
    wishes = [wish(w) for w in request["methods"] or _DEFAULT]
    if twice := [w.name for w in wishes if [v.name for v in wishes].count(w.name) > 1]:
        raise ToolError("A method is named twice", saw=twice[0], try_next="`copies` for more of it")
    path = Path(request["path"])
    progress(0, 3, f"reading {path.name}")
    if path.is_file() and kind_of(path) == ARRAYS:
        return augment_cases(request, from_npz(path), wishes)
    if path.is_file() and kind_of(path) == PARQUET and not request["recipe_only"] and is_large(path):
        return augment_stream(request, _asked(request), wishes, progress)
    source = read_folder(path) if path.is_dir() else read(path)
    asked = _asked(request)
    if column := nested_column(source.table, asked.targets):
        split = find_split(source.table)
        cases = from_table(source, column, request["id_column"], request["label_column"], split)
        return augment_cases(request, cases, wishes)
    return _augment_rows(request, source, asked, wishes, progress)


def _augment_rows(
    request: dict[str, Any], source: Source, asked: Asked, wishes: list[Wish], progress: Any
) -> dict[str, Any]:
    """Augment a table with one time step a row."""
    output, workspace = Path(request["output"]), Workspace.of_the_caller(Path(request["root"]))
    _refuse_validation_file(source, request["train_until"])
    series = load(source, asked, request["train_until"])
    progress(1, 3, f"{len(series.ids)} series, {len(wishes)} methods, {request['copies']} copies each")
    copies = augment(series, wishes, request["copies"], setting_for(series, wishes, request["seed"]))
    progress(2, 3, f"writing {output.name}")
    manifest = _manifest(request, series, wishes, copies)
    result = {
        "rows": source.table.num_rows + len(copies.template),
        "synthetic_rows": len(copies.template),
        "series": len(series.ids),
        "fidelity": fidelity(series, copies, wishes),
        "warnings": _warnings(request, series, copies, wishes),
        "picture": _picture(series, copies, wishes),
        "manifest_path": str(manifest_path(output)),
    }
    if not request["recipe_only"]:
        whole = all(w.round for w in wishes)
        write_tables(
            [original_table(series, whole), synthetic_table(series, copies, whole)],
            output,
            source.text,
            workspace,
        )
        manifest["output_sha256"] = digest(output)
    write_json(manifest, manifest_path(output), workspace)
    return result


def _refuse_validation_file(source: Source, train_until: Any) -> None:
    words = set(re.split(r"[^a-z]+", source.path.name.lower().split(".")[0]))
    if train_until is None and (found := words & _HELD_OUT):
        raise ToolError(
            "The file's name says that it holds validation or test data, which is never augmented",
            saw=f"{source.path.name} ({found.pop()})",
            try_next="the training file, or train_until if it holds training rows too",
        )


def _asked(request: dict[str, Any]) -> Asked:
    ids = request["id_column"]
    return Asked(
        ids=(ids,) if isinstance(ids, str) else tuple(ids) if ids else None,
        time=request["time_column"],
        targets=tuple(request["target_columns"]) if request["target_columns"] else None,
        label=request["label_column"],
    )


def _manifest(request: dict[str, Any], series: Series, wishes: list[Wish], copies: Copies) -> dict[str, Any]:
    """How to repeat the file, and for each copy the original rows it was made from."""
    offset = series.source.table.num_rows
    return {
        "format": MANIFEST_FORMAT,
        "source": series.source.path.name,
        "source_sha256": digest(series.source.path) if series.source.path.is_file() else None,
        "seed": request["seed"],
        "copies": request["copies"],
        "train_until": request["train_until"],
        "methods": [{"name": w.name, **w.parameters, "round": w.round, "minimum": w.minimum} for w in wishes],
        "columns": {
            "id": list(series.roles.ids),
            "time": series.roles.time,
            "targets": list(series.roles.targets),
            "label": series.roles.label,
        },
        "synthetic": [
            {
                **{k: entry[k] for k in ("id", "source_id", "method", "number", "rows")},
                "first_row": entry["first_row"] + offset,
                "source_rows": _runs(
                    series.rows[series.start[entry["series"]] : series.start[entry["series"] + 1]]
                ),
            }
            for entry in copies.entries
        ],
    }


def _runs(rows: Any) -> list[list[int]]:
    """Row numbers as [first, last] stretches."""
    breaks = [0, *[i + 1 for i, step in enumerate((rows[1:] - rows[:-1]).tolist()) if step != 1], len(rows)]
    return [[int(rows[a]), int(rows[b - 1])] for a, b in itertools.pairwise(breaks)]


def _picture(series: Series, copies: Copies, wishes: list[Wish]) -> str | None:
    """Up to three originals, each with its first copy by every method."""
    panels = []
    for i in list(dict.fromkeys(e["series"] for e in copies.entries))[:3]:
        curves: list[Curve] = [("original", series.of(i)[:_DRAWN_STEPS, 0], 0)]
        for wished in wishes[:5]:
            made = [e for e in copies.entries if e["series"] == i and e["method"] == wished.name][:1]
            curves += [
                (wished.name, copies.values[e["first_row"] :][: min(e["rows"], _DRAWN_STEPS), 0], 0)
                for e in made
            ]
        panels.append((series.ids[i], curves))
    return chart(panels).decode("utf-8") if panels else None


def _warnings(request: dict[str, Any], series: Series, copies: Copies, wishes: list[Wish]) -> list[str]:
    notes = list(series.warnings)
    if request["train_until"] is None and not series.roles.split:
        notes.append(
            "No train_until: every row counted as training data; copies of validation rows would leak"
        )
    notes += [
        f"{count} copies by {method} left out: {why}" for (method, why), count in copies.dropped.items()
    ]
    grid = find_grid(series.ticks, series.start, series.is_date)
    if gaps := missing_steps(series.ticks, series.start, grid):
        notes.append(f"{gaps} steps of one {grid.name} have no row; copies have the same gaps")
    if any(w.name == "scaling" for w in wishes):
        notes.append("Scaling adds nothing for a model that normalises each window")
    if not series.roles.ids:
        notes.append("The table is one series: a column unique_id tells its copies apart")
    return notes
