"""Time and memory of triage: a log of 10 KB, of 100 MB and of 1 GB. `python benchmarks/triage_speed.py`

Wall and CPU seconds: on a machine with other work only the second is comparable.

Each size runs in a process of its own, warm: the call is repeated once the first has loaded everything.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

_CHILD = """
import json, resource, sys, time
from optimizing_resources.tools.triage_constraint import TriageConstraintRequest, triage_constraint
request = TriageConstraintRequest(log_path=sys.argv[1])
triage_constraint(TriageConstraintRequest(text="CUDA out of memory"))
report = triage_constraint(request)
wall, cpu = [], []
for _ in range(int(sys.argv[2])):
    started, worked = time.perf_counter(), time.process_time()
    report = triage_constraint(request)
    wall.append(time.perf_counter() - started)
    cpu.append(time.process_time() - worked)
peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"constraint": report.constraint, "line": report.evidence[0].line,
                  "wall_seconds": sorted(wall)[len(wall) // 2], "cpu_seconds": sorted(cpu)[len(cpu) // 2],
                  "peak_rss_bytes": peak_bytes}))
"""
_LINE = "2026-11-20 12:00:{:02d} INFO train step {:7d} loss 2.3157 lr 3.0e-04 gpu_mem 11.2GB 3.41it/s\n"
_ERROR = (
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 23.64 GiB of"
    " which 1.10 GiB is free. Including non-PyTorch memory, this process has 22.50 GiB memory in use. Of the allocated"
    " memory 20.10 GiB is allocated by PyTorch, and 1.90 GiB is reserved by PyTorch but unallocated.\n"
)


_SIZES = (
    ("10 KB", 10_000, 50),
    ("100 MB", 100_000_000, 3),
    ("1 GB", 1_000_000_000, 1),
)  # name, bytes, repeats


def write_log(path: Path, size_bytes: int) -> None:
    """A log of progress lines that ends in an out-of-memory error."""
    with path.open("w", encoding="utf-8") as file:
        step = 0
        while file.tell() < size_bytes - len(_ERROR):
            count = min(10_000, max(1, (size_bytes - len(_ERROR) - file.tell()) // 90))
            file.writelines(_LINE.format(n % 60, n) for n in range(step, step + count))
            step += count
        file.write(_ERROR)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name, size_bytes, repeats in _SIZES:
            path = Path(folder) / "train.log"
            write_log(path, size_bytes)
            command = [sys.executable, "-P", "-c", _CHILD, str(path), str(repeats)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            row = json.loads(done.stdout)
            wall, cpu = row["wall_seconds"] * 1000, row["cpu_seconds"] * 1000
            print(
                f"{name:>7}: {wall:8.1f} ms, {cpu:8.1f} ms of CPU, peak {row['peak_rss_bytes'] / 2**20:5.1f} MiB"
            )


if __name__ == "__main__":
    main()
