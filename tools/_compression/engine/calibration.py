"""Calibration rows in the batches that the quantizers read: evenly drawn, few enough to be quick."""

import numpy as np

from . import prepare

ROWS = 128
BATCH = 16


def batches(request):
    """Feeds of BATCH rows each (or of the model's fixed batch), drawn evenly from the calibration rows."""
    feeds = prepare.load_rows(request["folder"], request["names"], "calibration")
    count = len(next(iter(feeds.values())))
    picks = np.unique(np.linspace(0, count - 1, min(count, ROWS)).astype(int))
    batch = request["fixed_batch"] or BATCH
    if len(picks) < batch:
        picks = np.resize(picks, batch)
    return [
        {name: np.ascontiguousarray(array[picks[i : i + batch]]) for name, array in feeds.items()}
        for i in range(0, len(picks) - batch + 1, batch)
    ]


class Rows:
    """The same in the form onnxruntime reads them."""

    def __init__(self, request):
        self.batches = iter(batches(request))

    def get_next(self):
        return next(self.batches, None)
