"""What rides inside the measured program: notes optimizer steps, waiting for data, losses and memory, and stops it.

record        the file of events that the supervisor reads; fields of a step
torch_hooks   what is hooked when the program imports torch: optimizer steps; forwards, loading, reading and losses
              are its parts, guard what keeps them harmless

Python 3.9 syntax, standard library only; torch is the program's own. Nothing is imported that the program does not
import itself, and nothing is left in objects that it might save.
"""

import atexit
import importlib.abc
import importlib.util
import os
import sys

from .record import Record


class _Loader(importlib.abc.Loader):
    """A module's own loader, and `done(module)` once it has run."""

    def __init__(self, loader, done):
        self._loader = loader
        self._done = done

    def create_module(self, spec):
        return self._loader.create_module(spec)

    def exec_module(self, module):
        module.__spec__.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        self._done(module)


class _AfterImport(importlib.abc.MetaPathFinder):
    """Calls `done(torch)` when the program has imported torch, then leaves the import system as it was."""

    def __init__(self, done):
        self._done = done

    def find_spec(self, name, path=None, target=None):
        if name != "torch" or self not in sys.meta_path:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, self._done)
        return spec


def start():
    """Note the end of this process from now on, and hook torch as soon as the program imports it."""
    record = Record(os.environ["OPTIMIZING_RESOURCES_EVENTS"])
    seen = sys.excepthook

    def note_exception(kind, error, trace):
        name = (
            kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
        )
        record.note("exception", kind=name, text=str(error)[:500])
        seen(kind, error, trace)

    def hook(torch):
        from .torch_hooks import Hooks

        Hooks(torch, record).install()

    sys.excepthook = note_exception
    atexit.register(record.close)
    if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
        os.register_at_fork(after_in_child=record.forget)
    sys.meta_path.insert(0, _AfterImport(hook))
