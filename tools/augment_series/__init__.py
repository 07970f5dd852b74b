"""Copies of the training part of time series: fast, repeatable, and without a look at what comes later.

transforms     the array engine, public
augment_file   from a file to the augmented file and its manifest (in a child process, started through engine/)
"""

import hashlib
import sys
from pathlib import Path
from typing import Any

from pydantic import Field

from .._core.contract import Report, Request, ToolError, current_call, tool
from .._core.worker import Limits, run
from .._series.contract import IdColumn, Named, Stamp, input_path, require
from .text import brief, readable

_ENGINE = Path(__file__).with_name("engine")
_LIMITS = Limits(seconds=3600)
_ENDINGS = (".csv", ".tsv", ".txt", ".parquet", ".pq", ".feather", ".arrow", ".npz")


class AugmentSeriesRequest(Request):
    """Arguments of augment_series."""

    path: Path = Field(description="CSV, Parquet, Feather, npz, or a folder of them; long or wide.")
    output: Path | None = Field(None, description="New file; default in the artifacts.")
    methods: Named = Field(
        [], description='Names or {"name", parameters, "round", "minimum"}: references/series.md.'
    )
    copies: int = Field(1, ge=1, le=100, description="Per series and method.")
    seed: int = Field(0, ge=0, description="Same seed, same bytes.")
    id_column: IdColumn = Field(None, description="Series id.")
    time_column: str | None = Field(None, description="Time stamps.")
    target_columns: list[str] | None = Field(None, description="The values.")
    label_column: str | None = Field(None, description="Class of a series or step.")
    train_until: Stamp = Field(
        None, description="Last training stamp or row number, inclusive; later rows pass unread."
    )
    recipe_only: bool = Field(False, description="Only the recipe, to augment while training.")


class AugmentSeriesReport(Report):
    """Where the augmented table is, and how far its copies are from their originals."""

    output_path: Path | None
    rows: int = Field(description="Originals and copies together.")
    synthetic_rows: int
    series: int
    manifest_path: Path = Field(description="Methods, parameters, seed, and the source rows of every copy.")
    fidelity: list[dict[str, Any]]
    picture_path: Path | None = Field(description="A few originals and copies (SVG).")
    warnings: list[str]

    def brief(self) -> str:
        return brief(self)

    def readable(self) -> str:
        return readable(self)


@tool(effect="writes", positional=("path",))
def augment_series(request: AugmentSeriesRequest) -> AugmentSeriesReport:
    """Add synthetic copies of the training part of time series to a table, repeatably and without leakage.

    Whether copies help is another question, which compare_baselines measures. Source: references/series.md.
    """
    require("numpy", "pyarrow", "scipy")
    path = input_path(request.path)
    output = _output(request, path)
    reply = run(
        _ENGINE,
        {
            **request.model_dump(mode="json"),
            "path": str(path),
            "output": str(output),
            "root": str(current_call().workspace.root),
        },
        python=Path(sys.executable),
        limits=_LIMITS,
    )
    picture = reply.pop("picture")
    stored = current_call().workspace.store("copies.svg", picture.encode("utf-8")) if picture else None
    return AugmentSeriesReport(
        output_path=None if request.recipe_only else output, picture_path=stored, **reply
    )


def _output(request: AugmentSeriesRequest, path: Path) -> Path:
    workspace = current_call().workspace
    if request.output is None:
        folder = workspace.artifacts() / "artifacts"
        folder.mkdir(exist_ok=True)
        asked = hashlib.sha256(request.model_dump_json().encode()).hexdigest()[:8]
        return folder / f"{path.name.split('.')[0]}-augmented-{asked}{_ending(path)}"
    target = (workspace.root / request.output.expanduser()).resolve()
    if workspace.confined and not any(target.is_relative_to(f) for f in (workspace.root, *workspace.allowed)):
        raise ToolError(
            f"The output lies outside the workspace {workspace.root}",
            saw=str(request.output),
            try_next="a path inside it, or the server's flag --allow DIR",
        )
    if target.suffix.lower() not in _ENDINGS:
        raise ToolError("The output's ending names no format", saw=target.name, try_next=", ".join(_ENDINGS))
    if not target.parent.is_dir():
        raise ToolError(
            "The folder of the output does not exist", saw=str(target.parent), try_next="making it"
        )
    return target


def _ending(path: Path) -> str:
    found = [s.lower() for s in path.suffixes if s.lower() in _ENDINGS]
    return found[-1] if found else ".parquet"
