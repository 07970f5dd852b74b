"""Copies of the training part of time series: fast, repeatable, and without a look at what comes later.

transforms     the array engine, public
augment_file   from a file to the augmented file and its manifest (in a child process, started through engine/)
"""

import sys
from pathlib import Path
from typing import Any

from pydantic import Field

from .._core.contract import Report, Request, ToolError, current_call, tool
from .._core.worker import Limits, run

_ENGINE = Path(__file__).with_name("engine")
_LIMITS = Limits(seconds=3600)


class AugmentSeriesRequest(Request):
    """Arguments of augment_series."""

    path: Path = Field(description="CSV, Parquet, Feather or npz file, long or wide; or a folder of them.")
    output: Path | None = Field(None, description="New file; default in the artifacts.")
    methods: list[str | dict[str, Any]] = Field(
        [], description='Names, or {"name", parameters, "round", "minimum"}; see references/series.md.'
    )
    copies: int = Field(1, ge=1, le=100, description="Copies of each series and method.")
    seed: int = Field(0, ge=0, description="Same seed, same bytes.")
    id_column: str | list[str] | None = Field(None, description="Tells series apart.")
    time_column: str | None = None
    target_columns: list[str] | None = Field(None, description="The series' values.")
    label_column: str | None = Field(None, description="Class of a series or step.")
    train_until: str | int | float | None = Field(
        None, description="Last training time stamp or row number, inclusive; later rows pass unread."
    )
    recipe_only: bool = Field(False, description="Write the recipe (for augmenting while training), no rows.")


class AugmentSeriesReport(Report):
    """Where the augmented table is, and how far its copies are from their originals."""

    output_path: Path | None
    rows: int = Field(description="Originals and copies together.")
    synthetic_rows: int
    series: int
    manifest_path: Path = Field(description="Methods, parameters, seed, and the source rows of every copy.")
    fidelity: list[dict[str, Any]]
    warnings: list[str]


@tool(effect="writes", positional=("path",))
def augment_series(request: AugmentSeriesRequest) -> AugmentSeriesReport:
    """Add synthetic copies of the training part of time series to a table, repeatably and without leakage.

    Whether copies help is another question, which compare_baselines measures. Source: references/series.md.
    """
    call = current_call()
    path = call.workspace.file(request.path)
    output = _output(request, path)
    reply = run(
        _ENGINE,
        {**request.model_dump(mode="json"), "path": str(path), "output": str(output)},
        python=Path(sys.executable),
        limits=_LIMITS,
    )
    return AugmentSeriesReport(output_path=None if request.recipe_only else output, **reply)


def _output(request: AugmentSeriesRequest, path: Path) -> Path:
    workspace = current_call().workspace
    if request.output is None:
        folder = workspace.artifacts() / "artifacts"
        folder.mkdir(exist_ok=True)
        return folder / f"{path.name.split('.')[0]}-augmented{Path(path.name.removesuffix('.gz')).suffix}"
    target = (workspace.root / request.output.expanduser()).resolve()
    workspace.file(target.parent / path.name) if target.parent == path.parent else workspace._inside(target)
    if not target.parent.is_dir():
        raise ToolError(
            "The folder of the output does not exist", saw=str(target.parent), try_next="making it"
        )
    return target
