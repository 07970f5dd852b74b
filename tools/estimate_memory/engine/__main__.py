"""Entry of the child process: predicts the peak memory of the caller's training step and of its remedies.

The engine is loaded as a package under a name of its own, so that a file of the caller called record.py or step.py
is still found as theirs.
"""

import contextlib
import importlib
import importlib.util
import os
import sys
import time

_NAME = "optimizing_resources_memory_engine"


def _load_package():
    folder = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry or ".") != folder]
    spec = importlib.util.spec_from_file_location(
        _NAME, os.path.join(folder, "__init__.py"), submodule_search_locations=[folder]
    )
    package = importlib.util.module_from_spec(spec)
    sys.modules[_NAME] = package
    spec.loader.exec_module(package)


def _engine(name):
    if _NAME not in sys.modules:
        _load_package()
    return importlib.import_module(f"{_NAME}.{name}")


def prepare():
    """Import what answers need, torch above all; for a process that is kept for several of them."""
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # a prediction must not take memory on a card that is there
    _engine("simulate")
    with contextlib.suppress(ImportError):  # fake tensors need it, and it takes as long as torch itself
        importlib.import_module("torch._dynamo")


def answer(request, progress):
    """The reply of the engine: see simulate.answer; to {"overheads": device} that of overheads.answer."""
    if "overheads" in request:
        return _engine("overheads").answer(request["overheads"])
    began = time.monotonic()
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # a prediction must not take memory on a card that is there
    simulate = _engine("simulate")
    _engine("limits").watch(request["seconds"], began, request["memory_limit_bytes"])
    return simulate.answer(request, progress)
