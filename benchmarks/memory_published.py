"""Predictions beside published measurements on real GPUs, by what each source measured.

    python benchmarks/memory_published.py --python ENVIRONMENT_WITH_TRANSFORMERS

The first table holds the development rows of shared/data (read in place, where it is there). Rows B are from torch 2
and count. Rows A are from torch of about 1.10, which kept the input of softmax beside its output: they are shown, not
counted. Their context of 1343 MiB is the source's own. The second table holds memory_published_rows.csv: measurements
that others published with their scripts. What a row is judged on:

    stated    model, sizes, precision, optimizer and quantity are in the source
    inferred  something is not (the note says what)
    compiled  torch.compile, which the prediction takes as changing nothing
    older     stated, of a torch before 2.2 that took more for a known reason (found after the row was predicted)
    emulated  the same rows with that torch's ways put into the step: no row of its own, counted nowhere else
"""

import argparse
import csv
import json
import statistics
from collections.abc import Callable
from pathlib import Path

from optimizing_resources.tools._core.warm import keep_warm
from optimizing_resources.tools.estimate_memory import (
    EstimateMemoryReport,
    EstimateMemoryRequest,
    estimate_memory,
)

HERE = Path(__file__).resolve().parent
DEVELOPMENT = HERE.parents[1] / "shared" / "data" / "memory" / "published.csv"
MIB = 2**20
UNITS = {"B": 1, "MB": 1e6, "GB": 1e9, "MiB": MIB, "GiB": 2**30}
CONTEXT_A_MIB = 1343
MEDIAN, WORST = 0.05, 0.12
MAX_SECONDS = 600

SMALL = {"batch_size": 1, "accumulation_steps": 4, "recompute": True, "half": True}
ROWS = {  # of the development file: function of memory_published_steps.py, its arguments
    "B1": ("gpt2", {}),
    "B2": ("gpt2", {"recompute": True}),
    "A1": ("bert", {}),
    "A2": ("bert", {"batch_size": 1, "accumulation_steps": 4}),
    "A3": ("bert", {"batch_size": 1, "accumulation_steps": 4, "recompute": True}),
    "A4": ("bert", {"half": True}),
    "A5": ("bert", SMALL),
    "A6": ("bert", {"optimizer": "adafactor"}),
    "A7": ("bert", {**SMALL, "optimizer": "adafactor"}),
    "A8": ("bert", {"optimizer": "adam8bit"}),
    "A9": ("bert", {**SMALL, "optimizer": "adam8bit"}),
}

Predict = Callable[[str, dict[str, object], str | None], EstimateMemoryReport]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--python", required=True)
    parser.add_argument("--rows", nargs="*", default=[], help="ids, of either table; default all")
    options = parser.parse_args()
    keep_warm()

    def predict(step: str, arguments: dict[str, object], gpu: str | None) -> EstimateMemoryReport:
        return estimate_memory(
            EstimateMemoryRequest(
                step=f"{HERE}/memory_published_{step}",
                arguments=arguments,
                remedies=[],
                gpu=gpu,
                python=options.python,
                max_seconds=MAX_SECONDS,
            )
        )

    chosen = set(options.rows)
    if DEVELOPMENT.exists():
        development(predict, chosen)
    ours(predict, chosen)


def development(predict: Predict, chosen: set[str]) -> None:
    rows = {row["id"]: row for row in csv.DictReader(DEVELOPMENT.read_text(encoding="utf-8").splitlines())}
    names = [name for name in ROWS if name in rows and (not chosen or name in chosen)]
    errors = []
    if names:
        print("row  counted  measured MiB  predicted MiB   error   16 bytes per weight")
    for name in names:
        function, arguments = ROWS[name]
        report = predict(f"steps.py:{function}", arguments, None)
        measured = float(rows[name]["measured_value"]) * UNITS[rows[name]["unit"]] / MIB
        counts = name.startswith("B")
        if counts:  # the peak without the weights
            predicted = (report.peak_allocated_bytes - report.breakdown.weights_bytes) / MIB
            simple = 12 * report.parameters / MIB
            errors.append(abs(predicted / measured - 1))
        else:
            predicted = report.peak_reserved_bytes / MIB + CONTEXT_A_MIB
            simple = 16 * report.parameters / MIB + CONTEXT_A_MIB
        print(
            f"{name:4s} {'yes' if counts else 'no':7s} {measured:12.0f} {predicted:14.0f} "
            f"{predicted / measured - 1:+8.1%} {simple / measured - 1:+8.1%}",
            flush=True,
        )
    gate("development rows of torch 2", errors)


def ours(predict: Predict, chosen: set[str]) -> None:
    text = (HERE / "memory_published_rows.csv").read_text(encoding="utf-8")
    rows = [row for row in csv.DictReader(text.splitlines()) if not chosen or row["id"] in chosen]
    errors: dict[str, list[float]] = {}
    if rows:
        print(
            "\nrow  judged on  quantity   measured MiB  predicted MiB   error  16 bytes per weight  torch, step"
        )
    for row in rows:
        report = predict(row["step"], json.loads(row["arguments"]), row["card"])
        peak = report.peak_reserved_bytes if row["quantity"] == "reserved" else report.peak_allocated_bytes
        predicted = peak / MIB - float(row["alive_before_mib"])
        measured = float(row["measured"]) * UNITS[row["unit"]] / MIB
        error, simple = predicted / measured - 1, 16 * report.parameters / MIB / measured - 1
        errors.setdefault(row["kind"], []).append(abs(error))
        compared = "(a layer)" if row["step"].startswith("parts") else f"{simple:+.1%}"
        made = f"{row['step'].partition(':')[2]} {row['arguments']}"
        print(
            f"{row['id']:4s} {row['kind']:9s}  {row['quantity']:9s} {measured:13.1f} {predicted:14.1f} "
            f"{error:+7.1%} {compared:>20s}  {row['torch']}, {made}",
            flush=True,
        )
    for kind, found in errors.items():
        gate(f"rows judged on {kind} configuration", found)
    counted = [found for kind, found in errors.items() if kind != "emulated"]
    gate("rows of this table, emulated ones aside", [error for found in counted for error in found])


def gate(name: str, errors: list[float]) -> None:
    if not errors:
        return
    median, worst = statistics.median(errors), max(errors)
    verdict = "passed" if median <= MEDIAN and worst <= WORST else "FAILED"
    within = sum(error <= MEDIAN for error in errors)
    print(
        f"{len(errors)} {name}: median {median:.1%} (at most {MEDIAN:.0%}), worst {worst:.1%} "
        f"(at most {WORST:.0%}), {within} within {MEDIAN:.0%}: {verdict}"
    )


if __name__ == "__main__":
    main()
