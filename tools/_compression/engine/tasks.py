"""Which function answers which task."""

import importlib
import os

from .refusal import Refused

# The module is imported on call: an interpreter needs only the libraries of the tasks it is given.
TASKS = {
    "probe": ("interpreter", "probe"),
    "export": ("program", "export"),
    "load_rows": ("rows", "load"),
    "prepare": ("prepare", "prepare"),
    "build": ("variants", "build"),
    "measure": ("measure", "measure"),
    "race": ("measure", "race"),
    "edge": ("edge", "edge"),
    "score": ("judge", "score"),
    "prune": ("prune", "prune"),
    "distill": ("distill", "distill"),
    "boost": ("boost", "boost"),
}


def answer(request, progress):
    """The reply of one task, or its refusal. `folder` becomes the current folder for what libraries leave behind."""
    module, function = TASKS[request["task"]]
    os.chdir(request["folder"])
    try:
        return getattr(importlib.import_module("compression_engine." + module), function)(request, progress)
    except Refused as refused:
        return {"refused": refused.reply}
