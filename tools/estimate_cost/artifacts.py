"""What an answer leaves in the workspace: every plan as a table, a chart, and a task file for SkyPilot."""

import csv
import io
from typing import Any

from .._core.contract import current_call
from . import picture, skypilot
from .answer import EstimateCostReport
from .candidate import Candidate
from .crossing import Crossing
from .energy import co2_kg_of, kwh_of, rounded
from .workload import AnyWorkload

_COLUMNS = (
    "name", "purchase", "provider", "region", "accelerator", "machines", "expected_usd", "low_usd", "high_usd",
    "wall_hours", "expected_interruptions", "saving_ratio", "energy_kwh", "co2_kg",
)  # fmt: skip


def artifacts(
    report: EstimateCostReport,
    candidates: list[Candidate],
    best: Candidate | None,
    broken_even: list[Crossing],
    workload: AnyWorkload,
) -> dict[str, Any]:
    """Store the table, the chart and the task file; the fields of the Report that name them."""
    workspace = current_call().workspace
    if workspace.refusal:
        return {
            "warnings": [
                *report.warnings,
                "no chart and no task file: this server has no workspace (--workspace DIR)",
            ]
        }
    stored: dict[str, str] = {}
    if len(candidates) > len(report.plans):
        stored["plans_path"] = str(workspace.store("plans.csv", _table(candidates)))
    if report.plans:
        chart = picture.chart(report.plans, broken_even, report.period)
        stored["picture_path"] = str(workspace.store("cost.svg", chart.encode()))
    task = skypilot.task(best, workload) if best else None
    if task:
        stored["skypilot_yaml_path"] = str(workspace.store("task.yaml", task.encode()))
    return stored


def _table(candidates: list[Candidate]) -> bytes:
    """Every feasible plan as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for one in candidates:
        kwh = kwh_of(one)
        row = (
            *(one.name, one.purchase, one.choice.provider, one.choice.region, one.choice.accelerator),
            *(one.machines, one.usd, *one.range_usd(), one.wall_hours, one.interruptions, one.saving_ratio),
            *((None, None) if kwh is None else (rounded(kwh), rounded(co2_kg_of(one, kwh)))),
        )
        writer.writerow(row)
    return text.getvalue().encode()
