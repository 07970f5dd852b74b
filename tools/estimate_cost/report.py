"""From a comparison to the Report."""

from collections.abc import Iterator
from datetime import date

from .._catalog.prices import held
from .._core.contract import current_call
from .answer import BreakEven, EstimateCostReport, Infeasible, Plan, PriceLine, WhatIf
from .arrivals import ASSUMED_BURSTS
from .artifacts import artifacts
from .bands import EXACT, widest
from .break_even import (
    Crossing,
)
from .candidate import Candidate, Miss
from .compare import Comparison, reason
from .energy import grams_co2, kwh_of
from .option import Constraints
from .rates import ASSUMED_PER_HOUR, ASSUMED_RESTART_SECONDS
from .tables import price_folder
from .what_if import changes
from .workload import AnyWorkload, Batch, Inference, Training

SHOWN = 6  # catalog machines in the Report; all of them are in the artifact
_SHOWN_MISSES = 4
NOT_INCLUDED = ["storage", "egress", "tax"]
_CALLER = "stated by the caller"


def written(
    workload: AnyWorkload,
    constraints: Constraints,
    comparison: Comparison,
    broken_even: list[Crossing],
    warnings: list[str],
    today: date,
) -> EstimateCostReport:
    """The Report, with its artifacts stored where the workspace takes files."""
    best = comparison.recommended
    shown = [plan_of(one, workload, tie=one in comparison.tied) for one in telling(comparison)]
    report = EstimateCostReport(
        decision=best.name if best else None,
        decision_why=reason(comparison),
        period=_period(workload),
        plans=shown,
        plans_compared=len(comparison.feasible),
        break_even=[
            BreakEven(between=list(c.between), quantity=c.quantity, value=c.value, note=c.note)
            for c in broken_even
        ],
        what_if=[
            WhatIf(change=c.change, usd=c.usd, saves_usd=c.saves_usd)
            for c in changes(workload, comparison.feasible)
        ],
        infeasible=[_infeasible(miss) for miss in _telling_misses(comparison.missed)],
        infeasible_count=len(comparison.missed),
        assumptions=list(_assumptions(workload, comparison)),
        warnings=warnings,
        sources=_sources(shown),
    )
    return report.model_copy(update=artifacts(report, comparison.feasible, best, broken_even, workload))


def telling(comparison: Comparison) -> list[Candidate]:
    """What the Report shows: the caller's options all, of a catalog machine its cheapest region only.

    The recommended plan and the cheapest without interruptions are always among them.
    """
    seen: set[object] = set()
    shown: list[Candidate] = []
    rest: list[Candidate] = []
    for one in comparison.feasible:
        key = (one.choice.provider, one.choice.machine, one.mode) if one.choice.as_of else id(one)
        left_out = one.choice.as_of is not None and (key in seen or len(seen) >= SHOWN)
        (rest if left_out else shown).append(one)
        seen.add(key)
    calm = next((one for one in comparison.feasible if one.purchase != "spot"), None)
    wanted = [one for one in (comparison.recommended, calm) if one is not None and one in rest]
    return sorted([*shown, *dict.fromkeys(wanted)], key=comparison.feasible.index) if wanted else shown


def _telling_misses(missed: list[Miss]) -> Iterator[Miss]:
    """The caller's options all; of the catalog's a few, one region speaking for the others."""
    seen: set[str] = set()
    for miss in missed:
        if not miss.from_catalog:
            yield miss
        elif miss.why not in seen and len(seen) < _SHOWN_MISSES:
            seen.add(miss.why)
            yield miss


