"""Plans for a training run: hours on each option, on demand and on spot."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from .._core.errors import ToolError
from .bands import EXACT, UTILIZATION, Band, price_band
from .candidate import Candidate, Miss, memory_miss
from .interruptions import best_interval_hours, expect, odds_within
from .option import Choice, Constraints
from .rates import Rate, rate_band, rate_of, rhythm_of
from .speed import peak_tflops
from .workload import AnyWorkload, Batch, Training

ASSUMED_UTILIZATION = (
    0.30  # references/cost.md#utilisation: small single-GPU jobs; large runs publish 0.21 to 0.57
)
OTHER_CARD: Band = (
    0.5,
    2.0,
)  # hours carried over to another card by the ratio of peaks: an order of magnitude


@dataclass(frozen=True, slots=True)
class Work:
    """Hours that one option needs, on how many machines, and how sure that is."""

    hours: float
    machines: int
    basis: str
    bands: dict[str, Band]
    notes: tuple[str, ...] = ()


def timed(workload: AnyWorkload, constraints: Constraints) -> AnyWorkload:
    """A training run with a time: one hour where only a budget is given, to be told what it buys."""
    if not isinstance(workload, Training) or workload.has_time:
        return workload
    if constraints.budget_usd is None:
        raise ToolError(
            "Nothing says how long the training takes",
            try_next="hours, or steps with step_seconds, or steps with measurement, or flops, or tokens with "
            "parameters; with constraints.budget_usd alone you are told what the budget buys",
        )
    return workload.model_copy(update={"hours": 1.0, "is_an_hour_for_want_of_more": True})


def training_plans(
    workload: Training, choice: Choice, constraints: Constraints, step_seconds: float | None, today: date
) -> Iterator[Candidate | Miss]:
    """Every plan for one option, feasible in memory; deadline and budget are looked at later."""
    if miss := memory_miss(choice, workload.memory_bytes):
        yield miss
        return
    work = work_on(workload, choice, constraints, step_seconds)
    if isinstance(work, Miss):
        yield work
        return
    for one in purchases(workload, choice, constraints, work, today, jobs=workload.trials):
        if workload.is_an_hour_for_want_of_more and isinstance(one, Candidate) and constraints.budget_usd:
            one.extras["affordable_hours"] = constraints.budget_usd / one.usd
        yield one


def purchases(
    workload: Training | Batch,
    choice: Choice,
    constraints: Constraints,
    work: Work,
    today: date,
    *,
    jobs: float,
    independent: bool = False,
    suffix: str = "",
) -> Iterator[Candidate | Miss]:
    """On demand, committed and spot for the same hours; `jobs` such runs one after another.

    `independent` machines lose only their own share when one is taken away; otherwise all of them stop.
    """
    total = work.hours * work.machines * jobs
    same = None if choice.on_demand is None else choice.on_demand * total
    list_band = price_band(choice.as_of, today)
    if choice.on_demand is not None and constraints.spot != "require":
        own = choice.kind == "own"
        yield Candidate(
            choice=choice,
            purchase="own" if own else "on_demand",
            mode=("own" if own else "on-demand") + suffix,
            usd=choice.on_demand * total,
            usd_per_hour=choice.on_demand,
            machines=work.machines,
            wall_hours=work.hours * jobs,
            interruptions=0.0,
            same_machine_usd=same,
            bands={"price": list_band, **work.bands},
            busy_hours=total,
            extras={"time_basis": work.basis},
            notes=list(work.notes),
        )
        if choice.as_of is None:
            yield from _committed(choice, work, jobs, same, suffix)
    if constraints.spot != "forbid" and choice.kind != "own":
        yield from _spot(workload, choice, constraints, work, today, jobs, same, independent, suffix)


def _committed(
    choice: Choice, work: Work, jobs: float, same: float | None, suffix: str
) -> Iterator[Candidate]:
    """The caller's commitment, if its other hours are used too."""
    total = work.hours * work.machines * jobs
    for label, price in choice.commits:
        yield Candidate(
            choice=choice,
            purchase="committed",
            mode=label + suffix,
            usd=price * total,
            usd_per_hour=price,
            machines=work.machines,
            wall_hours=work.hours * jobs,
            interruptions=0.0,
            same_machine_usd=same,
            bands=dict(work.bands),
            busy_hours=total,
            extras={"time_basis": work.basis},
            notes=[
                *work.notes,
                "a commitment is paid for every hour of its term: this holds if the others are used",
            ],
        )


