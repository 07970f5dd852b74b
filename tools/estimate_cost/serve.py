"""Plans for a service: always on, autoscaled by the hour, on spot, committed, or serverless."""

import functools
import math
from collections.abc import Iterator
from datetime import date

from .arrivals import DAY_SECONDS, Billed, billed
from .bands import Band, price_band
from .candidate import Candidate, Miss, Purchase, memory_miss
from .option import Choice, Constraints, Fees, billed_gb
from .queueing import MOST_REPLICAS, replicas_for
from .rates import rate_of
from .workload import Inference

ASSUMED_UTILIZATION = 0.8  # of a replica at the busiest hour, where no latency target decides
MONTH_DAYS = 30  # the free tiers' month; 720 h

# Free each month on AWS Lambda, and the same on Azure Functions' consumption plan.
# Source: docs.aws.amazon.com/whitepapers/latest/how-aws-pricing-works/lambda.html, read 2026-11-25.
FREE_GB_SECONDS = 400_000
FREE_REQUESTS = 1_000_000


def inference_plans(
    workload: Inference, choice: Choice, constraints: Constraints, today: date
) -> Iterator[Candidate | Miss]:
    """Every plan for one option; the budget is looked at later."""
    if workload.latency_seconds is not None and workload.seconds_per_request > workload.latency_seconds:
        over = workload.seconds_per_request - workload.latency_seconds
        why = f"one request takes {workload.seconds_per_request:g} s, {over:g} s over the target, before any waiting"
        yield Miss(choice.name, "latency", why, over, "seconds")
    elif choice.fees is not None:
        yield _serverless(workload, choice, choice.fees, today)
    elif miss := memory_miss(choice, workload.memory_bytes):
        yield miss
    else:
        yield from _machines(workload, choice, constraints, today)


def replicas_at(workload: Inference, requests_per_second: float) -> int:
    """Replicas for this rate: by the latency target (Erlang C), else by the target utilisation."""
    load = requests_per_second * workload.seconds_per_request  # places busy on average
    if workload.latency_seconds is None:
        share = workload.target_utilization or ASSUMED_UTILIZATION
        return max(1, math.ceil(load / workload.concurrency / share - 1e-9))
    wait = workload.latency_seconds - workload.seconds_per_request
    if load > MOST_REPLICAS:
        return math.ceil(load / workload.concurrency)
    places = replicas_for(load, workload.seconds_per_request, wait, workload.latency_percentile)
    return math.ceil(places / workload.concurrency)


def mean_rate(workload: Inference) -> float:
    return workload.requests_per_day / DAY_SECONDS


def _machines(
    workload: Inference, choice: Choice, constraints: Constraints, today: date
) -> Iterator[Candidate | Miss]:
    replicas = _replicas(workload)
    if short := max(0, replicas - constraints.max_machines):
        why = f"needs {replicas} replicas, {short} over max_machines"
        yield Miss(choice.name, "capacity", why, short, "machines")
        return
    plan = functools.partial(_kept_on, workload, choice, replicas, price_band(choice.as_of, today))
    hours = 24 * workload.days * replicas
    if choice.on_demand is not None and constraints.spot != "require":
        yield plan("own" if choice.kind == "own" else "on_demand", "always on", choice.on_demand, hours)
        scaled = sum(_hourly_replicas(workload)) * workload.days
        if 0 < scaled < hours:
            yield plan("on_demand", "autoscaled by the hour", choice.on_demand, scaled)
        for label, price in choice.commits:
            yield plan("committed", f"always on, {label}", price, hours)
    if choice.spot is not None and constraints.spot != "forbid":
        one = plan("spot", "always on, spot", choice.spot, hours)
        one.bands = {"price": price_band(choice.spot_as_of, today, derived=choice.spot_method == "derived")}
        one.interruptions = rate_of(workload, choice).expected * hours
        one.notes.append("each interruption is a gap in the service: keep a replica on demand beside it")
        yield one
    elif choice.spot is None and constraints.spot == "require":
        yield Miss(choice.name, "spot", f"no spot price is held for {choice.name}")


def _kept_on(
    workload: Inference, choice: Choice, replicas: int, band: Band, purchase: Purchase, mode: str, price: float,
    hours: float,
) -> Candidate:  # fmt: skip
    """Replicas that are paid for `hours` machine hours, whether requests come or not."""
    load = mean_rate(workload) * workload.seconds_per_request / workload.concurrency
    all_day = 24 * workload.days
    return Candidate(
        choice=choice,
        purchase=purchase,
        mode=mode,
        usd=price * hours,
        usd_per_hour=price,
        machines=replicas,
        same_machine_usd=None if choice.on_demand is None else choice.on_demand * replicas * all_day,
        bands={"price": band},
        busy_hours=load * all_day,
        extras={"replicas": replicas, "utilization": load / replicas},
        notes=_waiting(workload),
    )


