"""The answer: the Report, its words, and its artifacts."""

import csv
import io
from collections.abc import Iterator
from datetime import date
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from .._catalog.prices import shipped
from .._core.contract import Report, current_call
from .._core.quantity import Basis
from . import picture, skypilot
from .arrivals import ASSUMED_BURSTS
from .bands import widest
from .break_even import (
    Crossing,
    batch_crossings,
    commitment_crossings,
    running_crossings,
    service_crossings,
    spot_crossing,
)
from .candidate import Candidate, Miss
from .compare import Comparison, reason
from .energy import grams_co2, kwh_of
from .option import Choice, Constraints
from .rates import ASSUMED_PER_HOUR, ASSUMED_RESTART_SECONDS
from .train import Work, work_on
from .batch import work_hours
from .workload import Batch, Inference, Running, Training

SHOWN = 8  # plans in the Report; all of them are in the artifact
_SHOWN_MISSES = 6
NOT_INCLUDED = ["storage", "egress", "tax", "support", "engineers' time"]
_CALLER = "stated by the caller"


class _Part(BaseModel):
    """Drops what is not known, except the fields in `always`."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    @model_serializer(mode="wrap")
    def _short(self, inner: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {k: v for k, v in inner(self).items() if v not in (None, [], "") or k in self._always()}

    @classmethod
    def _always(cls) -> frozenset[str]:
        return frozenset()


class PriceLine(_Part):
    """One price behind a plan."""

    what: str
    usd: float
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
    hangs_on: str | None = Field(None, description="The input that moves this cost most.")
    remedy: str | None = None
    prices: list[PriceLine] = []
    not_included: list[str] = []
    notes: list[str] = []

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
    period: str = Field(description="What expected_usd stands for.")
    plans: list[Plan] = Field(description="Cheapest first.")
    plans_compared: int
    break_even: list[BreakEven] = []
    infeasible: list[Infeasible] = []
    infeasible_count: int = 0
    assumptions: list[str] = []
    warnings: list[str] = []
    sources: dict[str, str] = {}
    plans_path: str | None = None
    picture_path: str | None = None
    skypilot_yaml_path: str | None = None

    def brief(self) -> str:
        lines = [f"Decision: {self.decision or 'none'}. {self.decision_why}", f"Costs are {self.period}."]
        for plan in self.plans[:4]:
            lines.append(f"- {plan.name}: {_usd(plan.expected_usd)} ({_usd(plan.low_usd)}-{_usd(plan.high_usd)})" + _facts(plan))
        lines += [f"Break-even: {_words(one)}" for one in self.break_even[:2]]
        lines += [f"Misses: {one.name}: {one.why}" for one in self.infeasible[:2]]
        lines += [f"Warning: {text}" for text in self.warnings[:2]]
        lines += [f"Assumed: {text}" for text in self.assumptions[:3]]
        lines.append(f"Not included: {', '.join(NOT_INCLUDED[:3])}.")
        paths = {"chart": self.picture_path, "SkyPilot task": self.skypilot_yaml_path}
        tail = [f"{name}: {path}" for name, path in paths.items() if path]
        text = "\n".join(lines)
        room = 1490 - len("\n".join(tail))
        return "\n".join([text if len(text) <= room else text[: room - 3] + "...", *tail])

    def readable(self) -> str:
        rows = [("plan", "expected", "low", "high", "hours", "interruptions", "saves")]
        for plan in self.plans:
            rows.append((
                plan.name + (" (tie)" if plan.tie else ""), _usd(plan.expected_usd), _usd(plan.low_usd), _usd(plan.high_usd),
                f"{plan.wall_seconds / 3600:.1f}" if plan.wall_seconds is not None else "",
                f"{plan.expected_interruptions:.1f}" if plan.expected_interruptions is not None else "",
                f"{plan.saving_ratio:.0%}" if plan.saving_ratio else "",
            ))  # fmt: skip
        widths = [max(len(row[i]) for row in rows) for i in range(7)]
        table = [
            "  ".join(cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True)))
            for row in rows
        ]
        more = [f"... {self.plans_compared - len(self.plans)} more in {self.plans_path}"] if self.plans_compared > len(self.plans) and self.plans_path else []
        parts = [
            f"{self.decision or 'No plan does'}: {self.decision_why}", f"Costs in USD {self.period}; without {', '.join(NOT_INCLUDED)}.", "",
            *(table if self.plans else []), *more, "",
            *(f"break-even: {_words(one)}" for one in self.break_even),
            *(f"misses: {one.name}: {one.why}" for one in self.infeasible),
            *(f"warning: {text}" for text in self.warnings),
            *(f"assumed: {text}" for text in self.assumptions),
            *(f"source {name}: {text}" for name, text in self.sources.items()),
            *(f"{name}: {path}" for name, path in (("chart", self.picture_path), ("SkyPilot task", self.skypilot_yaml_path)) if path),
        ]  # fmt: skip
        return "\n".join(parts)


def _usd(amount: float) -> str:
    return f"${amount:,.2f}" if amount >= 1 else f"${amount:.4g}"


def _facts(plan: Plan) -> str:
    facts = []
    if plan.wall_seconds is not None:
        facts.append(f"{plan.wall_seconds / 3600:.4g} h")
    if plan.expected_interruptions:
        facts.append(f"{plan.expected_interruptions:.3g} interruptions")
    if plan.saving_ratio:
        facts.append(f"saves {plan.saving_ratio:.1%}")
    if plan.tie:
        facts.append("tie")
    dates = {str(line.as_of) for line in plan.prices if line.as_of}
    facts += [f"price of {', '.join(sorted(dates))}"] if dates else []
    return f", {', '.join(facts)}" if facts else ""


def _words(one: BreakEven) -> str:
    note = f" ({one.note})" if one.note else ""
    return f"{one.between[0]} is cheaper up to {one.value:,.4g} {one.quantity}, beyond it {one.between[1]}{note}"


def crossings(
    workload: Training | Inference | Batch | Running,
    choices: list[Choice],
    constraints: Constraints,
    step_seconds: float | None,
    comparison: Comparison,
) -> list[Crossing]:
    """The break-evens between the options that matter: the caller's, or those of the plans shown."""
    shown = [one.choice for one in comparison.feasible[:SHOWN]]
    near = [c for c in choices if c.as_of is None or c in shown][:SHOWN]
    return list(_crossings(workload, near, constraints, step_seconds))[:SHOWN]


