"""Transforms against tsaug in the same run: `python benchmarks/series_speed.py` (needs `pip install tsaug`).

Medians of interleaved rounds on float64, two threads, compile time excluded; the extra memory of one call is the
growth of the peak resident size in a fresh process. Writes benchmarks/results/series_speed.csv.
"""

import csv
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from optimizing_resources.tools.augment_series import transforms

SHAPES = ((10_000, 512, 1), (1_000, 512, 8))
ROUNDS = 7
THREADS = 2
NAMES = ("jitter", "window_slice", "magnitude_warp", "time_warp")
WANTED = {"jitter": 3, "window_slice": 8, "magnitude_warp": 10, "time_warp": 15}


def series(shape: tuple[int, int, int]) -> np.ndarray:
    """Random walks."""
    return np.random.default_rng(0).normal(size=shape).cumsum(axis=1)


def rival(name: str, steps: int) -> Callable[[np.ndarray], np.ndarray]:
    """The transform of tsaug that does the same."""
    import tsaug

    return {
        "jitter": tsaug.AddNoise(scale=0.03, seed=0),
        "window_slice": tsaug.Crop(size=int(0.9 * steps), resize=steps, seed=0),
        "magnitude_warp": tsaug.Drift(n_drift_points=4, seed=0),
        "time_warp": tsaug.TimeWarp(seed=0),
    }[name].augment


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def cpu_seconds(work: Callable[[], object]) -> float:
    """The least processor time of five calls, which other load on the machine hardly changes."""
    found = []
    for _ in range(5):
        started = time.process_time()
        work()
        found.append(time.process_time() - started)
    return min(found)


def extra_bytes(name: str, shape: tuple[int, int, int]) -> int:
    """Growth of the peak resident size by one call, in a process of its own, after compiling on a small array."""
    code = f"import series_speed as s; print(s.measure_memory({name!r}, {shape!r}))"
    out = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parent, capture_output=True, check=True
    )
    return int(out.stdout)


def measure_memory(name: str, shape: tuple[int, int, int]) -> int:
    """Peak minus resident size before the call, in bytes."""
    work = getattr(transforms, name)
    x = series(shape)
    work(x[:300], seed=0, threads=THREADS)
    with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")  # the peak starts again from the present size
    before = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()
    made = work(x, seed=0, threads=THREADS)
    peak = next(
        ln for ln in Path("/proc/self/status").read_text(encoding="ascii").splitlines() if "VmHWM" in ln
    )
    assert made.shape == shape
    return int(peak.split()[1]) * 1024 - before


def main() -> None:
    """The table, on the terminal and as CSV."""
    rows = []
    for shape in SHAPES:
        x = series(shape)
        for name in NAMES:
            ours, theirs = getattr(transforms, name), rival(name, shape[1])
            ours(x, seed=0, threads=THREADS)
            pairs = [
                (seconds(partial(ours, x, seed=0, threads=THREADS)), seconds(partial(theirs, x)))
                for _ in range(ROUNDS)
            ]
            mine, other = (statistics.median(side) for side in zip(*pairs, strict=True))
            ratio = statistics.median(b / a for a, b in pairs)
            cpu = cpu_seconds(partial(theirs, x)) / cpu_seconds(partial(ours, x, seed=0, threads=1))
            share = extra_bytes(name, shape) / x.nbytes
            rows.append(
                {
                    "method": name, "shape": "x".join(map(str, shape)), "seconds": round(mine, 4),
                    "million_values_per_s": round(x.size / mine / 1e6), "tsaug_seconds": round(other, 4),
                    "times_faster": round(ratio, 1), "wanted": WANTED[name],
                    "cpu_times_less": round(cpu, 1),
                    "extra_memory_over_output": round(share, 2), "load": round(os.getloadavg()[0], 1),
                }
            )  # fmt: skip
            print(rows[-1], flush=True)
    target = Path(__file__).with_name("results") / "series_speed.csv"
    with target.open("w", encoding="utf-8", newline="") as file:
        out = csv.DictWriter(file, rows[0])
        out.writeheader()
        out.writerows(rows)


if __name__ == "__main__":
    main()
