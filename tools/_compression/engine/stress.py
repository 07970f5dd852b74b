"""Rows as they will be once the series has moved on: another step like the one from calibration to confirmation rows.

Static int8 clips what leaves its calibrated range, and the confirmation rows may lie just inside. So the confirmation
rows are moved and stretched once more by what separates them from the calibration rows, and the drop is estimated as if
the baseline erred there as it does on the rows that are known.
"""

import os

import numpy as np

from . import judge, prepare, runners

MOST_ROWS = 512
LEAST_SHIFT, LEAST_STRETCH = 0.1, 1.1  # in standard deviations; below, the rows are taken to be stationary
METRICS = ("mae", "rmse")


def save(folder, feeds, parts, call, batch, metric):
    """Keep moved rows and the baseline's predictions on them; False where the rows are stationary."""
    moved = [_move(array, parts) for array in feeds.values()]
    if metric not in METRICS or all(array is None for array in moved):
        return False
    rows = _some(parts["confirmation"])
    kept = [array[rows] if new is None else new for new, array in zip(moved, feeds.values())]
    for i, array in enumerate(kept):
        np.save(os.path.join(folder, f"input{i}.stress.npy"), array)
    predictions = runners.predict(call, dict(zip(feeds, kept)), batch)
    if not np.isfinite(predictions).all():
        return False
    np.save(os.path.join(folder, "baseline.stress.npy"), predictions)
    return True


def _some(rows):
    return rows[np.linspace(0, len(rows) - 1, min(len(rows), MOST_ROWS)).astype(int)]


def _move(array, parts):
    """The confirmation rows of one input, moved on per channel; None where nothing moved so far."""
    if array.dtype.kind != "f" or not np.isfinite(array).all():
        return None
    before, after = array[parts["calibration"]], array[parts["confirmation"]]
    axes = tuple(range(array.ndim - 1)) if array.ndim > 2 else None
    spread = before.std(axes) + 1e-12
    shift = after.mean(axes) - before.mean(axes)
    stretch = np.maximum(1.0, after.std(axes) / spread)
    if (np.abs(shift) < LEAST_SHIFT * spread).all() and (stretch < LEAST_STRETCH).all():
        return None
    centre = after.mean(axes)
    return ((array[_some(parts["confirmation"])] - centre) * stretch + centre + shift).astype(array.dtype)


def drop(request, call):
    """The estimated drop of a candidate on the moved rows."""
    folder, metric = request["folder"], request["metric"]
    base = np.load(os.path.join(folder, "baseline.stress.npy"))
    feeds = prepare.load_rows(folder, request["names"], "stress")
    mine = runners.predict(call, feeds, request["evaluation_batch"]).reshape(base.shape)
    known, y = (np.load(os.path.join(folder, f"{name}.confirmation.npy")) for name in ("baseline", "y"))
    index = _some(np.arange(len(y)))
    before = judge.metric_value(metric, known[index], y[index])
    return judge.metric_value(metric, known[index] + (mine - base), y[index]) - before
