"""What kind of model a file is, told from its bytes; what would run code on loading is refused with the way out."""

import zipfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from .._core.contract import ToolError
from .._core.workspace import Workspace
from .archives import pickle_globals, read_member, read_zip, scan_program
from .sizes import external_files, refuse_large_model

_PICKLES = (".pkl", ".pickle", ".joblib")
CONVERT = "torch.save(model.state_dict(), path) and file.py:factory, or an ONNX file"
_ELSEWHERE = {
    ".h5": "Keras", ".keras": "Keras", ".tflite": "LiteRT", ".gguf": "GGUF", ".pb": "TensorFlow",
    ".mlmodel": "Core ML", ".engine": "TensorRT", ".ort": "ORT format", ".xml": "OpenVINO", ".cbm": "CatBoost",
}  # fmt: skip


@dataclass(frozen=True)
class Source:
    """A model that may be loaded: onnx, pt2, torchscript, factory, lightgbm, xgboost or sklearn."""

    kind: str
    file: Path
    function: str | None = None
    weights: Path | None = None
    trusted: bool = False

    @cached_property
    def files(self) -> list[Path]:
        """What decides the model: its file, its external data and the weights."""
        beside = external_files(self.file) if self.kind == "onnx" else []
        return [self.file, *beside, *([self.weights] if self.weights else [])]

    @property
    def needs(self) -> tuple[str, ...]:
        """The libraries without which the search cannot read the file."""
        if self.kind == "sklearn":
            return ("sklearn",) if self.file.suffix in _PICKLES else ("sklearn", "skops")
        return (self.kind,) if self.kind in ("lightgbm", "xgboost") else ()


def find_source(model: str, weights: str | None, trust: bool, workspace: Workspace) -> Source:
    """The model that the caller names, recognised and scanned."""
    if function := split_function(model):
        return Source("factory", workspace.file(function[0]), function[1], _weights(weights, workspace))
    path = workspace.file(Path(model))
    if path.suffix == ".py":
        raise ToolError(
            "A Python file needs the name of its factory", saw=model, try_next=f"{model}:make_model"
        )
    if weights:
        raise ToolError("weights belong to a factory", saw=model, try_next="file.py:factory, or no weights")
    return _recognise(path, trust)


def split_function(text: str) -> tuple[Path, str] | None:
    """File and function of `file.py:function`."""
    file, colon, name = text.rpartition(":")
    return (Path(file), name) if colon and file.endswith(".py") and name.isidentifier() else None


def _weights(weights: str | None, workspace: Workspace) -> Path | None:
    if weights is None:
        return None
    path = workspace.file(Path(weights))
    refuse_large_model(path)
    if path.suffix != ".safetensors":
        _refuse_whole_module(path)
    return path


def _recognise(path: Path, trust: bool) -> Source:
    refuse_large_model(path)
    with path.open("rb") as file:
        head = file.read(512)
    if not head:
        raise ToolError("The model file is empty", saw=path.name, try_next="a whole copy")
    if kind := _ELSEWHERE.get(path.suffix.lower()):
        raise ToolError(
            f"A {kind} file cannot be searched here",
            saw=path.name,
            try_next="the ONNX file or the framework's model",
        )
    if head.startswith(b"PK"):
        return _recognise_zip(path, trust)
    if head.startswith(b"tree\n"):
        return Source("lightgbm", path)
    if head[:1] == b"{" and (b'"learner"' in head or b"learner" in head):
        return Source("xgboost", path)
    if path.suffix == ".json":
        raise ToolError(
            "The JSON file is no model that is known here", saw=path.name, try_next="an ONNX file"
        )
    if head[0] == 0x80 or path.suffix in _PICKLES:
        return _pickled(path, trust)
    if path.suffix == ".safetensors":
        raise ToolError(
            "Weights alone are no model", saw=path.name, try_next="model='file.py:factory' with these weights"
        )
    if path.suffix in (".pt", ".pth", ".bin"):
        raise ToolError("This is no PyTorch file that can be loaded safely", saw=path.name, try_next=CONVERT)
    source = Source("onnx", path)
    refuse_large_model(*source.files)
    return source


def _recognise_zip(path: Path, trust: bool) -> Source:
    with read_zip(path) as archive:
        names = archive.namelist()
    members = {name.partition("/")[2] for name in names}
    if "archive_format" in members or any(m.startswith("models/") for m in members):
        scan_program(path)
        return Source("pt2", path)
    if "constants.pkl" in members:
        if not trust:
            raise ToolError(
                "TorchScript files carry their own program; loading one needs trust: true",
                saw=path.name,
                try_next=CONVERT,
            )
        return Source("torchscript", path, trusted=True)
    if "data.pkl" in members:
        _refuse_whole_module(path)
        raise ToolError(
            "Weights alone are no model", saw=path.name, try_next="model='file.py:factory' with these weights"
        )
    if "schema.json" in names:
        return Source("sklearn", path, trusted=trust)
    raise ToolError("The archive is no known model", saw=", ".join(names[:3]), try_next="an ONNX file")


def _refuse_whole_module(path: Path) -> None:
    """A state dict names tensors only; whatever else it would import is refused before torch sees the file."""
    if not zipfile.is_zipfile(path):
        raise ToolError(
            "The weights are no torch checkpoint that loads as plain tensors", saw=path.name, try_next=CONVERT
        )
    with read_zip(path) as archive:
        pickles = [read_member(archive, name) for name in archive.namelist() if name.endswith("/data.pkl")]
        if any(name.endswith("/constants.pkl") for name in archive.namelist()):
            raise ToolError("This is a TorchScript file, not a state dict", saw=path.name, try_next=CONVERT)
    for data in pickles:
        strange = [
            g for g in pickle_globals(data) if g.split(" ")[0].split(".")[0] not in ("torch", "collections")
        ]
        if strange or any("nn.modules" in g for g in pickle_globals(data)):
            what = (strange or ["torch.nn module"])[0].replace(" ", ".")
            raise ToolError(
                "The file pickles objects, not only tensors; loading it would run code",
                saw=what,
                try_next=CONVERT,
            )


def _pickled(path: Path, trust: bool) -> Source:
    if trust and path.suffix in _PICKLES:
        return Source("sklearn", path, trusted=True)
    raise ToolError(
        "A pickle runs code when it is loaded, so it is refused", saw=path.name,
        try_next="skops.io.dump(model, 'model.skops') for scikit-learn, model.save_model for LightGBM and XGBoost, "
        "a state dict for torch; or trust: true for a scikit-learn file of your own",
    )  # fmt: skip
