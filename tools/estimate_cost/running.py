"""Plans for a bill that already runs: as it is, stopped when idle, and each option in its place."""

from collections.abc import Iterable, Iterator
from datetime import date

from .bands import price_band
from .candidate import Candidate, Miss, Purchase, memory_miss
from .option import Choice, Constraints
from .rates import rate_of
from .workload import Running

AS_IT_RUNS = "as it runs now"
STOPPED = "stopped when idle"


def running_machine(workload: Running, choices: Iterable[Choice]) -> Choice:
    """What runs today: the option of exactly that price, else a machine without a name."""
    same = (one for one in choices if one.fees is None and one.on_demand == workload.usd_per_hour)
    return next(
        same, Choice("this machine", "instance", workload.usd_per_hour, None, (), workload.gpus, None)
    )


def today_plans(workload: Running, choice: Choice) -> Iterator[Candidate]:
    """The bill as it is, and the same machine only while it works."""
    now = workload.usd_per_hour * 24 * workload.days
    busy = workload.busy_hours_per_day * workload.days
    for mode, hours in ((AS_IT_RUNS, 24 * workload.days), (STOPPED, busy)):
        yield Candidate(
            choice=choice,
            purchase="as_it_runs" if mode == AS_IT_RUNS else "on_demand",
            mode=mode,
            usd=workload.usd_per_hour * hours,
            usd_per_hour=workload.usd_per_hour,
            same_machine_usd=now,
            busy_hours=busy,
            extras={"remedy": "scale_to_zero"} if mode == STOPPED else {},
        )


def running_plans(
    workload: Running, choice: Choice, constraints: Constraints, today: date, *, runs_already: bool
) -> Iterator[Candidate | Miss]:
    """One option in the place of the machine that runs, for the same busy hours; of that machine what is new."""
    if miss := memory_miss(choice, workload.memory_bytes):
        yield miss
        return
    busy, all_day = workload.busy_hours_per_day * workload.days, 24 * workload.days
    now = workload.usd_per_hour * all_day
    band = price_band(choice.as_of, today)

    def plan(purchase: Purchase, mode: str, price: float, hours: float) -> Candidate:
        return Candidate(
            choice=choice,
            purchase=purchase,
            mode=mode,
            usd=price * hours,
            usd_per_hour=price,
            same_machine_usd=now,
            bands={"price": band},
            busy_hours=busy,
        )

    if choice.fees is not None:
        yield plan("serverless", "serverless", choice.fees.per_second * 3600, busy)
        return
    if choice.on_demand is not None and constraints.spot != "require" and not runs_already:
        own = choice.kind == "own"
        yield plan("own" if own else "on_demand", "always on", choice.on_demand, all_day)
        if not own and busy < all_day:
            yield plan("on_demand", STOPPED, choice.on_demand, busy)
    for label, price in choice.commits if constraints.spot != "require" else ():
        yield plan("committed", label, price, all_day)
    if choice.spot is not None and constraints.spot != "forbid":
        one = plan("spot", f"spot, {STOPPED}", choice.spot, busy)
        one.bands = {"price": price_band(choice.spot_as_of, today, derived=choice.spot_method == "derived")}
        one.interruptions = rate_of(workload, choice).expected * busy
        yield one
