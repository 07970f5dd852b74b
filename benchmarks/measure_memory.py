"""Peak host memory against the kernel's own account and an independent sampler. Writes results/measure_memory.json.

Run: python benchmarks/measure_memory.py. One process: its own ru_maxrss at exit. Trees: proportional shares summed
every 20 ms by a thread of this script, which finds the processes by their command line.
"""

import json
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil
from optimizing_resources.tools._core.contract import CALL, Call
from optimizing_resources.tools._core.workspace import Workspace
from optimizing_resources.tools.measure_run import MeasureRunRequest, measure_run

RESULTS = Path(__file__).parent / "results" / "measure_memory.json"
OWN = "\nimport resource\nprint('maxrss', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)\n"
SINGLE = {
    "plain 300 MB": "kept = bytearray(300_000_000)",
    "peak that is freed": "big = bytearray(500_000_000); del big; import time; time.sleep(0.5)",
    "short peak": "for _ in range(20): bytearray(200_000_000)",
}
TREES = {
    "shared with three children": (
        "import os, time\nkept = bytearray(os.urandom(1)) * 300_000_000\n"
        "for n in range(3):\n    if os.fork() == 0:\n        time.sleep(2)\n        os._exit(0)\ntime.sleep(2.5)\n"
    ),
    "children with their own": (
        "import os, time\nfor n in range(3):\n    if os.fork() == 0:\n"
        "        own = bytearray(os.urandom(1)) * 150_000_000\n        time.sleep(2)\n"
        "        os._exit(0)\ntime.sleep(3)\n"
    ),
    "growing in steps": (
        "import os, time\nif os.fork() == 0:\n    kept = []\n    for n in range(15):\n"
        "        kept.append(bytearray(os.urandom(1)) * 20_000_000)\n        time.sleep(0.1)\n"
        "    os._exit(0)\nos.wait()\n"
    ),
}


class Sampler(threading.Thread):
    """The largest sum of proportional shares of the processes that run a script."""

    def __init__(self, script: Path):
        super().__init__(daemon=True)
        self.script, self.peak, self.ends = str(script), 0, False

    def run(self) -> None:
        while not self.ends:
            total = 0
            for process in psutil.process_iter():
                try:
                    if self.script in process.cmdline()[1:2]:
                        total += process.memory_full_info().pss
                except (psutil.Error, IndexError):
                    continue
            self.peak = max(self.peak, total)
            time.sleep(0.02)


def main() -> None:
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        CALL.set(Call(Workspace.of_the_caller(Path(folder))))
        for name, program in {**SINGLE, **TREES}.items():
            script = Path(folder) / "program.py"
            script.write_text(program + (OWN if name in SINGLE else ""), encoding="utf-8")
            sampler = Sampler(script)
            sampler.start()
            report = measure_run(
                MeasureRunRequest(
                    command=["python", str(script)], python=sys.executable, metrics={"own": r"maxrss (\d+)"}
                )
            )
            sampler.ends = True
            sampler.join()
            other = report.metrics["own"] if name in SINGLE else float(sampler.peak)
            results[name] = {
                "peak_rss_bytes": report.peak_rss_bytes,
                "other_route": other,
                "difference": report.peak_rss_bytes / other - 1,
            }
            print(name, results[name], flush=True)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
