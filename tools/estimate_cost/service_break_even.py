"""Where one way to serve, or to work off a batch, becomes cheaper than another, by requests or items a day."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations, product

from .arrivals import DAY_SECONDS
from .crossing import Crossing, by_use
from .option import Choice, Fees, billed_gb
from .serve import handled_seconds, replicas_at
from .workload import Batch, Inference, measured_on

_STEP, _STEPS = 1.5, 12  # how far around today's requests machines are compared: a factor of 130 either way
_HALVINGS = 30
_MOST_BUSY = 300  # places; beyond it a replica more or less decides nothing


def service_crossings(workload: Inference, choices: list[Choice]) -> Iterator[Crossing]:
    """Between serverless and a machine that is on, two kinds of serverless, and two machines."""
    paid = [_Paid.of(workload, choice, choice.fees) for choice in choices if choice.fees is not None]
    on = [choice for choice in choices if choice.fees is None and choice.on_demand is not None]
    for free, machine in product(paid, on):
        yield from _with_machine(free, machine)
    for one, other in product(paid, paid):
        yield from _with_instance(one, other)
    for left, right in combinations(on, 2):
        yield from _of_machines(workload, left, right)


@dataclass(frozen=True, slots=True)
class _Paid:
    """Serverless for this workload; `per_second` while an instance is up, `per_request` for handling one."""

    name: str
    workload: Inference
    bills_idle: bool
    per_second: float
    per_request: float

    @classmethod
    def of(cls, asked: Inference, choice: Choice, fees: Fees) -> "_Paid":
        workload = _on(asked, choice)
        gb = billed_gb(choice.memory_bytes or workload.memory_bytes or 0)
        per_second = fees.per_second + gb * fees.per_gb_second
        seconds = workload.seconds_per_request
        seconds = seconds / workload.concurrency if fees.bills_idle else handled_seconds(seconds, fees)
        return cls(
            choice.name, workload, fees.bills_idle, per_second, seconds * per_second + fees.per_request
        )

    @property
    def up_usd(self) -> float:
        """Of the cold start and the idle window around one busy period."""
        seconds = (self.workload.cold_start_seconds or 0.0) + (self.workload.idle_seconds or 0.0)
        return seconds * self.per_second if self.bills_idle else 0.0


def _on(workload: Inference, choice: Choice) -> Inference:
    here = measured_on(workload, choice.measured)
    assert isinstance(here, Inference)
    return here


def _with_machine(free: _Paid, machine: Choice) -> Iterator[Crossing]:
    """The requests (or bursts) a day beyond which a machine that is always on is cheaper."""
    assert machine.on_demand is not None
    day_usd, pair, shape = 24 * machine.on_demand, (free.name, machine.name), free.workload.shape
    if free.up_usd and shape.kind == "bursts":
        size = free.workload.requests_per_day / min(shape.bursts, free.workload.requests_per_day)
        bursts = day_usd / (free.up_usd + size * free.per_request)
        yield by_use(pair, "bursts_per_day", bursts, day_usd, f"bursts of {size:g} requests each")
        return
    per_request = free.per_request + free.up_usd
    if per_request <= 0 or (free.up_usd and day_usd > DAY_SECONDS * free.per_second):
        return  # even when it is up all day it is the cheaper one
    requests = day_usd / per_request
    note = _capacity(_on(free.workload, machine), requests)
    note = f"even arrivals; {note}" if free.up_usd else note
    yield by_use(pair, "requests_per_day", requests, day_usd, note)


def _capacity(workload: Inference, requests: float) -> str:
    replicas = replicas_at(workload, requests / DAY_SECONDS)
    load = requests / DAY_SECONDS * workload.seconds_per_request / workload.concurrency
    if load > 1:
        return f"one machine cannot serve that ({load:.0%} busy), so serverless stays the cheaper one"
    if replicas == 1:
        return f"one machine serves that rate, {load:.0%} busy"
    return f"that rate needs {replicas} machines, so the true break-even is higher"


def _with_instance(function: _Paid, instance: _Paid) -> Iterator[Crossing]:
    """The requests a day beyond which an instance that is billed until it idles is cheaper than a function."""
    if function.bills_idle or not instance.bills_idle or function.per_request <= instance.per_request:
        return
    day_usd = DAY_SECONDS * instance.per_second
    if function.per_request < instance.per_request + instance.up_usd:
        note = "even arrivals; the instance then never stops"
        pair = (function.name, instance.name)
        yield by_use(pair, "requests_per_day", day_usd / function.per_request, day_usd, note)


def _of_machines(workload: Inference, left: Choice, right: Choice) -> Iterator[Crossing]:
    """Where the cheaper machine needs so many replicas that the dearer, faster one is cheaper."""
    cheap, fast = sorted((left, right), key=lambda choice: choice.on_demand or 0.0)
    costs = [_daily_usd(_on(workload, choice), choice.on_demand or 0.0) for choice in (cheap, fast)]

    def dearer(requests: float) -> bool:
        return costs[0](requests) > costs[1](requests) * (1 + 1e-9)

    slowest = max(_on(workload, choice).seconds_per_request for choice in (left, right))
    most = _MOST_BUSY * DAY_SECONDS / slowest / workload.shape.peak_ratio()
    grid = [workload.requests_per_day * _STEP**step for step in range(-_STEPS, _STEPS + 1)]
    grid = [requests for requests in grid if requests <= most]
    above = next((requests for requests in grid if dearer(requests)), None)
    if above is None or above == grid[0]:
        return
    low, high = above / _STEP, above
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if dearer(middle) else (middle, high)
    note = "beyond it one more replica makes it the dearer one"
    yield Crossing(
        (cheap.name, fast.name), "requests_per_day", low, lambda r: (costs[0](r), costs[1](r)), note
    )


def _daily_usd(workload: Inference, hourly: float) -> Callable[[float], float]:
    """By requests a day."""
    peak = workload.shape.peak_ratio() / DAY_SECONDS
    return lambda requests: 24 * hourly * replicas_at(workload, requests * peak)


def batch_crossings(workload: Batch, choices: list[Choice]) -> Iterator[Crossing]:
    """Items a day beyond which a machine that is always on is cheaper than serverless."""
    for free, machine in product(choices, choices):
        if free.fees is None or machine.fees is not None or machine.on_demand is None:
            continue
        here, there = (measured_on(workload, choice.measured) for choice in (free, machine))
        assert isinstance(here, Batch) and isinstance(there, Batch)
        gb = billed_gb(free.memory_bytes or workload.memory_bytes or 0)
        per_second = free.fees.per_second + gb * free.fees.per_gb_second
        per_item = handled_seconds(1 / here.items_per_second, free.fees) * per_second + free.fees.per_request
        if per_item <= 0:
            continue
        items = 24 * machine.on_demand / per_item
        hours = items / there.items_per_second / 3600
        can = (
            f"one machine works {hours:.3g} h for that"
            if hours <= 24
            else "more than one machine can do in a day"
        )
        pair = (free.name, f"{machine.name} always on")
        yield by_use(pair, "items_per_day", items, 24 * machine.on_demand, can)
