"""The caller's rows: read, checked against the model's inputs, and split three ways.

Calibration, search and confirmation rows are contiguous blocks, because rows that come in time order drift, and a
candidate must hold on later rows than those it was calibrated on. Rows sorted by label are dealt out in turn instead.
Windows cut from one series overlap, so a gap as long as the overlap separates the blocks where enough rows remain.
"""

import importlib.util
import os
import sys

import numpy as np

from .refusal import Refused, first_line

PARTS = ("calibration", "search", "confirmation")
SHARES = (0.15, 0.2, 0.65)  # a few rows calibrate and screen; a drop of a point needs many to be ruled out
TRAINED_SHARES = (0.1, 0.2, 0.7)  # a trained network needs no calibration, so more rows can confirm
MOST_ROWS = {"calibration": 256, "search": 4096, "confirmation": 20000}
FEWEST_ROWS = 24


def load(request, progress):
    """Call the caller's loader and keep its arrays as an npz; for `file.py:function`."""
    function = import_function(request["file"], request["function"], request["root"])
    try:
        found = function()
    except Exception as error:  # the caller's code may raise anything
        raise Refused(
            "The loader {} failed".format(request["function"]), first_line(error), "running it by hand"
        ) from error
    arrays = _as_arrays(found)
    np.savez(request["output"], **arrays)
    return {"arrays": {name: list(array.shape) for name, array in arrays.items()}}


