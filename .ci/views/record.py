"""Runs every tool that has a view on small inputs, and keeps what they gave in tests/samples/views: what the tests
draw and the pictures in references/ show. Takes some minutes:

    .venv/bin/python .ci/views/record.py [NAME ...]
"""

import json
import math
import random
import shutil
import subprocess
import sys
import tempfile
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from optimizing_resources.server.views import beside
from optimizing_resources.tools._core.workspace import Workspace

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "tests/samples/views"
INPUTS = Path(__file__).with_name("inputs")
COMMAND = [sys.executable, "-P", "-m", "optimizing_resources", "call"]


class Recorder:
    """One scratch folder with the inputs, and the names that are wanted (all, when none is)."""

    def __init__(self, folder: Path, wanted: list[str]) -> None:
        self.folder, self.wanted = folder, wanted
        self.places = {str(folder): "/home/you/project", str(ROOT): "/home/you/optimizing-resources"}

    def __call__(self, name: str, tool: str, **arguments: Any) -> dict[str, Any]:
        """The tool's Report; kept under `name` where that is wanted, and begins with no underscore."""
        print(f"{name}: {tool}", flush=True)
        typed = [*COMMAND, tool, json.dumps(arguments)]
        ran = subprocess.run(typed, cwd=self.folder, capture_output=True, text=True, check=False)
        if ran.returncode:
            raise SystemExit(ran.stderr)
        report: dict[str, Any] = json.loads(ran.stdout)
        if not name.startswith("_") and (not self.wanted or name in self.wanted):
            shown = beside(tool, report, Workspace.of_the_caller(self.folder))
            self._keep(name, {"tool": tool, "arguments": arguments, "report": report, "beside": shown})
        return report

    def wants(self, *names: str) -> bool:
        return not self.wanted or bool(set(names) & set(self.wanted))

    def _keep(self, name: str, sample: dict[str, Any]) -> None:
        text = json.dumps(sample, separators=(",", ":"))
        for real, shown in self.places.items():
            text = text.replace(real, shown)
        SAMPLES.mkdir(parents=True, exist_ok=True)
        (SAMPLES / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def main(wanted: list[str]) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch).resolve()
        record = Recorder(folder, wanted)
        memory_job(record)
        if record.wants("estimate_cost"):
            cost(record)
        if record.wants("augment_series", "compare_baselines"):
            series(record)
        if record.wants("measure_run", "apply_amp_patch", "review_evidence", "ledger"):
            before_and_after(record)
        if record.wants("quantize_model", "prune_model", "distill_model"):
            compression(record)


def memory_job(record: Recorder) -> None:
    for file in (ROOT / "examples/gpu_oom").iterdir():
        if file.is_file():
            shutil.copy(file, record.folder)
    record("detect_hardware", "detect_hardware")
    record("triage_constraint", "triage_constraint", log_path="train.log", script_path="train.py")
    if record.wants("estimate_memory"):
        record("estimate_memory", "estimate_memory", step="train.py:make_step", gpu="T4", remedies="search")


def cost(record: Recorder) -> None:
    checkpoint = {"interval_seconds": 1800, "write_seconds": 60, "restart_seconds": 300}
    workload = {"kind": "training", "flops": 2e19, "memory_bytes": 15_000_000_000, "checkpoint": checkpoint}
    record("estimate_cost", "estimate_cost", workload=workload, constraints={"deadline_hours": 200})


def series(record: Recorder) -> None:
    (record.folder / "shops.csv").write_text(shops(), encoding="utf-8")
    methods = ["jitter", "magnitude_warp", "window_slice"]
    record(
        "augment_series", "augment_series", path="shops.csv", methods=methods, train_until="2026-01-25 23:00"
    )
    models = ["seasonal_naive", "drift", "auto_theta", "lightgbm"]
    judged = ["jitter", "moving_block_bootstrap"]
    record(
        "compare_baselines", "compare_baselines", path="shops.csv", horizon=24, models=models, augment=judged,
        max_seconds=240,
    )  # fmt: skip


def shops() -> str:
    """Six shops, hourly for four weeks: a daily rhythm, a weekend, a little growth, noise."""
    chance, first = random.Random(0), datetime(2026, 1, 5)
    rows = ["shop,time,sales"]
    for shop in range(6):
        for hour in range(24 * 28):
            at = first + timedelta(hours=hour)
            rhythm = 18 * math.sin(2 * math.pi * (hour - 6) / 24) + 8 * (at.weekday() >= 5)
            sales = max(0, 40 + 12 * shop + rhythm + 0.01 * hour + chance.gauss(0, 4))
            rows.append(f"shop-{shop},{at:%Y-%m-%d %H:%M},{sales:.2f}")
    return "\n".join(rows) + "\n"


def before_and_after(record: Recorder) -> None:
    shutil.copy(INPUTS / "wide.py", record.folder / "wide.py")
    run = {"command": ["python", "wide.py"], "max_steps": 9, "repeats": 3}
    before = record("measure_run", "measure_run", **run, label="before")
    patch = {"path": "wide.py", "remedies": ["gradient_accumulation"], "accumulation_steps": 8}
    dry = record("_patch_host", "apply_amp_patch", **patch)
    record(
        "apply_amp_patch",
        "apply_amp_patch",
        path="train.py",
        remedies=["mixed_precision", "gradient_accumulation"],
    )
    record("_patch_written", "apply_amp_patch", **patch, write=True, expected_sha256=dry["source_sha256"])
    after = record("_measure_after", "measure_run", **run, label="accumulated")
    ids = {"before": [before["id"]], "after": [after["id"]]}
    record(
        "review_evidence",
        "review_evidence",
        **ids,
        constraint="host_memory",
        remedies=["gradient_accumulation"],
    )
    record("ledger", "ledger")


def compression(record: Recorder) -> None:
    shutil.copy(INPUTS / "digits.py", record.folder / "digits.py")
    subprocess.run([sys.executable, "digits.py"], cwd=record.folder, check=True)
    model = {"model": "digits.py:factory", "weights": "weights.pt", "data": "test.npz"}
    training = {**model, "train_data": "train.npz", "max_train_seconds": 40}
    record("quantize_model", "quantize_model", **model, max_search_seconds=120)
    record("prune_model", "prune_model", **training)
    record("distill_model", "distill_model", **training)


if __name__ == "__main__":
    main(sys.argv[1:])