def _spot(
    workload: Training | Batch,
    choice: Choice,
    constraints: Constraints,
    work: Work,
    today: date,
    jobs: float,
    same: float | None,
    independent: bool,
    suffix: str,
) -> Iterator[Candidate | Miss]:
    if choice.spot is None:
        if constraints.spot == "require":
            yield Miss(choice.name, "spot", f"no spot price is held for {choice.name}")
        return
    rate = rate_of(workload, choice)
    members = 1 if independent else work.machines
    rhythm = rhythm_of(workload, rate.expected * members)
    outcome = expect(work.hours, rate.expected * members, rhythm)
    if math.isinf(outcome.wall_hours):
        lost = rate.expected * members * (rhythm.restart_hours + (rhythm.interval_hours or work.hours) / 2)
        yield Miss(
            f"{choice.name} spot",
            "spot",
            f"at {rate.expected * members:g} interruptions/h each costs more work than is done between two: "
            "it would never finish; checkpoint more often or go on demand",
            lost - 1,
            "lost share",
        )
        return
    hours = outcome.wall_hours * work.machines * jobs
    band = price_band(choice.spot_as_of, today, derived=choice.spot_method == "derived")
    candidate = Candidate(
        choice=choice,
        purchase="spot",
        work_hours=work.hours,
        mode="spot" + suffix,
        usd=choice.spot * hours,
        usd_per_hour=choice.spot,
        machines=work.machines,
        wall_hours=outcome.wall_hours * jobs,
        interruptions=outcome.interruptions * jobs * (work.machines if independent else 1),
        same_machine_usd=same,
        bands={
            "price": band,
            **work.bands,
            "interruption rate": rate_band(work.hours, rate, rhythm, members),
        },
        busy_hours=hours,
        extras={"time_basis": work.basis},
        notes=list(work.notes),
    )
    _spot_extras(candidate, workload, constraints, work, rate, members)
    yield candidate


def _spot_extras(
    one: Candidate, workload: Training | Batch, constraints: Constraints, work: Work, rate: Rate, members: int
) -> None:
    """The odds of the deadline, the interval to use, and what to know before trusting the figure."""
    total_rate = rate.expected * members
    rhythm = rhythm_of(workload, total_rate)
    if constraints.deadline_hours is not None:
        jobs = (
            workload.trials if isinstance(workload, Training) else 1
        )  # a batch's deadline is for one day's run
        odds = odds_within(constraints.deadline_hours / jobs, work.hours, total_rate, rhythm)
        one.extras["deadline_probability"] = odds
    one.extras["interruptions_per_hour"] = rate.expected
    if best := best_interval_hours(rhythm.write_hours, total_rate):
        one.extras["best_checkpoint_seconds"] = best * 3600
    if rhythm.interval_hours is None:
        one.notes.append("no checkpoints: every interruption starts the work over")
    elif total_rate * (rhythm.restart_hours + rhythm.interval_hours / 2) > 0.5:
        one.notes.append("over half of the time is lost to interruptions: outside the formula's safe range")


