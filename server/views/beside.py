"""What a view shows beside the Report: the data that artifacts carry, and the runs that were compared.

Reports stay small enough for a model to read; a picture's points are in its artifact. What is not there any more (the
artifact was cleaned away) is left out, and the view says where it was.
"""

import csv
import io
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from ...tools._core.contract import ToolError
from ...tools._core.data_block import read_data_block
from ...tools._core.ledger import Run, ledger_path, open_ledger, read_run
from ...tools._core.workspace import Workspace

_MOST_BYTES = 4_000_000  # of one artifact
_MOST_RUNS = 12


def beside(tool: str, report: dict[str, Any], workspace: Workspace) -> dict[str, Any]:
    """By name: `timeline`, `curves`, `forecast` or `runs`, as far as this tool's view shows them."""
    reader = _READERS.get(tool)
    try:
        return reader(report, workspace) if reader else {}
    except (
        OSError,
        ValueError,
        KeyError,
    ):  # somebody else's file at that path by now: the Report stands without it
        return {}


def _timeline(report: dict[str, Any], workspace: Workspace) -> dict[str, Any]:
    data = read_data_block(_artifact(report.get("timeline_path")))
    return {"timeline": data} if data else {}


def _curves(report: dict[str, Any], workspace: Workspace) -> dict[str, Any]:
    """The panels of a picture of series: [title, [[name, values, first step], ...]]."""
    panels = read_data_block(_artifact(report.get("picture_path")))
    return {"curves": panels} if panels else {}


def _forecast(report: dict[str, Any], workspace: Workspace) -> dict[str, Any]:
    """The same with `forecast`: for each series that is drawn, its rows [stamp, mean, low, high]."""
    found = _curves(report, workspace)
    drawn: dict[str, list[list[Any]]] = {title: [] for title, _ in found.get("curves", [])}
    for row in csv.DictReader(io.StringIO(_artifact(report.get("forecast_path")))):
        if row["unique_id"] in drawn:
            figures = [float(row[name]) for name in ("mean", "lo-80", "hi-80")]
            drawn[row["unique_id"]].append([row["ds"], *figures])
    return {**found, "forecast": drawn} if found else {}


def _reviewed(report: dict[str, Any], workspace: Workspace) -> dict[str, Any]:
    return {"runs": _runs([*report.get("before", []), *report.get("after", [])], workspace)}


def _listed(report: dict[str, Any], workspace: Workspace) -> dict[str, Any]:
    return {"runs": _runs([row["id"] for row in report.get("rows", [])][-_MOST_RUNS:], workspace)}


def _runs(ids: list[str], workspace: Workspace) -> list[dict[str, Any]]:
    try:
        with closing(open_ledger(ledger_path(workspace))) as ledger:
            return [_short(read_run(ledger, one)) for one in ids[:_MOST_RUNS]]
    except ToolError:
        return []


def _short(run: Run) -> dict[str, Any]:
    """A run with its figures and losses, without the rest of its Report."""
    kept = run.model_dump(mode="json", exclude={"conditions", "report"})
    return {**kept, "loss": run.report.get("loss", []), "loss_every": run.report.get("loss_every", 1)}


def _artifact(path: str | None) -> str:
    """Its text; empty where there is none, or it is larger than a picture can use."""
    file = Path(path) if path else None
    if file is None or not file.is_file() or file.stat().st_size > _MOST_BYTES:
        return ""
    return file.read_text(encoding="utf-8")


_READERS: dict[str, Callable[[dict[str, Any], Workspace], dict[str, Any]]] = {
    "augment_series": _curves,
    "compare_baselines": _forecast,
    "estimate_memory": _timeline,
    "ledger": _listed,
    "review_evidence": _reviewed,
}
