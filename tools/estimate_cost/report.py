"""From a comparison to the Report."""

from collections.abc import Iterator, Sequence

from .answer import BreakEven, EstimateCostReport, Infeasible, Plan, PriceLine, WhatIf
from .arrivals import ASSUMED_BURSTS
from .artifacts import artifacts
from .bands import EXACT, widest
from .candidate import Candidate, Miss
from .compare import Comparison, reason
from .crossing import Crossing
from .energy import SOURCES, co2_kg_of, kwh_of, rounded
from .hosts import is_arm
from .question import Question
from .rates import ASSUMED_PER_HOUR, ASSUMED_RESTART_SECONDS, ASSUMED_WRITE_SECONDS
from .short import shortened
from .what_if import Change
from .workload import AnyWorkload, Batch, Inference, Running, Training

SHOWN = 6  # catalog machines in the Report; all of them are in the artifact
_SHOWN_MISSES = 2
_VERY_CHEAP = 0.2  # of the list price; the middle of the offers held is near 0.4
_SURE = 0.9  # of the deadline; below it the Report warns
NOT_INCLUDED = ["storage", "egress", "tax"]
_CALLER = "stated by the caller"


def written(
    question: Question,
    comparison: Comparison,
    broken_even: list[Crossing],
    eased: Sequence[Change],
    warnings: list[str],
) -> EstimateCostReport:
    """The Report, with its artifacts stored where the workspace takes files."""
    workload, best = question.workload, comparison.recommended
    shown = [plan_of(one, workload, tie=one in comparison.tied) for one in telling(comparison)]
    report = EstimateCostReport(
        decision=best.name if best else None,
        decision_why=reason(comparison),
        smallest_fit=_smallest_fit(workload, comparison),
        period=_period(workload, comparison),
        plans=shown,
        plans_compared=len(comparison.feasible),
        break_even=[
            BreakEven(between=list(c.between), quantity=c.quantity, value=c.value, note=c.note)
            for c in broken_even
        ],
        what_if=[WhatIf(change=c.change, usd=c.usd, saves_usd=c.saves_usd) for c in eased],
        infeasible=[_infeasible(miss) for miss in _telling_misses(comparison.missed)],
        infeasible_count=len(comparison.missed),
        assumptions=list(_assumptions(workload, comparison)),
        warnings=[*warnings, *_cautions(comparison)],
        sources=_sources(shown, question),
    )
    stored = artifacts(report, comparison.feasible, best, broken_even, workload)
    return shortened(report.model_copy(update=stored))


def _cautions(comparison: Comparison) -> Iterator[str]:
    """What speaks against the plan that is recommended."""
    best = comparison.recommended
    if best is None:
        return
    if is_arm(best.choice.provider, best.choice.machine):
        yield f"{best.choice.machine} is an arm64 machine: packages and images must be built for it"
    spot, listed = best.choice.spot, best.choice.on_demand
    if best.purchase == "spot" and best.choice.as_of and spot and listed and spot < _VERY_CHEAP * listed:
        then = f"on {best.choice.spot_as_of}: it may have risen since"
        yield f"{best.name}: the spot price was {spot / listed:.0%} of the list price {then}"
    high = best.range_usd()[1]
    if best.purchase == "spot" and (calm := _without_interruptions(comparison)) and high > calm.usd:
        yield f"{best.name} may cost up to {high:.2f} USD; {calm.name} costs {calm.usd:.2f} without interruptions"
    odds = best.extras.get("deadline_probability", 1.0)
    if odds < _SURE:
        sure = (
            one
            for one in sorted([*comparison.aside, *comparison.feasible], key=lambda one: one.usd)
            if one.extras.get("deadline_probability", 1.0) >= _SURE
        )
        other = next(sure, None)
        instead = f"; {other.name} for {other.usd:.2f} USD is surer" if other else ""
        yield f"{best.name} meets the deadline with {odds:.0%} only{instead}"


def _without_interruptions(comparison: Comparison) -> Candidate | None:
    return next((one for one in comparison.feasible if one.purchase != "spot"), None)


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
    calm = _without_interruptions(comparison)
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
    kwh = kwh_of(one)
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
        energy_kwh=None if kwh is None else rounded(kwh),
        co2_kg=None if kwh is None else rounded(co2_kg_of(one, kwh)),
        hangs_on=widest(one.bands),
        prices=list(_prices(one)),
        not_included=NOT_INCLUDED,
        notes=one.notes,
        **one.extras,
    )


def _prices(one: Candidate) -> Iterator[PriceLine]:
    choice = one.choice
    if choice.fees is None:
        if one.purchase == "spot_then_on_demand":
            yield _line(one, "spot", choice.spot or 0.0)
            yield _line(one, "on_demand", choice.on_demand or 0.0)
        else:
            yield _line(one, one.purchase, one.usd_per_hour)
        return
    for what, usd, unit in (
        ("instance", choice.fees.per_second, "second"),
        ("memory", choice.fees.per_gb_second, "GB-second"),
        ("requests", choice.fees.per_request * 1e6, "million requests"),
    ):
        if usd:
            yield PriceLine(what=what, usd=usd, unit=unit, source=choice.source, as_of=choice.as_of)


