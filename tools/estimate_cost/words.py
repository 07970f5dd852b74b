"""The answer in words: a short text for a model, a table for a person."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .answer import BreakEven, EstimateCostReport, Plan

BRIEF_LIMIT = 1490
_BRIEF_PLANS = 4
_FIRST_LINE = 800  # characters, where even the decision with its names is too long
_COLUMNS = ("plan", "expected", "low", "high", "hours", "interruptions", "saves", "kWh", "kg CO2")


def brief(report: EstimateCostReport) -> str:
    """At most BRIEF_LIMIT characters that stand alone; the paths are never cut."""
    lines = [
        f"Decision: {report.decision_why} Costs are {report.period}, without storage, egress and tax.",
        *map(_plan, report.plans[:_BRIEF_PLANS]),
        *([f"Smallest card that fits: {report.smallest_fit}"] if report.smallest_fit else []),
        *(f"Misses: {one.name}: {one.why}" for one in report.infeasible[:2]),
        *(f"Warning: {text}" for text in report.warnings[-2:]),
        *(f"Break-even: {crossing(one)}" for one in report.break_even[:2]),
        *(f"What if: {one.change}: {usd(one.usd)}" for one in report.what_if[:1]),
        *(f"Assumed: {text}" for text in report.assumptions[:3]),
    ]
    paths = _paths(report)
    room = BRIEF_LIMIT - sum(len(path) + 1 for path in paths)
    kept: list[str] = []
    for line in lines:
        room -= len(line) + 1
        if room < 0:
            break
        kept.append(line)
    return "\n".join([*(kept or [lines[0][:_FIRST_LINE]]), *paths])


def readable(report: EstimateCostReport) -> str:
    """A table of the plans, then everything that qualifies it."""
    parts = [report.decision_why, f"Costs in USD {report.period}; without storage, egress and tax.", ""]
    parts += [*_table(report.plans), ""] if report.plans else []
    if report.plans_path:
        parts.append(f"{report.plans_compared} plans compared, all in {report.plans_path}")
    parts += [f"smallest card that fits: {report.smallest_fit}"] if report.smallest_fit else []
    parts += [f"break-even: {crossing(one)}" for one in report.break_even]
    parts += [f"what if: {one.change}: {usd(one.usd)}, saves {usd(one.saves_usd)}" for one in report.what_if]
    parts += [f"misses: {one.name}: {one.why}" for one in report.infeasible]
    parts += [f"warning: {text}" for text in report.warnings]
    parts += [f"assumed: {text}" for text in report.assumptions]
    parts += [f"source {name}: {text}" for name, text in report.sources.items()]
    return "\n".join([*parts, *_paths(report)])


def crossing(one: BreakEven) -> str:
    note = f" ({one.note})" if one.note else ""
    first, second = one.between
    return f"{first} is cheaper up to {plain(one.value)} {one.quantity.replace('_', ' ')}, beyond it {second}{note}"


def plain(number: float) -> str:
    """A number as people write it: 311,941 and 0.3745, never 3.119e+05."""
    return f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.4g}"


def usd(amount: float) -> str:
    return f"${amount:,.2f}" if amount >= 1 else f"${amount:.4g}"


def _plan(plan: Plan) -> str:
    count = f"{plan.machines} x " if plan.machines > 1 else ""
    facts = [f"- {count}{plan.name}: {usd(plan.expected_usd)} ({usd(plan.low_usd)}-{usd(plan.high_usd)})"]
    if plan.wall_seconds is not None:
        facts.append(f"{plan.wall_seconds / 3600:.4g} h")
    if plan.affordable_hours is not None:
        facts.append(f"the budget buys {plan.affordable_hours:.4g} h")
    if plan.expected_interruptions:
        facts.append(f"{plan.expected_interruptions:.3g} interruptions")
    if plan.saving_ratio:
        facts.append(f"saves {plan.saving_ratio:.1%}")
    if plan.tie:
        facts.append("tie")
    dates = sorted({str(line.as_of) for line in plan.prices if line.as_of})
    return ", ".join([*facts, *(f"price of {date}" for date in dates)])


def _table(plans: list[Plan]) -> list[str]:
    rows = [_COLUMNS, *map(_row, plans)]
    filled = [i for i in range(len(_COLUMNS)) if any(row[i] for row in rows[1:])]
    rows = [tuple(row[i] for i in filled) for row in rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(filled))]
    return ["  ".join(_aligned(row, widths)) for row in rows]


def _row(plan: Plan) -> tuple[str, ...]:
    return (
        (f"{plan.machines} x " if plan.machines > 1 else "") + plan.name + (" (tie)" if plan.tie else ""),
        usd(plan.expected_usd),
        usd(plan.low_usd),
        usd(plan.high_usd),
        "" if plan.wall_seconds is None else f"{plan.wall_seconds / 3600:.1f}",
        "" if plan.expected_interruptions is None else f"{plan.expected_interruptions:.1f}",
        f"{plan.saving_ratio:.0%}" if plan.saving_ratio else "",
        "" if plan.energy_kwh is None else plain(plan.energy_kwh),
        "" if plan.co2_kg is None else plain(plan.co2_kg),
    )


def _aligned(row: tuple[str, ...], widths: list[int]) -> list[str]:
    return [
        row[0].ljust(widths[0]),
        *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)),
    ]


def _paths(report: EstimateCostReport) -> list[str]:
    paths = {"chart": report.picture_path, "SkyPilot task": report.skypilot_yaml_path}
    return [f"{name}: {path}" for name, path in paths.items() if path]
