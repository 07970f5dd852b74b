"""`ledger`: what was measured in this workspace, as a list, a picture, CSV, JSON or in MLflow."""

import csv
import io
import json
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field

from .._core.contract import Report, Request, ToolError, command, current_call
from .._core.interpreter import resolve_python
from .._core.ledger import Run, ledger_path, open_ledger, read_run, read_runs
from .._core.quantity import human_bytes
from .._core.worker import Limits, run
from .._core.workspace import Workspace
from .picture import draw

_MLFLOW = Path(__file__).with_name("engine") / "to_mlflow"
_MLFLOW_SECONDS = 300.0
# The columns of a CSV export, a figure a row.
_OF_RUN = ("id", "taken_at", "label", "outcome", "device", "workload")
_OF_FIGURE = ("metric", "value", "unit", "basis", "repeats", "low", "high")


class LedgerRequest(Request):
    ids: list[str] = Field(
        [], description="Only these; two of them (before, after) are drawn with --picture."
    )
    export: Literal["csv", "json", "mlflow"] | None = Field(None, description="Write the rows so.")
    picture: bool = Field(False, description="A before-and-after picture (SVG) of two ids.")
    experiment: str = Field("optimizing-resources", description="The MLflow experiment.")
    python: str | None = Field(None, description="The environment that has mlflow.")


class LedgerRow(BaseModel):
    id: str
    taken_at: str
    label: str
    outcome: str
    step_seconds_p50: float | None
    peak_rss_bytes: int | None
    peak_gpu_bytes: int | None
    command: str


class LedgerReport(Report):
    rows: list[LedgerRow]
    written: str | None = Field(None, description="The picture, the export, or where MLflow keeps it.")

    def readable(self) -> str:
        """A table, oldest first."""
        lines = [f"{'id':12}{'taken (UTC)':21}{'outcome':18}{'step p50':>11}{'host peak':>12}  command"]
        for row in self.rows:
            step = "-" if row.step_seconds_p50 is None else f"{row.step_seconds_p50 * 1e3:.4g} ms"
            peak = "-" if row.peak_rss_bytes is None else human_bytes(row.peak_rss_bytes)
            name = f"[{row.label}] {row.command}" if row.label else row.command
            lines.append(
                f"{row.id:12}{row.taken_at[:19]:21}{row.outcome:18}{step:>11}{peak:>12}  {name[:70]}"
            )
        if not self.rows:
            lines = [
                "Nothing was measured here yet; `optimizing-resources measure_run -- python train.py` begins."
            ]
        return "\n".join([*lines, *([f"Written: {self.written}"] if self.written else [])])


@command("ids")
def ledger(request: LedgerRequest) -> LedgerReport:
    """List what was measured in this workspace; draw two runs, or export them as CSV, JSON or to MLflow."""
    workspace = current_call().workspace
    with closing(open_ledger(ledger_path(workspace))) as opened:
        runs = [read_run(opened, one) for one in request.ids] if request.ids else read_runs(opened)
    written = None
    if request.picture:
        if len(runs) != 2:
            raise ToolError(
                "A picture wants two ids", saw=f"{len(runs)} runs", try_next="ledger BEFORE AFTER --picture"
            )
        written = str(workspace.store("before-after.svg", draw(*runs).encode()))
    elif request.export:
        written = _export(request, runs, workspace)
    return LedgerReport(rows=[_row(one) for one in runs], written=written)


def _row(one: Run) -> LedgerRow:
    values = {figure.metric: figure.value for figure in one.figures}
    whole = {name: round(values[name]) for name in ("peak_rss_bytes", "peak_gpu_bytes") if name in values}
    return LedgerRow(
        id=one.id,
        taken_at=one.taken_at,
        label=one.label,
        outcome=one.outcome,
        step_seconds_p50=values.get("step_seconds_p50"),
        peak_rss_bytes=whole.get("peak_rss_bytes"),
        peak_gpu_bytes=whole.get("peak_gpu_bytes"),
        command=" ".join(" ".join(one.conditions.get("command", [])).split()),
    )


def _export(request: LedgerRequest, runs: list[Run], workspace: Workspace) -> str:
    if request.export == "mlflow":
        return _to_mlflow(request, runs, workspace)
    if request.export == "json":
        text = json.dumps([one.model_dump(mode="json") for one in runs], indent=1)
        return str(workspace.store("ledger.json", text.encode()))
    rows = io.StringIO()
    writer = csv.writer(rows)
    writer.writerow([*_OF_RUN, *_OF_FIGURE])
    for one in runs:
        for figure in one.figures:
            writer.writerow([*(getattr(one, n) for n in _OF_RUN), *(getattr(figure, n) for n in _OF_FIGURE)])
    return str(workspace.store("ledger.csv", rows.getvalue().encode()))


def _to_mlflow(request: LedgerRequest, runs: list[Run], workspace: Workspace) -> str:
    python = resolve_python(request.python, workspace)
    content: dict[str, Any] = {"python": str(python), "experiment": request.experiment, "runs": []}
    for one in runs:
        plain = one.model_dump(mode="json", include={"id", "label", "outcome", "device", "figures"})
        words = " ".join(one.conditions.get("command", []))
        plain |= {
            "command": words,
            "loss": one.report.get("loss", []),
            "loss_every": one.report.get("loss_every", 1),
        }
        content["runs"].append(plain)
    reply = run(_MLFLOW, content, python=python, limits=Limits(_MLFLOW_SECONDS))
    return f"{reply['logged']} runs in MLflow at {reply['where']}"
