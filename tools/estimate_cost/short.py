"""A Report that a model can afford to read: the first plans whole, the others in outline, all of them in the table."""

import json
from typing import Any

from .answer import EstimateCostReport, Plan

LIMIT_BYTES = 6000
_WHOLE = 2
_OUTLINE = {
    "name", "purchase", "machines", "expected_usd", "low_usd", "high_usd", "basis", "wall_seconds",
    "expected_interruptions", "saving_ratio", "tie", "deadline_probability", "replicas", "usd_per_day",
    "affordable_hours", "prices", "not_included", "provider", "region", "machine",
    "accelerator", "energy_kwh", "co2_kg",
}  # fmt: skip


def shortened(report: EstimateCostReport) -> EstimateCostReport:
    """Within LIMIT_BYTES, as far as that goes without leaving out a plan for one of the caller's own options."""
    for step in (_outlined, _fewer_asides, _without_catalog_plans):
        if _size(report) <= LIMIT_BYTES:
            return report
        report = step(report)
    return report


def _size(report: EstimateCostReport) -> int:
    return len(json.dumps(report.model_dump(mode="json")))


def _outlined(report: EstimateCostReport) -> EstimateCostReport:
    plans = [
        plan if place < _WHOLE or plan.name == report.decision else _outline(plan)
        for place, plan in enumerate(report.plans)
    ]
    return report.model_copy(update={"plans": plans})


def _outline(plan: Plan) -> Plan:
    empty: dict[str, Any] = {name: None for name in Plan.model_fields if name not in _OUTLINE}
    lines = [line.model_copy(update={"low_usd": None, "high_usd": None}) for line in plan.prices]
    return plan.model_copy(update={**empty, "notes": [], "prices": lines})


def _fewer_asides(report: EstimateCostReport) -> EstimateCostReport:
    return report.model_copy(update={"break_even": report.break_even[:6], "what_if": report.what_if[:4]})


def _without_catalog_plans(report: EstimateCostReport) -> EstimateCostReport:
    """From the dearest up, but for the plan to take and the last one, the cheapest without interruptions."""
    plans = list(report.plans)
    for plan in report.plans[-2:_WHOLE:-1]:
        if _size(report.model_copy(update={"plans": plans})) <= LIMIT_BYTES:
            break
        if plan.provider is not None and plan.prices[0].as_of and plan.name != report.decision:
            plans.remove(plan)
    return report.model_copy(update={"plans": plans})
