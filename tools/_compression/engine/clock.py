"""Latency of several runners, timed in alternating blocks of one window.

Other work on the machine hits all of them alike; p10 is compared, because the upper percentiles mostly show the
scheduler. The order of the blocks is turned round each round.
"""

import os
import time

import numpy as np

BLOCK_SECONDS = 0.025
FEWEST_ROUNDS = 4


def interleave(calls, seconds):
    """Seconds per call by name; `calls` maps a name to a function without arguments."""
    per_block = {}
    for name, call in calls.items():
        call()
        once = _time(call)
        once = min(once, _time(call)) if once < 1 else once
        per_block[name] = max(1, int(BLOCK_SECONDS / max(once, 1e-7)))
    times = {name: [] for name in calls}
    deadline = time.perf_counter() + seconds
    names = list(calls)
    rounds = 0
    while rounds < FEWEST_ROUNDS or time.perf_counter() < deadline:
        if rounds >= 1 and time.perf_counter() > deadline + 3 * seconds:
            break  # a call takes seconds: one round has to do
        for name in names:
            call, sink = calls[name], times[name]
            call()  # caches belong to the other runner after its block
            for _ in range(per_block[name]):
                sink.append(_time(call))
        names.reverse()
        rounds += 1
    return {name: np.asarray(taken) for name, taken in times.items()}, rounds


def _time(call):
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def summary(times, batch):
    """Percentiles in seconds, and rows per second at the median."""
    p10, p50, p95 = np.percentile(times, (10, 50, 95))
    return {
        "p10_seconds": float(p10),
        "p50_seconds": float(p50),
        "p95_seconds": float(p95),
        "rows_per_second": float(batch / p50),
        "calls": len(times),
    }


def load_average():
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def resident_bytes(peak=False):
    """Resident memory of this process now, or its peak since reset_peak(); None where /proc is missing."""
    try:
        with open("/proc/self/status", encoding="ascii") as file:
            lines = dict(line.split(":", 1) for line in file if ":" in line)
    except OSError:
        return None
    return int(lines["VmHWM" if peak else "VmRSS"].split()[0]) * 1024
