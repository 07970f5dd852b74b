"""Wall time, CPU time and memory of one call from the command line: 124 million and 7 billion weights.

python benchmarks/memory_speed.py
"""

import json
import resource
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STEP = f"{ROOT / 'examples' / 'gpt_step.py'}:make_step"
LARGE = {"batch_size": 1, "width": 4096, "layers": 33, "heads": 32, "vocabulary": 32000}
CASES = {
    "124M, step alone": {"step": STEP, "remedies": []},
    "124M, T4, largest batch": {"step": STEP, "gpu": "T4", "remedies": []},
    "124M, T4, remedy table": {"step": STEP, "gpu": "T4", "remedies": "search"},
    "6.9B, step alone": {"step": STEP, "arguments": LARGE, "remedies": []},
}


def main() -> None:
    for name, request in CASES.items():
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        command = [
            sys.executable,
            "-P",
            "-m",
            "optimizing_resources",
            "call",
            "estimate_memory",
            json.dumps(request),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        report = json.loads(done.stdout)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        print(
            f"{name:26s} wall {time.monotonic() - began:5.1f} s, CPU {cpu:5.1f} s, simulation "
            f"{report['simulation_seconds']:4.1f} s, child at most {after.ru_maxrss / 1024:5.0f} MiB resident, "
            f"{report['parameters'] / 1e9:.2f} billion weights, {len(report['remedies'])} remedies",
            flush=True,
        )


if __name__ == "__main__":
    main()
