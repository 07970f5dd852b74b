"""Runs a script as it is and prints how often and how fast its optimizers stepped: `own_timing.py SCRIPT ARGUMENTS`.

The second route beside the probe of measure_run: `step` of the optimizer classes is wrapped, and nothing else.
"""

import atexit
import itertools
import runpy
import statistics
import sys
import time

import torch

ENDS = {}


def timed(step):
    def stepping(self, *arguments, **named):
        result = step(self, *arguments, **named)
        ENDS.setdefault(id(self), []).append(time.perf_counter())
        return result

    return stepping


def report():
    ends = max(ENDS.values(), key=len, default=[])
    gaps = [later - earlier for earlier, later in itertools.pairwise(ends)]
    warm = gaps[min(5, max(1, len(gaps) // 5)) :] or [0.0]
    print(f"\nown steps {len(ends)} own median {statistics.median(warm):.9f}", flush=True)


for kind in (
    torch.optim.Adam,
    torch.optim.AdamW,
    torch.optim.SGD,
    torch.optim.Adadelta,
    torch.optim.LBFGS,
    torch.optim.RMSprop,
):
    if "step" in vars(kind):
        kind.step = timed(kind.step)
atexit.register(report)
sys.argv = sys.argv[1:]
sys.path[0] = sys.argv[0].rpartition("/")[0] or "."
runpy.run_path(sys.argv[0], run_name="__main__")
