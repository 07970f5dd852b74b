"""Latency of several runners, timed in alternating blocks of one window.

Other work on the machine hits all of them alike; p10 is compared, because the upper percentiles mostly show the
scheduler. The order of the blocks is turned round each round. Where the baseline had to wait for a core, the wall clock
measures the other work, and most of all for a runtime that hands each call to a thread of its own; processor time does
not (references/compression.md).
"""

import os
import time

import numpy as np

BLOCK_SECONDS = 0.025
FEWEST_ROUNDS = 4
WAITED = 1.15  # wall over processor time of the baseline's blocks, above which it waited for a core
FINEST_SECONDS = 1e-4  # a coarser processor clock (Windows: 16 ms) cannot time a block


class Times:
    """What one runner took: `wall` seconds per call, `processor` seconds per call of each block, and their ratio."""

    def __init__(self):
        self.wall, self.processor, self.waited = [], [], []

    def add(self, call, calls):
        began, processor = time.perf_counter(), time.process_time()
        self.wall += [_time(call) for _ in range(calls)]
        used = time.process_time() - processor
        self.processor.append(used / calls)
        self.waited.append((time.perf_counter() - began) / used if used else 1.0)

    def p10(self, kind):
        return float(np.percentile(getattr(self, kind), 10))


def interleave(calls, seconds, times=None):
    """Times by name, added to `times` where given; `calls` maps a name to a function without arguments."""
    times = {} if times is None else times
    per_block = {name: _calls_per_block(call) for name, call in calls.items()}
    deadline = time.perf_counter() + seconds
    names = list(calls)
    rounds = 0
    while rounds < FEWEST_ROUNDS or time.perf_counter() < deadline:
        if rounds >= 1 and time.perf_counter() > deadline + 3 * seconds:
            break  # a call takes seconds: one round has to do
        for name in names:
            calls[name]()  # caches belong to the other runner after its block
            times.setdefault(name, Times()).add(calls[name], per_block[name])
        names.reverse()
        rounds += 1
    return times


def _calls_per_block(call):
    call()
    once = _time(call)
    once = min(once, _time(call)) if once < 1 else once
    return max(1, int(BLOCK_SECONDS / max(once, 1e-7)))


def _time(call):
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def kind(baseline, threads):
    """Which times compare: "processor" where the baseline waited for its core, else "wall".

    Processor time is latency on one thread only: more threads add theirs up.
    """
    fine = time.get_clock_info("process_time").resolution <= FINEST_SECONDS
    waited = fine and threads == 1 and float(np.mean(baseline.waited)) > WAITED
    return "processor" if waited else "wall"


def ratios(times, threads, baseline="baseline"):
    """Speed ratio against the baseline by name, and the kind of times that they come from."""
    used = kind(times[baseline], threads)
    base = times[baseline].p10(used)
    return {name: base / taken.p10(used) for name, taken in times.items()}, used


def summary(taken, batch):
    """Percentiles in seconds, and rows per second at the median."""
    p10, p50, p95 = np.percentile(taken.wall, (10, 50, 95))
    return {
        "p10_seconds": float(p10),
        "p50_seconds": float(p50),
        "p95_seconds": float(p95),
        "rows_per_second": float(batch / p50),
        "calls": len(taken.wall),
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
