"""Which baseline forecasts these series best, and whether augmentation helps it: measured and paired.

compare_file   from a file to the table (in a child process, started through engine/)
inputs, panel, folds, cells, estimate, backtest, run_cells, metrics, verdict, recommend   its steps, in their order
classify, classify_cells   the same for labelled series
models/        the models behind one interface
"""

import sys
import uuid
from pathlib import Path
from typing import Any

from pydantic import Field

from .._core.contract import Report, Request, current_call, tool
from .._core.worker import Limits, run
from .._series.contract import IdColumn, Named, input_path, require
from .text import brief, readable

_ENGINE = Path(__file__).with_name("engine")
_GRACE_SECONDS = (
    300.0  # beside max_seconds: start, timing runs, and the cell that is under way when time is up
)


class CompareBaselinesRequest(Request):
    """Arguments of compare_baselines."""

    path: Path = Field(description="CSV, Parquet or Feather; long or wide.")
    horizon: int | None = Field(None, ge=1, description="Steps to forecast.")
    season: int | None = Field(None, ge=1, description="Steps a season; default from the time steps.")
    models: Named = Field([], description='Names, or {"name", "checkpoint": FOLDER}; default all cheap ones.')
    augment: Named = Field([], description="Methods of augment_series to judge.")
    folds: int = Field(3, ge=1, le=20, description="Rolling origins.")
    seed: int = Field(0, ge=0, description="Repeatable.")
    max_seconds: float = Field(600, gt=0, description="The rest is left out and listed.")
    id_column: IdColumn = Field(None, description="Series id.")
    time_column: str | None = Field(None, description="Time stamps.")
    target_column: str | None = Field(None, description="The values.")
    label_column: str | None = Field(None, description="Class of each series: compare classifiers instead.")


class CompareBaselinesReport(Report):
    """The table, the paired verdicts and the recommended model's forecast."""

    series: int
    season: int
    folds: int
    table: list[dict[str, Any]] = Field(
        description="Best first; sMAPE on 0 to 200; CRPS scaled by the mean size."
    )
    verdict: list[dict[str, Any]]
    recommended: dict[str, Any]
    forecast_path: Path | None
    picture_path: Path | None = Field(description="Histories with their forecasts (SVG).")
    not_run: list[dict[str, str]]
    failures: list[dict[str, str]] = Field(
        description="Series left out, or given the seasonal naive instead."
    )
    estimated_seconds: float | None = Field(description="As told before the run.")
    run_seconds: float
    warnings: list[str]

    def brief(self) -> str:
        return brief(self)

    def readable(self) -> str:
        return readable(self)


@tool(effect="trains", positional=("path",))
def compare_baselines(request: CompareBaselinesRequest) -> CompareBaselinesReport:
    """Backtest forecasting baselines on your own series, and judge whether augmentation helps them.

    Source: references/series.md.
    """
    require("numpy", "pyarrow", "scipy", "statsforecast")
    workspace = current_call().workspace
    path = input_path(request.path)
    folder = workspace.artifacts() / "artifacts"
    folder.mkdir(exist_ok=True)
    partial = folder / f"comparison-{uuid.uuid4().hex[:8]}.partial.json"
    reply = run(
        _ENGINE,
        {**request.model_dump(mode="json"), "path": str(path), "partial": str(partial)},
        python=Path(sys.executable),
        limits=Limits(seconds=request.max_seconds + _GRACE_SECONDS),
    )
    partial.unlink(missing_ok=True)  # it is what a stopped comparison leaves behind
    text, picture = reply.pop("forecast"), reply.pop("picture")
    forecast = workspace.store("forecast.csv", text.encode("utf-8")) if text else None
    stored = workspace.store("forecast.svg", picture.encode("utf-8")) if picture else None
    return CompareBaselinesReport(forecast_path=forecast, picture_path=stored, **reply)
