"""The Report: plans cheapest first, break-evens, and what does not do."""

from datetime import date
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from .._core.contract import Report
from .._core.quantity import Basis
from . import words


class _Part(BaseModel):
    """Written without what is not known (except the fields in `_always`), and with seven digits."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    @model_serializer(mode="wrap")
    def _short(self, inner: SerializerFunctionWrapHandler) -> dict[str, Any]:
        kept = {k: v for k, v in inner(self).items() if v not in (None, [], "") or k in self._always()}
        return {k: float(f"{v:.7g}") if isinstance(v, float) else v for k, v in kept.items()}

    @classmethod
    def _always(cls) -> frozenset[str]:
        return frozenset()


class PriceLine(_Part):
    """One price behind a plan."""

    what: str
    usd: float
    low_usd: float | None = None
    high_usd: float | None = None
    unit: str = "hour"
    source: str
    as_of: date | None = None
    method: str | None = None


class Plan(_Part):
    """One way to get the work done. `expected_usd` is for the job, or for `days` of a daily workload."""

    name: str
    purchase: str
    provider: str | None = None
    region: str | None = None
    machine: str | None = None
    machines: int = 1
    accelerator: str | None = None
    expected_usd: float
    low_usd: float
    high_usd: float
    basis: Basis
    usd_per_day: float | None = None
    usd_per_month: float | None = Field(None, description="30 days, 720 hours.")
    wall_seconds: float | None = None
    time_basis: Basis | None = None
    expected_interruptions: float | None = None
    saving_ratio: float | None = None
    tie: bool = False
    deadline_probability: float | None = None
    interruptions_per_hour: float | None = None
    best_checkpoint_seconds: float | None = None
    replicas: int | None = None
    utilization: float | None = None
    billed_seconds_per_day: float | None = None
    cold_start_share: float | None = None
    with_free_tier_usd: float | None = None
    usd_per_million: float | None = Field(None, description="Requests or items.")
    energy_kwh: float | None = None
    co2_kg: float | None = None
    usd_per_useful_exaflop: float | None = Field(None, description="By 10^18 FLOPs of the work itself.")
    hangs_on: str | None = Field(None, description="The input that moves this cost most.")
    affordable_hours: float | None = Field(None, description="What the budget buys.")
    remedy: str | None = None
    prices: list[PriceLine] = Field([])
    not_included: list[str] = Field([])
    notes: list[str] = Field([])

    @classmethod
    def _always(cls) -> frozenset[str]:
        return frozenset(
            ("wall_seconds", "expected_interruptions", "saving_ratio", "tie", "prices", "not_included")
        )


class BreakEven(_Part):
    """Up to `value` the first of `between` is the cheaper one, beyond it the second."""

    between: list[str]
    quantity: str
    value: float
    note: str = ""


class WhatIf(_Part):
    """A change of the work itself, and what the job would then cost."""

    change: str
    usd: float
    saves_usd: float


class Infeasible(_Part):
    """What does not do, and by how much."""

    name: str
    reason: Literal["memory", "deadline", "budget", "spot", "capacity", "latency", "speed"]
    why: str
    misses_by: float | None = None
    unit: str | None = None


class EstimateCostReport(Report):
    decision: str | None = Field(description="The plan to take; null when none does.")
    decision_why: str
    smallest_fit: str | None = Field(None, description="The smallest card that fits, and its cheapest plan.")
    period: str = Field(description="What expected_usd stands for.")
    plans: list[Plan] = Field(description="Cheapest first.")
    plans_compared: int
    break_even: list[BreakEven] = Field([])
    what_if: list[WhatIf] = Field([])
    infeasible: list[Infeasible] = Field([])
    infeasible_count: int = 0
    assumptions: list[str] = Field([])
    warnings: list[str] = Field([])
    sources: dict[str, str] = Field({})
    plans_path: str | None = None
    picture_path: str | None = None
    skypilot_yaml_path: str | None = None

    def brief(self) -> str:
        return words.brief(self)

    def readable(self) -> str:
        return words.readable(self)
