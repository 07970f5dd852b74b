"""What this interpreter offers to the search."""

import importlib.metadata
import importlib.util
import platform

MODULES = (
    "numpy", "onnx", "onnxruntime", "openvino", "nncf", "torch", "torchao", "torch_pruning",
    "lightgbm", "xgboost", "sklearn", "skops", "skl2onnx", "safetensors", "onnxscript",
)  # fmt: skip
_DISTRIBUTIONS = {"sklearn": "scikit-learn", "torch_pruning": "torch-pruning"}


def probe(request, progress):
    """Version by module, for those that are installed; nothing is imported."""
    found = {name: version(name) for name in MODULES if importlib.util.find_spec(name)}
    return {"python_version": platform.python_version(), "modules": found}


def version(name):
    for distribution in (_DISTRIBUTIONS.get(name, name), name + "-cpu"):
        try:
            return importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
    return "unknown"
