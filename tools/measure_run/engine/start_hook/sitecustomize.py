"""Starts the probe in a Python process of the measured command, then hands over to the sitecustomize it hides.

Python 3.9 syntax, standard library only. The folder of this file leaves `sys.path` again, so that the program sees the
path it would have seen; it stays in PYTHONPATH, so that the program's own child processes are measured too.
"""

import importlib.machinery
import importlib.util
import os
import sys

_HERE = os.path.dirname(os.path.abspath(__file__))
_PROBE = os.path.join(os.path.dirname(_HERE), "probe")
_NAME = "_optimizing_resources_probe"  # no program imports that name by accident


def _start_probe():
    spec = importlib.util.spec_from_file_location(
        _NAME, os.path.join(_PROBE, "__init__.py"), submodule_search_locations=[_PROBE]
    )
    probe = importlib.util.module_from_spec(spec)
    sys.modules[_NAME] = probe
    spec.loader.exec_module(probe)
    probe.start()


def _run_the_hidden_one():
    """Import the sitecustomize that Python would have found without us (Debian's Python has one)."""
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry) != _HERE]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", sys.path)
    if spec is None or spec.loader is None:
        return
    module = importlib.util.module_from_spec(spec)
    sys.modules["sitecustomize"] = module
    spec.loader.exec_module(module)


if os.environ.get("OPTIMIZING_RESOURCES_EVENTS"):
    _start_probe()
_run_the_hidden_one()
