"""Dynamic time warping of one series onto another; plain Python, which loops.py compiles as it stands."""

from typing import Any

import numpy as np


def align(x: Any, y: Any, band: Any, out: Any) -> None:
    """out(t) = the mean of the steps of `y` that the cheapest warp in the band puts on step t of `x`, (time, channels).

    A step of the warp goes on in one series or in both (Sakoe and Chiba 1978); all channels are warped alike.
    """
    steps, channels = x.shape
    width = 2 * band + 1
    cost = np.full((steps, width), np.inf)
    for i in range(steps):
        for q in range(width):
            j = i - band + q
            if j < 0 or j >= steps:
                continue
            gap = 0.0
            for c in range(channels):
                gap += (x[i, c] - y[j, c]) * (x[i, c] - y[j, c])
            before = np.inf if i or j else 0.0
            if i:
                before = min(before, cost[i - 1, q])
                if q + 1 < width:
                    before = min(before, cost[i - 1, q + 1])
            if q:
                before = min(before, cost[i, q - 1])
            cost[i, q] = gap + before
    out[:] = 0.0
    i, j, count = steps - 1, steps - 1, 0
    while i >= 0:
        for c in range(channels):
            out[i, c] += y[j, c]
        count += 1
        q = j - i + band
        both = cost[i - 1, q] if i and j else np.inf
        along_x = cost[i - 1, q + 1] if i and q + 1 < width else np.inf
        along_y = cost[i, q - 1] if j and q else np.inf
        if i + j == 0 or both <= min(along_x, along_y) or along_x <= along_y:
            for c in range(channels):
                out[i, c] /= count
            count = 0
            j -= 1 if i + j and both <= min(along_x, along_y) else 0
            i -= 1
        else:
            j -= 1