def _replicas(workload: Inference) -> int:
    """For the busiest hour, and for a burst that is to be worked off within the latency target."""
    shape = workload.shape
    steady = replicas_at(
        workload, workload.peak_requests_per_second or mean_rate(workload) * shape.peak_ratio()
    )
    if shape.kind != "bursts" or workload.latency_seconds is None:
        return steady
    seconds = _burst(workload) * workload.seconds_per_request / workload.concurrency
    return max(steady, math.ceil(seconds / workload.latency_seconds))


def _burst(workload: Inference) -> float:
    """Requests in one burst."""
    return workload.requests_per_day / min(workload.shape.bursts, workload.requests_per_day)


def _waiting(workload: Inference) -> list[str]:
    if workload.shape.kind != "bursts" or workload.latency_seconds is not None:
        return []
    size = _burst(workload)
    seconds = size * workload.seconds_per_request / workload.concurrency
    return [f"the last of a burst of {size:g} is served after {seconds:g} s on one replica"]


def _hourly_replicas(workload: Inference) -> list[int]:
    """Replicas in each hour of the day, where the day has a shape; none in an hour without requests."""
    rates = [share * workload.requests_per_day / 3600 for share in workload.shape.hourly]
    return [replicas_at(workload, rate) if rate else 0 for rate in rates]


def _serverless(workload: Inference, choice: Choice, fees: Fees, today: date) -> Candidate | Miss:
    """Billed by the request, or from start to idle end."""
    requests = workload.requests_per_day
    if fees.bills_idle:
        used = instance_seconds(workload)
    else:
        used = Billed(requests * handled_seconds(workload.seconds_per_request, fees), 0.0)
    cold = workload.cold_start_seconds or 0.0
    if (
        workload.latency_seconds is not None
        and used.cold_share > 1 - workload.latency_percentile
        and (over := cold + workload.seconds_per_request - workload.latency_seconds) > 0
    ):
        why = (
            f"{used.cold_share:.0%} of the requests wait {cold:g} s for a cold start, past the latency target"
        )
        return Miss(choice.name, "latency", why, over, "seconds")
    gb = billed_gb(choice.memory_bytes or workload.memory_bytes or 0)
    if fees.per_gb_second and not gb:
        return Miss(choice.name, "memory", "billed by memory, and memory_bytes is not given")
    per_day = used.seconds * (fees.per_second + gb * fees.per_gb_second) + requests * fees.per_request
    one = Candidate(
        choice=choice,
        purchase="serverless",
        mode="scale to zero" if fees.bills_idle else "serverless",
        usd=per_day * workload.days,
        usd_per_hour=3600 * (fees.per_second + gb * fees.per_gb_second),
        bands={"price": price_band(choice.as_of, today)},
        busy_hours=used.seconds / 3600 * workload.days,
        extras={"billed_seconds_per_day": used.seconds, "cold_start_share": used.cold_share},
    )
    if not fees.bills_idle:
        _free_tier(one, requests, used.seconds * gb, fees, workload.days)
    elif workload.cold_start_seconds is None and workload.idle_seconds is None:
        one.notes.append("no cold start and no idle window given: most platforms bill both")
    return one


def instance_seconds(workload: Inference) -> Billed:
    """Seconds a day that instances are up, over as many as the load needs."""
    load = mean_rate(workload) * workload.seconds_per_request / workload.concurrency
    alone = workload.shape.kind == "hourly"  # which counts the instances of each hour itself
    instances = 1 if alone else max(1, math.ceil(load - 1e-9))
    per_instance = workload.requests_per_day / instances
    one = billed(
        workload.shape,
        per_instance,
        workload.seconds_per_request / workload.concurrency,
        workload.cold_start_seconds or 0.0,
        workload.idle_seconds or 0.0,
    )
    return Billed(one.seconds * instances, one.cold_share)


def handled_seconds(seconds: float, fees: Fees) -> float:
    """One request's seconds as they are billed, rounded up to the platform's unit."""
    return math.ceil(seconds / fees.min_seconds - 1e-9) * fees.min_seconds if fees.min_seconds else seconds


def _free_tier(one: Candidate, requests: float, gb_seconds: float, fees: Fees, days: float) -> None:
    """What the bill would be with the month's free tier; taken off only when the option says so."""
    free_gb = FREE_GB_SECONDS if fees.free_gb_seconds is None else fees.free_gb_seconds
    free_requests = FREE_REQUESTS if fees.free_requests is None else fees.free_requests
    paid_gb = max(0.0, gb_seconds * MONTH_DAYS - free_gb)
    paid_requests = max(0.0, requests * MONTH_DAYS - free_requests)
    month = paid_gb * fees.per_gb_second + paid_requests * fees.per_request
    one.extras["with_free_tier_usd"] = month / MONTH_DAYS * days
    if fees.apply_free_tier:
        one.usd = month / MONTH_DAYS * days
        one.notes.append(f"free tier applied: {free_gb:g} GB-s and {free_requests:g} requests a month")