def _crossings(
    workload: Training | Inference | Batch | Running,
    choices: list[Choice],
    constraints: Constraints,
    step_seconds: float | None,
) -> Iterator[Crossing]:
    if isinstance(workload, Inference):
        yield from service_crossings(workload, choices)
    elif isinstance(workload, Running):
        yield from running_crossings(workload, choices)
        return
    elif isinstance(workload, Batch):
        yield from batch_crossings(workload, choices)
    for choice in choices:
        if isinstance(workload, Training | Batch) and constraints.spot == "allow" and choice.fees is None:
            work = work_on(workload, choice, constraints, step_seconds) if isinstance(workload, Training) else Work(work_hours(workload), 1, "assumed", {})
            if isinstance(work, Work):
                yield from spot_crossing(workload, choice, work)
        yield from commitment_crossings(choice)


def written(
    workload: Training | Inference | Batch | Running,
    constraints: Constraints,
    comparison: Comparison,
    broken_even: list[Crossing],
    warnings: list[str],
    today: date,
) -> EstimateCostReport:
    """The Report, with its artifacts stored where the workspace takes files."""
    plans = [plan_of(one, workload, tie=comparison.tied > 1 and i < comparison.tied) for i, one in enumerate(comparison.feasible)]
    best = comparison.recommended
    shown = plans[:SHOWN]
    report = EstimateCostReport(
        decision=best.name if best else None,
        decision_why=reason(comparison),
        period=_period(workload),
        plans=shown,
        plans_compared=len(plans),
        break_even=[BreakEven(between=list(c.between), quantity=c.quantity, value=c.value, note=c.note) for c in broken_even],
        infeasible=[_infeasible(miss) for miss in comparison.missed[:_SHOWN_MISSES]],
        infeasible_count=len(comparison.missed),
        assumptions=list(_assumptions(workload, comparison)),
        warnings=warnings,
        sources=_sources(shown),
    )
    return report.model_copy(update=_artifacts(report, plans, best, workload))


def plan_of(one: Candidate, workload: Training | Inference | Batch | Running, *, tie: bool) -> Plan:
    """A candidate as it is reported."""
    low, high = one.range_usd()
    days = None if isinstance(workload, Training) else workload.days
    energy = kwh_of(one)
    units = {"requests_per_day": 1e6, "items_per_day": 1e6}
    per_day = next((getattr(workload, name) for name in units if hasattr(workload, name)), None)
    return Plan(
        name=one.name, purchase=one.purchase, provider=one.choice.provider, region=one.choice.region,
        machine=one.choice.machine, machines=one.machines, accelerator=one.choice.accelerator,
        expected_usd=one.usd, low_usd=low, high_usd=high,
        basis="catalog" if one.choice.as_of and set(one.bands) == {"price"} else "assumed",
        usd_per_day=one.usd / days if days else None, usd_per_month=one.usd / days * 30 if days else None,
        wall_seconds=None if one.wall_hours is None else one.wall_hours * 3600,
        expected_interruptions=one.interruptions, saving_ratio=one.saving_ratio, tie=tie,
        usd_per_million=one.usd / days / per_day * 1e6 if days and per_day else None,
        energy_kwh=energy, co2_kg=None if energy is None else grams_co2(energy) / 1000,
        hangs_on=widest(one.bands), prices=list(_prices(one)), not_included=NOT_INCLUDED, notes=one.notes,
        **one.extras,
    )  # fmt: skip


