"""Plans for a bill that already runs: as it is, stopped when idle or by the clock, and each option in its place."""

import functools
import math
from collections.abc import Iterable, Iterator
from datetime import date

from .bands import EXACT, Band, price_band
from .candidate import Candidate, Miss, Purchase, memory_miss, serverless_hourly
from .option import Choice, Constraints
from .rates import rate_of
from .sizing import OTHER_CARD
from .speed import peak_tflops, same_card
from .workload import Running

AS_IT_RUNS = "as it runs now"
STOPPED = "stopped when idle"
ALWAYS_ON = "always on"
_DAY_SHIFT_HOURS = (
    12  # what a schedule by the clock keeps on for a working day; judgement, references/cost.md
)
_SPARE_HOURS = 0.5
_WORKDAYS = 5


def running_machine(workload: Running, choices: Iterable[Choice]) -> Choice:
    """What runs today: the option of exactly that price, else a machine without a name."""
    same = (one for one in choices if one.fees is None and one.on_demand == workload.usd_per_hour)
    here = Choice("this machine", "instance", workload.usd_per_hour, None, (), workload.gpus, None)
    return next((one for one in same if not one.searched), here)


def today_plans(workload: Running, choice: Choice) -> Iterator[Candidate]:
    """The bill as it is, the same machine only while it works, and switched by the clock."""
    hours = {AS_IT_RUNS: 24 * workload.days, STOPPED: workload.busy_hours, **_schedules(workload)}
    for mode, on in hours.items():
        yield Candidate(
            choice=choice,
            purchase="as_it_runs" if mode == AS_IT_RUNS else "on_demand",
            mode=mode,
            usd=workload.usd_per_hour * on,
            usd_per_hour=workload.usd_per_hour,
            same_machine_usd=workload.usd_per_hour * 24 * workload.days,
            busy_hours=workload.busy_hours,
            extras={} if mode == AS_IT_RUNS else {"remedy": "scale_to_zero"},
        )


def _schedules(workload: Running) -> dict[str, float]:
    """Hours on by each schedule that leaves the work its hours and saves something."""
    on = max(_DAY_SHIFT_HOURS, math.ceil(workload.busy_hours_per_day + _SPARE_HOURS))
    week = _WORKDAYS / 7 * workload.days
    free_weekends = workload.busy_days_per_week <= _WORKDAYS
    found = {}
    if on < 24:
        found[f"off at night, on {on} h a day"] = on * workload.days
    if free_weekends:
        found["off at weekends"] = 24 * week
    if on < 24 and free_weekends:
        found[f"off at night and weekends, on {on} h on {_WORKDAYS} days"] = on * week
    return found


def running_plans(
    workload: Running, choice: Choice, constraints: Constraints, today: date, *, runs_already: bool
) -> Iterator[Candidate | Miss]:
    """One option in the place of the machine that runs, for the same work; of that machine what is new."""
    if miss := memory_miss(choice, workload.memory_bytes):
        yield miss
        return
    carried = _slower(workload, choice)
    if carried is None:
        yield Miss(choice.name, "speed", f"no fp16 peak is held for {choice.accelerator}")
        return
    slower, speed = carried
    if (need := workload.busy_hours_per_day * slower) > 24:
        yield Miss(choice.name, "speed", f"would be busy {need:.3g} h a day", need - 24, "hours")
        return
    bands = {"price": price_band(choice.as_of, today), "speed of the card": speed}
    plan = functools.partial(_in_its_place, workload, choice, bands, workload.busy_hours * slower)
    if choice.fees is not None:
        hourly = serverless_hourly(choice, choice.fees, workload.memory_bytes)
        yield hourly if isinstance(hourly, Miss) else plan("serverless", "serverless", hourly)
        return
    if choice.on_demand is not None and constraints.spot != "require" and not runs_already:
        own = choice.kind == "own"
        yield plan("own" if own else "on_demand", ALWAYS_ON, choice.on_demand)
        if not own and need < 24:
            yield plan("on_demand", STOPPED, choice.on_demand)
    for label, price in choice.commits if constraints.spot != "require" else ():
        yield plan("committed", label, price)
    if choice.spot is not None and constraints.spot != "forbid":
        one = plan("spot", f"spot, {STOPPED}", choice.spot)
        spot_band = price_band(choice.spot_as_of, today, derived=choice.spot_method == "derived")
        one.bands = {**one.bands, "price": spot_band}
        one.interruptions = rate_of(workload, choice).expected * one.busy_hours
        yield one


def _in_its_place(
    workload: Running,
    choice: Choice,
    bands: dict[str, Band],
    busy: float,
    purchase: Purchase,
    mode: str,
    price: float,
) -> Candidate:
    """Paid for its busy hours, or all day where it is kept on."""
    all_day = 24 * workload.days
    kept_on = mode == ALWAYS_ON or purchase == "committed"
    return Candidate(
        choice=choice,
        purchase=purchase,
        mode=mode,
        usd=price * (all_day if kept_on else busy),
        usd_per_hour=price,
        same_machine_usd=workload.usd_per_hour * all_day,
        bands={"price": bands["price"]} if kept_on else bands,
        busy_hours=busy,
        extras={"remedy": "right_size"} if choice.searched else {},
    )


def _slower(workload: Running, choice: Choice) -> tuple[float, Band] | None:
    """How many times longer the work takes than on today's card, by peaks; never faster, since much else may bind.

    `gpu_utilization` is the share of its time that today's card computes: the rest takes as long on any. None where a
    searched card's speed is not known.
    """
    if choice.accelerator is None or same_card(choice.accelerator, workload.accelerator):
        return 1.0, EXACT
    here = peak_tflops(workload.accelerator or "", "fp16")
    there = peak_tflops(choice.accelerator, "fp16")
    if here is None and choice.searched:
        return 1.0, OTHER_CARD
    if here is None or there is None:
        return None if choice.searched else (1.0, EXACT)
    cards = (workload.gpus or 1) / (choice.gpus or 1)
    return max(1.0, (workload.gpu_utilization or 1.0) * cards * here / there), OTHER_CARD