def _line(one: Candidate, what: str, usd: float) -> PriceLine:
    spot = what == "spot"
    as_of = one.choice.spot_as_of if spot else one.choice.as_of
    low, high = one.bands.get("price", EXACT)
    return PriceLine(
        what=what,
        usd=usd,
        low_usd=None if as_of is None else usd * low,
        high_usd=None if as_of is None else usd * high,
        source=one.choice.source,
        as_of=as_of,
        method=one.choice.spot_method if spot else None,
    )


def _period(workload: AnyWorkload, comparison: Comparison) -> str:
    if any("affordable_hours" in one.extras for one in comparison.feasible):
        unit = "10^18 FLOPs" if isinstance(workload, Training) and workload.flops else "one hour"
        return f"for {unit} of work; affordable_hours is what the budget buys"
    if isinstance(workload, Training):
        return "for the whole job" if workload.trials == 1 else f"for all {workload.trials} trials"
    return f"for {workload.days:g} {'day' if workload.days == 1 else 'days'}"


def _smallest_fit(workload: AnyWorkload, comparison: Comparison) -> str | None:
    """Of a search by memory: what it would be to size by memory alone."""
    cards = [one for one in comparison.feasible if one.choice.searched and one.choice.accelerator]
    if not workload.memory_bytes or not cards:
        return None
    one = min(cards, key=lambda one: (one.choice.memory_bytes or 0, one.usd))
    gib = (one.choice.memory_bytes or 0) / 2**30
    return f"{one.choice.accelerator} ({gib:.0f} GiB): {one.name}, {one.usd:.2f} USD"


def _infeasible(miss: Miss) -> Infeasible:
    return Infeasible(
        name=miss.name, reason=miss.reason, why=miss.why, misses_by=miss.misses_by, unit=miss.unit
    )


def _assumptions(workload: AnyWorkload, comparison: Comparison) -> Iterator[str]:
    yield from _of_interruptions(workload, comparison)
    if isinstance(workload, Inference) and workload.number_of_bursts_is_assumed:
        yield f"{ASSUMED_BURSTS} bursts a day; give bursts_per_day"
    if isinstance(workload, Running):
        if workload.busy_days_per_week == 7:
            yield "busy on all days; give busy_days_per_week if weekends are free"
        if workload.memory_bytes is None:
            yield "nothing says what the work needs: give memory_bytes or a measurement, and accelerator, to be told "\
                "of smaller machines"  # fmt: skip
    carried = any("speed of the card" in one.bands for one in comparison.feasible)
    if carried and not workload.accelerator:
        yield "the same hours on every card, though cards differ several-fold; name the accelerator they hold for"
    elif isinstance(workload, Training) and workload.hours is not None:
        yield "the hours are as you stated them; a measurement id would make them measured"
    if (
        isinstance(workload, Training)
        and workload.scaling_efficiency
        and (workload.gpus or 1) > 1
        and not workload.flops
    ):
        yield f"the time holds for {workload.gpus} GPUs; scaling_efficiency is for more than these"
    searched = any(one.choice.searched for one in comparison.feasible[:SHOWN])
    if isinstance(workload, Inference | Batch) and searched and not workload.accelerator:
        yield "the same speed on every machine; name accelerator or vcpus, or measure on the machine you choose"


def _of_interruptions(workload: AnyWorkload, comparison: Comparison) -> Iterator[str]:
    spot = [one for one in comparison.feasible if "interruption rate" in one.bands]
    if not spot or not isinstance(workload, Training | Batch):
        return
    if workload.interruptions_per_hour is None and any(
        one.choice.interruptions_per_hour is None for one in spot
    ):
        yield f"{ASSUMED_PER_HOUR:g} interruptions/h of a spot machine; give interruptions_per_hour if you know it"
    checkpoint = workload.checkpoint
    stated = checkpoint.restart_seconds if checkpoint else None
    if stated is None and workload.restart_seconds is None:
        yield f"{ASSUMED_RESTART_SECONDS} s until work resumes after an interruption"
    if checkpoint and checkpoint.interval_seconds is None and checkpoint.write_seconds is None:
        yield f"{ASSUMED_WRITE_SECONDS} s to write a checkpoint, as often as is best"


def _sources(plans: list[Plan], question: Question) -> dict[str, str]:
    names = {line.source for plan in plans for line in plan.prices} - {_CALLER}
    held = question.prices.sources
    found = {name: f"{held[name].text}; {held[name].licence}" for name in sorted(names) if name in held}
    return found | (SOURCES if any(plan.energy_kwh for plan in plans) else {})
