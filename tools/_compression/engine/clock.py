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
WAITED = 1.15  # wall over processor time of the baseline, above which it waited for a core
COLD_BYTES = 128 * 1024**2  # more than most processors cache
COLD_ROUNDS = 9
FINEST_SECONDS = 1e-4  # a coarser processor clock (Windows: 16 ms) cannot time a call


class Times:
    """What the calls of one runner took, in seconds of wall and of processor time."""

    def __init__(self):
        self.wall, self.processor = [], []

    def add(self, call, calls):
        for _ in range(calls):
            processor, wall = time.process_time(), time.perf_counter()
            call()
            self.wall.append(time.perf_counter() - wall)
            self.processor.append(time.process_time() - processor)

    def p10(self, kind):
        return float(np.percentile(getattr(self, kind), 10))

    def waited(self):
        """How much longer than their work the calls took in all."""
        return sum(self.wall) / max(sum(self.processor), 1e-9)


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
    return "processor" if fine and threads == 1 and baseline.waited() > WAITED else "wall"


def ratios(times, threads, baseline="baseline"):
    """Speed ratio against the baseline by name, and the kind of times that they come from."""
    used = kind(times[baseline], threads)
    base = times[baseline].p10(used)
    return {name: base / taken.p10(used) for name, taken in times.items()}, used


def cold_ratios(calls, threads):
    """Speed ratios against "baseline" where other work took the caches before every call.

    Back to back, weights that fit the last-level cache stay there; in a service that does other work they do not.
    """
    other, times = np.zeros(COLD_BYTES, np.uint8), {name: Times() for name in calls}
    for _ in range(COLD_ROUNDS):
        for name, call in calls.items():
            other += 1
            times[name].add(call, 1)
    return ratios(times, threads)[0]


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