def plan_of(one: Candidate, workload: AnyWorkload, *, tie: bool) -> Plan:
    """A candidate as it is reported."""
    low, high = one.range_usd()
    days = None if isinstance(workload, Training) else workload.days
    energy = kwh_of(one)
    units = {"requests_per_day": 1e6, "items_per_day": 1e6}
    per_day = next((getattr(workload, name) for name in units if hasattr(workload, name)), None)
    return Plan(
        name=one.name,
        purchase=one.purchase,
        provider=one.choice.provider,
        region=one.choice.region,
        machine=one.choice.machine,
        machines=one.machines,
        accelerator=one.choice.accelerator,
        expected_usd=one.usd,
        low_usd=low,
        high_usd=high,
        basis="catalog" if one.choice.as_of and set(one.bands) == {"price"} else "assumed",
        usd_per_day=one.usd / days if days else None,
        usd_per_month=one.usd / days * 30 if days else None,
        wall_seconds=None if one.wall_hours is None else one.wall_hours * 3600,
        expected_interruptions=one.interruptions,
        saving_ratio=one.saving_ratio,
        tie=tie,
        usd_per_million=one.usd / days / per_day * 1e6 if days and per_day else None,
        energy_kwh=energy,
        co2_kg=None if energy is None else grams_co2(energy) / 1000,
        hangs_on=widest(one.bands),
        prices=list(_prices(one)),
        not_included=NOT_INCLUDED,
        notes=one.notes,
        **one.extras,
    )


def _prices(one: Candidate) -> Iterator[PriceLine]:
    choice = one.choice
    spot = one.purchase == "spot"
    as_of = choice.spot_as_of if spot else choice.as_of
    method = choice.spot_method if spot else None
    if choice.fees is None:
        low, high = one.bands.get("price", EXACT)
        dated = as_of is not None
        yield PriceLine(
            what=one.purchase,
            usd=one.usd_per_hour,
            low_usd=one.usd_per_hour * low if dated else None,
            high_usd=one.usd_per_hour * high if dated else None,
            source=choice.source,
            as_of=as_of,
            method=method,
        )
        return
    for what, usd, unit in (
        ("instance", choice.fees.per_second, "second"),
        ("memory", choice.fees.per_gb_second, "GB-second"),
        ("requests", choice.fees.per_request * 1e6, "million requests"),
    ):
        if usd:
            yield PriceLine(what=what, usd=usd, unit=unit, source=choice.source, as_of=as_of)


def _period(workload: AnyWorkload) -> str:
    if isinstance(workload, Training) and workload.is_an_hour_for_want_of_more:
        return "for one hour of work; affordable_hours is what the budget buys"
    if isinstance(workload, Training):
        return "for the whole job" if workload.trials == 1 else f"for all {workload.trials} trials"
    return f"for {workload.days:g} {'day' if workload.days == 1 else 'days'}"


def _infeasible(miss: Miss) -> Infeasible:
    return Infeasible(
        name=miss.name, reason=miss.reason, why=miss.why, misses_by=miss.misses_by, unit=miss.unit
    )


def _assumptions(workload: AnyWorkload, comparison: Comparison) -> Iterator[str]:
    spot = [one for one in comparison.feasible if one.purchase == "spot"]
    if spot and any(
        "interruptions_per_hour" in one.extras and "interruption rate" in one.bands for one in spot
    ):
        if workload.interruptions_per_hour is None and any(
            one.choice.interruptions_per_hour is None for one in spot
        ):
            yield f"{ASSUMED_PER_HOUR:g} interruptions/h of a spot machine; give interruptions_per_hour if you know it"
        if isinstance(workload, Training | Batch) and _restart(workload) is None:
            yield f"{ASSUMED_RESTART_SECONDS} s until work resumes after an interruption"
    if isinstance(workload, Inference) and workload.number_of_bursts_is_assumed:
        yield f"{ASSUMED_BURSTS} bursts a day; give bursts_per_day"
    if any("speed of the card" in one.bands for one in comparison.feasible) and not getattr(
        workload, "accelerator", None
    ):
        yield "the same hours on every card, though cards differ several-fold; name the accelerator they hold for"
    elif isinstance(workload, Training) and workload.hours is not None:
        yield "the hours are as you stated them; a measurement id would make them measured"
    if isinstance(workload, Inference | Batch) and any(
        one.choice.as_of for one in comparison.feasible[:SHOWN]
    ):
        yield "the same speed on every machine; name accelerator, or measure on the machine you choose"


def _restart(workload: Training | Batch) -> float | None:
    stated = workload.checkpoint.restart_seconds if workload.checkpoint else None
    return workload.restart_seconds if stated is None else stated


def _sources(plans: list[Plan]) -> dict[str, str]:
    names = {line.source for plan in plans for line in plan.prices} - {_CALLER}
    held_here = held(price_folder(current_call().workspace)).sources
    return {
        name: f"{held_here[name].text}; {held_here[name].licence}"
        for name in sorted(names)
        if name in held_here
    }
