"""From what the caller names to one ONNX file (or tree model) and one npz of rows."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._core.contract import ToolError, current_call
from .._core.workspace import Workspace
from .interpreters import Interpreter
from .job import Job
from .sizes import refuse_large_rows
from .sources import Source, split_function

EXPORT_SECONDS = 300
LOAD_SECONDS = 120


@dataclass(frozen=True)
class Intake:
    """The model as an artifact, the torch program where there is one, and the rows."""

    artifact: dict[str, Any]
    program: str | None
    data: Path
    notes: dict[str, Any]


def find_data(data: str, workspace: Workspace) -> tuple[Path, str | None]:
    """The npz, or the Python file and the loader in it."""
    if function := split_function(data):
        return workspace.file(function[0]), function[1]
    path = workspace.file(Path(data))
    if path.suffix != ".npz":
        raise ToolError(
            "The data is neither an .npz nor file.py:loader",
            saw=path.name,
            try_next="np.savez(path, x=..., y=...)",
        )
    refuse_large_rows(path)
    return path, None


def load_data(job: Job, name: str, python: Interpreter) -> Path:
    """The rows as an npz; a loader runs in a child under the caller's interpreter."""
    path, function = find_data(name, current_call().workspace)
    if function is None:
        return path
    output = job.folder / f"rows-{path.stem}-{function}.npz"
    python.require(("numpy",), "The loader")
    job.do(
        "load_rows", python, seconds=LOAD_SECONDS, file=str(path), function=function, output=str(output),
        root=str(current_call().workspace.root),
    )  # fmt: skip
    return output


def take_in(job: Job, source: Source, data: Path, python: Interpreter) -> Intake:
    """The model in a form that the search can run."""
    if source.kind == "onnx":
        return Intake({"runtime": "onnxruntime", "path": str(source.file)}, None, data, {"exporter": None})
    if source.kind in ("lightgbm", "xgboost", "sklearn"):
        artifact = {"runtime": source.kind, "path": str(source.file), "trust": source.trusted}
        return Intake(artifact, None, data, {"exporter": None})
    python.require(("torch", "numpy", "onnx", "onnxscript"), "Exporting a torch model")
    reply = job.do(
        "export", python, seconds=EXPORT_SECONDS, kind=source.kind, file=str(source.file),
        function=source.function, weights=str(source.weights) if source.weights else None, data=str(data),
        root=str(current_call().workspace.root),
    )  # fmt: skip
    notes = {name: reply[name] for name in ("exporter", "problems", "eager_gap", "torch")}
    return Intake({"runtime": "onnxruntime", "path": reply["path"]}, reply["program"], data, notes)
