"""When requests come, and what that means for something that bills from start to idle end.

A server that scales to zero is billed for each busy period: cold start + busy time + idle window. It is the shape of
the traffic, not its volume, that decides how many such periods a day has.
"""

import math
import re
from dataclasses import dataclass
from typing import Literal

DAY_SECONDS = 86_400
HOUR_SECONDS = 3_600
_NEVER = 1e-12  # stops, of all idle times
ASSUMED_BURSTS = 10  # when a caller says "bursts" without a number; the Report says so


@dataclass(frozen=True, slots=True)
class Arrival:
    """The shape of a day's traffic. `hourly` holds 24 shares that add up to 1."""

    kind: Literal["even", "bursts", "poisson", "hourly"]
    bursts: float = 0  # 0: not said how many
    size: float = 0  # requests in a burst; 0: not said
    hourly: tuple[float, ...] = ()

    def peak_ratio(self) -> float:
        """The busiest hour's rate over the day's mean."""
        return max(self.hourly) * 24 if self.kind == "hourly" else 1.0


@dataclass(frozen=True, slots=True)
class Billed:
    """Instance seconds a day, and the share of requests that meet a cold start."""

    seconds: float
    cold_share: float


def read_arrival(text: str) -> Arrival:
    """'even', 'poisson', 'bursts', or such as '10 bursts' and '10 bursts of 50'."""
    word = text.strip().casefold()
    if word in ("even", "poisson"):
        return Arrival("even" if word == "even" else "poisson")
    if found := re.fullmatch(r"(?:(\d+(?:\.\d+)?) )?bursts?(?: of (\d+))?(?: (?:a|per) day)?", word):
        return Arrival("bursts", float(found[1] or 0), float(found[2] or 0))
    raise ValueError(f"no such arrival {text!r}: even, poisson, bursts, '10 bursts', or 24 hourly weights")


def hourly(weights: list[float]) -> Arrival:
    """From 24 weights, one for each hour of the day."""
    total = sum(weights)
    if len(weights) != 24 or not 0 < total < math.inf or min(weights) < 0:
        raise ValueError("an hourly shape is 24 weights, none negative, not all zero")
    return Arrival("hourly", hourly=tuple(weight / total for weight in weights))


def billed(
    arrival: Arrival, requests: float, service_seconds: float, cold_seconds: float, idle_seconds: float
) -> Billed:
    """What one instance that scales to zero is billed for a day of `requests`; in an hourly shape, several.

    Never more than the day itself: when the gaps are shorter than the idle window it does not stop at all.
    """
    if requests == 0:
        return Billed(0.0, 0.0)
    each = cold_seconds + service_seconds + idle_seconds
    if arrival.kind == "even":
        stops = DAY_SECONDS / requests > service_seconds + idle_seconds
        return Billed(min(DAY_SECONDS, requests * each), float(stops and cold_seconds + idle_seconds > 0))
    if arrival.kind == "poisson":
        return _poisson(requests, service_seconds, cold_seconds, idle_seconds)
    if arrival.kind == "bursts":
        bursts = min(arrival.bursts, requests)
        period = cold_seconds + requests / bursts * service_seconds + idle_seconds
        stops = DAY_SECONDS / bursts > period
        return Billed(min(DAY_SECONDS, bursts * period), bursts / requests if stops else 0.0)
    return _hourly(arrival.hourly, requests, service_seconds, cold_seconds, idle_seconds)


def _poisson(requests: float, service: float, cold: float, idle: float) -> Billed:
    """One server with a start and an idle timer (M/G/1 with setup), by renewal from one start to the next.

    Once it is empty it stops with q = e^(-l i), since the time to the next request is exponential whatever was before.
    So a cycle has 1/q idle times, in all (1 - q) / (q l) long, and (l cold + 1/q) / (1 - load) requests.
    """
    rate = requests / DAY_SECONDS
    load = rate * service
    stops = math.exp(-rate * idle)
    if load >= 1 or stops < _NEVER:
        return Billed(DAY_SECONDS, 0.0)
    starts = requests * (1 - load) / (rate * cold + 1 / stops)
    seconds = requests * service + starts * (cold + (1 - stops) / (stops * rate))
    return Billed(min(DAY_SECONDS, seconds), starts / requests)


def _hourly(shares: tuple[float, ...], requests: float, service: float, cold: float, idle: float) -> Billed:
    """Even within each hour, on as many instances as it needs; hours that never stop leave one idle window each."""
    each = cold + service + idle
    counts = [share * requests for share in shares]
    instances = [max(1, math.ceil(count * service / HOUR_SECONDS - 1e-9)) for count in counts]
    full = [count * each >= HOUR_SECONDS * n for count, n in zip(counts, instances, strict=True)]
    up = [min(HOUR_SECONDS * n, count * each) for count, n in zip(counts, instances, strict=True)]
    tails = sum(n for i, n in enumerate(instances) if full[i] and not full[(i + 1) % 24])
    starts = sum(count for count, always in zip(counts, full, strict=True) if not always) + tails
    return Billed(min(DAY_SECONDS * max(instances), sum(up) + tails * idle), min(1.0, starts / requests))