def work_on(
    workload: Training, choice: Choice, constraints: Constraints, step_seconds: float | None
) -> Work | Miss:
    """The hours of one run on this option, at the machine count that its GPUs, or the deadline, ask for."""
    per_machine = choice.gpus
    if workload.flops is not None or workload.tokens is not None:
        return _from_flops(workload, choice, constraints)
    if workload.hours is not None:
        base, basis = workload.hours, "assumed"
    else:
        assert workload.steps is not None
        seconds = workload.step_seconds if step_seconds is None else step_seconds
        assert seconds is not None
        base, basis = workload.steps * seconds / 3600, "assumed" if step_seconds is None else "measured"
    carried = _carry_over(workload, choice)
    if isinstance(carried, Miss):
        return carried
    ratio, bands, notes = carried
    reference = workload.gpus or (1 if workload.scaling_efficiency else None)
    if reference is None or per_machine is None or per_machine == 0:
        return Work(base * ratio, 1, basis, bands, notes)
    machines = max(1, math.ceil(reference / per_machine - 1e-9))
    if workload.scaling_efficiency and constraints.deadline_hours and per_machine >= 1:
        one = _speedup(machines * per_machine / reference, workload.scaling_efficiency)
        if base * ratio / one > constraints.deadline_hours:
            machines = _enough(base * ratio, reference, per_machine, workload.scaling_efficiency, constraints)
    factor = machines * per_machine / reference
    if factor > 1 and workload.scaling_efficiency is None:
        bands = {**bands, "scaling": (1.0, 1.25)}
        notes = (*notes, f"assumes perfect scaling from {reference} to {machines * per_machine:g} GPUs")
    return Work(base * ratio / _speedup(factor, workload.scaling_efficiency), machines, basis, bands, notes)


def _speedup(factor: float, efficiency: float | None) -> float:
    """How many times faster on `factor` times the GPUs: below one exactly, above one times the efficiency."""
    return factor if factor <= 1 or efficiency is None else max(1.0, factor * efficiency)


def _enough(
    hours: float, reference: int, per_machine: float, efficiency: float, constraints: Constraints
) -> int:
    """The fewest machines that meet the deadline; the most allowed when none do."""
    assert constraints.deadline_hours is not None
    wanted = hours / constraints.deadline_hours / efficiency * reference / per_machine
    return min(max(1, math.ceil(wanted - 1e-9)), constraints.max_machines)


def _carry_over(workload: Training, choice: Choice) -> tuple[float, dict[str, Band], tuple[str, ...]] | Miss:
    """How the hours change when they were stated for another card: by the ratio of peak throughputs."""
    if workload.accelerator is None:
        return 1.0, {"speed of the card": OTHER_CARD} if choice.searched else {}, ()
    if choice.accelerator is None:
        return 1.0, {}, ()
    here = peak_tflops(choice.accelerator, workload.precision)
    there = peak_tflops(workload.accelerator, workload.precision)
    if workload.accelerator == choice.accelerator:
        return 1.0, {}, ()
    if here is None or there is None:
        why = f"no {workload.precision} peak is held for {choice.accelerator}, so the hours cannot be carried over"
        return Miss(choice.name, "speed", why)
    note = f"hours carried over from {workload.accelerator} by the ratio of {workload.precision} peaks"
    return there / here, {"speed of the card": OTHER_CARD}, (note,)


def _from_flops(workload: Training, choice: Choice, constraints: Constraints) -> Work | Miss:
    """hours = FLOPs / (GPUs x dense peak x utilisation x 3600); FLOPs = 6 N D where N and D are given."""
    flops = workload.flops or 6 * (workload.parameters or 0) * (workload.tokens or 0)
    tflops = choice.tflops or (choice.accelerator and peak_tflops(choice.accelerator, workload.precision))
    if not tflops:
        card = choice.accelerator or choice.name
        return Miss(
            choice.name, "speed", f"no {workload.precision} peak is known for {card}; give tflops (dense)"
        )
    share = workload.utilization or ASSUMED_UTILIZATION
    per_machine = choice.gpus or float(workload.gpus or 1)
    machines = max(1, math.ceil((workload.gpus or 1) / per_machine - 1e-9))
    efficiency = workload.scaling_efficiency or 1.0

    def hours(count: int) -> float:
        total = count * per_machine
        return flops / (total * tflops * 1e12 * share * (efficiency if total > 1 else 1.0) * 3600)

    if constraints.deadline_hours and workload.gpus is None and per_machine >= 1:
        while hours(machines) > constraints.deadline_hours and machines < constraints.max_machines:
            machines += 1
    band = EXACT if workload.utilization else UTILIZATION
    note = () if workload.utilization else (f"assumes {share:.0%} of the dense {workload.precision} peak",)
    return Work(hours(machines), machines, "assumed", {"utilisation": band}, note)