def import_function(file, name, root):
    """A function of the caller's file, imported with its folder and the workspace on the path."""
    for folder in (root, os.path.dirname(file)):
        if folder not in sys.path:
            sys.path.insert(0, folder)
    spec = importlib.util.spec_from_file_location(os.path.splitext(os.path.basename(file))[0], file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # the caller's code may raise anything
        raise Refused(
            f"The file {os.path.basename(file)} does not import", first_line(error), "running it by hand"
        ) from error
    if not callable(getattr(module, name, None)):
        names = [
            n for n, v in vars(module).items() if callable(v) and getattr(v, "__module__", "") == spec.name
        ]
        raise Refused(
            f"No function {name} in {os.path.basename(file)}",
            ", ".join(names) or "none",
            "one of its functions",
        )
    return getattr(module, name)


def _as_arrays(found):
    if isinstance(found, tuple) and len(found) == 2:
        found = {"x": found[0], "y": found[1]}
    if not isinstance(found, dict):
        raise Refused(
            "The loader returns no arrays", type(found).__name__, "a dict of arrays, or a tuple (x, y)"
        )
    return {
        str(name): np.asarray(getattr(value, "numpy", lambda v=value: v)()) for name, value in found.items()
    }


def check_inputs(arrays, inputs):
    """The arrays of the model's inputs, in its order, and the target `y`; names, row counts, types and shapes hold."""
    names = [spec["name"] for spec in inputs]
    if len(names) == 1 and names[0] not in arrays and "x" in arrays:
        arrays = {**arrays, names[0]: arrays["x"]}
    missing = [name for name in [*names, "y"] if name not in arrays]
    if missing:
        raise Refused(
            "The data has no array {}".format(" or ".join(repr(name) for name in missing)),
            "arrays: " + (", ".join(sorted(arrays)) or "none"),
            "arrays named %s and y" % (", ".join(names) if len(names) > 1 else "x"),
        )
    counts = {name: len(arrays[name]) if arrays[name].ndim else 0 for name in [*names, "y"]}
    if min(counts.values()) == 0:
        raise Refused("The data has no rows", counts, "at least a few hundred labelled rows")
    if len(set(counts.values())) > 1:
        raise Refused("The arrays differ in their number of rows", counts, "one target per row")
    rows = min(counts.values())
    if rows < FEWEST_ROWS:
        raise Refused("Too few rows to calibrate, search and confirm on", rows, "a few hundred rows at least")
    for spec in inputs:
        _check_input(arrays[spec["name"]], spec)
    return {name: arrays[name] for name in names}, arrays["y"]


def match_inputs(arrays, inputs):
    """Checked inputs in the model's types, finite, and the target; float64 for a float32 input is cast, no more."""
    feeds, y = check_inputs(arrays, inputs)
    for spec in inputs:
        _refuse_gaps(feeds[spec["name"]], spec)
    return {s["name"]: feeds[s["name"]].astype(np.dtype(s["dtype"]), copy=False) for s in inputs}, y


def _check_input(array, spec):
    """Type and rank of one input."""
    wanted = np.dtype(spec["dtype"])
    if array.dtype.kind not in "fiub" or (array.dtype.kind == "f" and wanted.kind in "iu"):
        raise Refused(
            "Input {} has the wrong type".format(spec["name"]), array.dtype, f"an array of {wanted}"
        )
    shape = spec["shape"]
    if shape is None:
        return
    same = array.ndim == len(shape) and all(
        not isinstance(want, int) or i == 0 or want == have
        for i, (want, have) in enumerate(zip(shape, array.shape))
    )
    if not same:
        rows = ["rows", *shape[1:]]
        raise Refused(
            "Input {} has the wrong shape".format(spec["name"]), list(array.shape), f"rows of shape {rows}"
        )


def _refuse_gaps(array, spec):
    """NaN and infinity; to trees NaN is a value."""
    fine = array.dtype.kind != "f" or np.isfinite(array) | (np.isnan(array) & spec.get("missing", False))
    if not np.all(fine):
        bad = int((~fine.reshape(len(array), -1).all(1)).sum())
        raise Refused(
            "Input {} holds NaN or infinity".format(spec["name"]), f"{bad} of {len(array)} rows", "clean rows"
        )


def split(feeds, y, shares=SHARES):
    """Row numbers by part, and how the cut was made."""
    count = len(y)
    period = overlap(feeds)
    if period == 0 and _sorted_by_label(y):
        dealt = np.arange(count) % 10
        first, second = round(10 * shares[0]), round(10 * (shares[0] + shares[1]))
        bounds = {
            "calibration": dealt < first,
            "search": (dealt >= first) & (dealt < second),
            "confirmation": dealt >= second,
        }
        parts = {name: np.flatnonzero(mask) for name, mask in bounds.items()}
        return {k: _thin(v, MOST_ROWS[k]) for k, v in parts.items()}, {
            "order": "dealt in turn: sorted by label",
            "gap": 0,
        }
    gap = period if 6 * period < count else min(period, count // 20)
    edges = np.cumsum((0.0, *shares)) * (count - 2 * gap)
    parts = {}
    for i, name in enumerate(PARTS):
        parts[name] = _thin(np.arange(int(edges[i]) + i * gap, int(edges[i + 1]) + i * gap), MOST_ROWS[name])
    return parts, {"order": "contiguous blocks", "gap": int(gap), "window": int(period)}


def overlap(feeds):
    """The window length when row i + 1 is row i moved on by one step (windows of a series), else 0."""
    array = next(iter(feeds.values()))
    if array.ndim < 2 or len(array) < 8 or array.shape[1] < 4:
        return 0
    some = np.linspace(0, len(array) - 2, 8).astype(int)
    if all(np.array_equal(array[i, 1:], array[i + 1, :-1]) and array[i].std() > 0 for i in some):
        return int(array.shape[1])
    return 0


def _sorted_by_label(y):
    if y.dtype.kind not in "iub" or y.ndim != 1:
        return False
    changes = int((y[1:] != y[:-1]).sum())
    return len(np.unique(y)) > 1 and changes < 0.2 * len(y) * (1 - _repeat_chance(y))


def _repeat_chance(y):
    shares = np.unique(y, return_counts=True)[1] / len(y)
    return float((shares**2).sum())


def _thin(rows, most):
    return rows if len(rows) <= most else rows[np.linspace(0, len(rows) - 1, most).astype(int)]
