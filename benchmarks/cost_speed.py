"""CPU seconds of estimate_cost: a whole process beside one that does nothing, and warm over the whole catalog.

    .venv/bin/python benchmarks/cost_speed.py [repeats]

Processes alternate, so that a busy machine slows both alike; user plus system time by wait4. The one that does
nothing is the command line with every tool loaded and no tool called. Writes benchmarks/results/cost_speed.json.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from optimizing_resources.tools._core.contract import CALL, Call
from optimizing_resources.tools._core.workspace import Workspace
from optimizing_resources.tools.estimate_cost import EstimateCostRequest, estimate_cost

RESULTS = Path(__file__).resolve().parent / "results" / "cost_speed.json"
PROGRAM = [sys.executable, "-P", "-m", "optimizing_resources"]
CATALOG = {"workload": {"kind": "training", "hours": 40, "memory_bytes": 20 * 1024**3}}
OWN = {"workload": {"kind": "training", "hours": 40}, "options": [{"name": "mine", "usd_per_hour": 1.0}]}
WARM = {
    "training, by hours": CATALOG,
    "training, by FLOPs": {"workload": {"kind": "training", "flops": 1e21}},
    "training, by FLOPs, with a deadline": {
        "workload": {"kind": "training", "flops": 1e20},
        "constraints": {"deadline_hours": 20},
    },
    "a service on CPUs": {
        "workload": {"kind": "inference", "requests_per_day": 5000, "seconds_per_request": 0.5}
    },
}


def cpu_seconds(*arguments: str, folder: str) -> float:
    child = subprocess.Popen([*PROGRAM, *arguments], stdout=subprocess.DEVNULL, cwd=folder)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0
    return usage.ru_utime + usage.ru_stime


def warm_seconds(asked: dict[str, object], repeats: int) -> float:
    request = EstimateCostRequest.model_validate(asked)
    estimate_cost(request)
    taken = []
    for _ in range(repeats):
        start = time.process_time()
        estimate_cost(request)
        taken.append(time.process_time() - start)
    return statistics.median(taken)


def main(repeats: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        CALL.set(Call(Workspace.of_the_caller(Path(folder))))
        rounds = [
            (
                cpu_seconds("help", folder=folder),
                cpu_seconds("call", "estimate_cost", json.dumps(OWN), folder=folder),
                cpu_seconds("call", "estimate_cost", json.dumps(CATALOG), folder=folder),
            )
            for _ in range(repeats)
        ]
        nothing, own, catalog = (statistics.median(column) for column in zip(*rounds, strict=True))
        found = {
            "does_nothing_cpu_seconds": nothing,
            "own_prices_more_cpu_seconds": own - nothing,
            "catalog_more_cpu_seconds": catalog - nothing,
            "warm_cpu_seconds": {name: warm_seconds(asked, repeats) for name, asked in WARM.items()},
        }
    text = json.dumps(found, indent=1)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 7)
