"""Field types that augment_series and compare_baselines share; each with the short schema a host is shown."""

import importlib.util
import sys
from pathlib import Path
from typing import Annotated, Any

from pydantic import WithJsonSchema

from .._core.contract import ToolError, current_call

Named = Annotated[
    list[str | dict[str, Any]], WithJsonSchema({"type": "array", "items": {"type": ["string", "object"]}})
]
IdColumn = Annotated[str | list[str] | None, WithJsonSchema({"type": ["string", "array", "null"]})]
Stamp = Annotated[str | int | float | None, WithJsonSchema({"type": ["string", "number", "null"]})]


def require(*modules: str) -> None:
    """Refuse with the command to run where a library of the extra is missing; nothing is imported for that."""
    if absent := [m for m in modules if importlib.util.find_spec(m) is None]:
        raise ToolError(
            "Time series need the extra `series`, which keeps pandas below 3",
            saw=f"no {', '.join(absent)} in {sys.prefix}",
            try_next="pip install 'optimizing-resources[series]'",
        )


def input_path(path: Path) -> Path:
    """An existing file of the workspace, or a folder of files in it."""
    workspace = current_call().workspace
    found = (workspace.root / path.expanduser()).resolve()
    if not found.is_dir():
        return workspace.file(path)
    inside = sorted(p for p in found.iterdir() if p.is_file() and not p.name.startswith("."))
    if not inside:
        raise ToolError(
            "The folder holds no files", saw=str(path), try_next="a folder of CSV or Parquet files"
        )
    workspace.file(inside[0])  # refuses a folder outside the workspace
    return found
