"""Six planted causes and six healthy runs: which causes measure_run names. Writes results/measure_causes.json.

Run: python benchmarks/measure_causes.py [--python PYTHON_WITH_TORCH] [NAME ...]. The swap case needs root: it makes a
swap file and a memory cgroup (v1), and removes both.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from optimizing_resources.tools._core.contract import CALL, Call
from optimizing_resources.tools._core.workspace import Workspace
from optimizing_resources.tools.measure_run import MeasureRunRequest, measure_run

sys.path.insert(0, str(Path(__file__).parent))
from measure_programs import HEALTHY, PLANTED, pressed_into_swap

RESULTS = Path(__file__).parent / "results" / "measure_causes.json"


def measured(name: str, program: str, python: str, folder: Path) -> dict[str, object]:
    script = folder / f"{name}.py"
    script.write_text(program, encoding="utf-8")
    CALL.set(Call(Workspace.of_the_caller(folder)))
    command = ["python", script.name]
    if name == "swap":
        command = pressed_into_swap(python, script)
    report = measure_run(MeasureRunRequest(command=command, max_steps=120, max_seconds=120, python=python))
    return {
        "outcome": report.outcome,
        "steps": report.steps,
        "step_seconds": report.step_seconds,
        "data_wait_share": report.data_wait_share,
        "causes": [cause.model_dump() for cause in report.causes],
        "notes": report.notes,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("names", nargs="*")
    typed = parser.parse_args()
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for kind, programs in (("planted", PLANTED), ("healthy", HEALTHY)):
            for name, (program, wanted) in programs.items():
                if typed.names and name not in typed.names:
                    continue
                found = measured(name, program, typed.python, Path(folder))
                named = [cause["cause"] for cause in found["causes"]]
                right = wanted in named if kind == "planted" else not named
                results[f"{kind}: {name}"] = {"right": right, **found}
                mark = "ok" if right else "NO"
                print(mark, kind, name, named, found["outcome"], found["step_seconds"], flush=True)
                for cause in found["causes"]:
                    print("     ", cause["evidence"])
    RESULTS.parent.mkdir(exist_ok=True)
    if not typed.names:
        RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
