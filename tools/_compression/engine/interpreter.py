"""What this interpreter offers to the search."""

import importlib.metadata
import importlib.util
import platform

MODULES = (
    "numpy", "onnx", "onnxruntime", "openvino", "nncf", "torch", "torchao", "torch_pruning",
    "lightgbm", "xgboost", "sklearn", "skops", "skl2onnx", "safetensors", "onnxscript", "executorch",
)  # fmt: skip
_DISTRIBUTIONS = {"sklearn": "scikit-learn", "torch_pruning": "torch-pruning"}


def probe(request, progress):
    """Version by module, for those that are installed; nothing is imported."""
    found = {name: version(name) for name in MODULES if importlib.util.find_spec(name)}
    return {"python_version": platform.python_version(), "modules": found}


def version(name):
    """The version of the distribution that a module comes from, without importing it."""
    wanted = {_DISTRIBUTIONS.get(name, name), name + "-cpu"}
    found = [d.version for d in importlib.metadata.distributions() if d.metadata["Name"] in wanted]
    return found[0] if found else "unknown"
