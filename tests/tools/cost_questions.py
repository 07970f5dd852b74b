"""Questions to estimate_cost, and how its answers are read, for the tests of several files."""

from typing import Any

import pytest
from optimizing_resources.tools._core.contract import ToolError, advice
from optimizing_resources.tools.estimate_cost import EstimateCostReport, EstimateCostRequest, estimate_cost
from pydantic import ValidationError

CHECKPOINT = {"interval_seconds": 1800, "write_seconds": 0, "restart_seconds": 300}
G5 = {"name": "g5.xlarge", "usd_per_hour": 1.006, "spot_usd_per_hour": 0.4125, "gpus": 1}
T4 = {"name": "g4dn.xlarge", "usd_per_hour": 0.526, "spot_usd_per_hour": 0.1894}


def ask(workload: Any, options: Any = None, **constraints: Any) -> EstimateCostReport:
    return estimate_cost(
        EstimateCostRequest.model_validate(
            {"workload": workload, "options": options, "constraints": constraints or None}
        )
    )


def refused(workload: Any, options: Any = None, **constraints: Any) -> str:
    with pytest.raises((ToolError, ValidationError)) as caught:
        ask(workload, options, **constraints)
    return advice(caught.value)  # type: ignore[arg-type]


def training(**fields: Any) -> dict[str, Any]:
    return {"kind": "training", **fields}


def costs(report: EstimateCostReport) -> dict[str, float]:
    return {plan.name: plan.expected_usd for plan in report.plans}


def near(value: float) -> Any:
    return pytest.approx(value, rel=0.005)