def _prices(one: Candidate) -> Iterator[PriceLine]:
    choice = one.choice
    spot = one.purchase == "spot"
    as_of = choice.spot_as_of if spot else choice.as_of
    method = choice.spot_method if spot else None
    if choice.fees is None:
        yield PriceLine(what=one.purchase, usd=one.usd_per_hour, source=choice.source, as_of=as_of, method=method)
        return
    for what, usd, unit in (
        ("instance", choice.fees.per_second, "second"),
        ("memory", choice.fees.per_gb_second, "GB-second"),
        ("requests", choice.fees.per_request * 1e6, "million requests"),
    ):
        if usd:
            yield PriceLine(what=what, usd=usd, unit=unit, source=choice.source, as_of=as_of)


def _period(workload: Training | Inference | Batch | Running) -> str:
    if isinstance(workload, Training):
        return "for the whole job" if workload.trials == 1 else f"for all {workload.trials} trials"
    return f"for {workload.days:g} {'day' if workload.days == 1 else 'days'}"


def _infeasible(miss: Miss) -> Infeasible:
    return Infeasible(name=miss.name, reason=miss.reason, why=miss.why, misses_by=miss.misses_by, unit=miss.unit)


def _assumptions(workload: Training | Inference | Batch | Running, comparison: Comparison) -> Iterator[str]:
    spot = [one for one in comparison.feasible if one.purchase == "spot"]
    if spot and any("interruptions_per_hour" in one.extras and "interruption rate" in one.bands for one in spot):
        if workload.interruptions_per_hour is None and any(one.choice.interruptions_per_hour is None for one in spot):
            yield f"{ASSUMED_PER_HOUR:g} interruptions/h of a spot machine; give interruptions_per_hour if you know it"
        if isinstance(workload, Training | Batch) and _restart(workload) is None:
            yield f"{ASSUMED_RESTART_SECONDS} s until work resumes after an interruption"
    if isinstance(workload, Inference) and workload.arrival.kind == "bursts" and workload.bursts_per_day is None:
        if workload.requests_per_burst is None and workload.arrival.bursts == ASSUMED_BURSTS:
            yield f"{ASSUMED_BURSTS} bursts a day; give bursts_per_day"
    if isinstance(workload, Training) and workload.hours is not None:
        yield "the hours are as you stated them; a measurement id would make them measured"
    if isinstance(workload, Inference | Batch) and any(one.choice.as_of for one in comparison.feasible[:SHOWN]):
        yield "the same speed on every machine; name accelerator, or measure on the machine you choose"


def _restart(workload: Training | Batch) -> float | None:
    stated = workload.checkpoint.restart_seconds if workload.checkpoint else None
    return workload.restart_seconds if stated is None else stated


def _sources(plans: list[Plan]) -> dict[str, str]:
    names = {line.source for plan in plans for line in plan.prices} - {_CALLER}
    held = shipped().sources
    return {name: f"{held[name].text}; {held[name].licence}" for name in sorted(names) if name in held}


def _artifacts(
    report: EstimateCostReport,
    plans: list[Plan],
    best: Candidate | None,
    workload: Training | Inference | Batch | Running,
) -> dict[str, Any]:
    workspace = current_call().workspace
    if workspace.refusal:
        return {"warnings": [*report.warnings, "no chart and no task file: this server has no workspace (--workspace DIR)"]}
    stored: dict[str, str] = {}
    if len(plans) > SHOWN:
        stored["plans_path"] = str(workspace.store("plans.csv", _table(plans)))
    if report.plans:
        chart = picture.chart(report.plans, report.break_even, report.period)
        stored["picture_path"] = str(workspace.store("cost.svg", chart.encode()))
    task = skypilot.task(best, workload) if best else None
    if task:
        stored["skypilot_yaml_path"] = str(workspace.store("task.yaml", task.encode()))
    return stored


def _table(plans: list[Plan]) -> bytes:
    columns = ["name", "purchase", "provider", "region", "machine", "machines", "accelerator", "expected_usd", "low_usd",
               "high_usd", "wall_seconds", "expected_interruptions", "saving_ratio", "energy_kwh"]  # fmt: skip
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([getattr(plan, column) for column in columns] for plan in plans)
    return text.getvalue().encode()
