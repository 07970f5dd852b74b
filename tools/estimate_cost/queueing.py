"""How many replicas keep waiting short: the M/M/c queue (Erlang C)."""

import math

MOST_REPLICAS = 10_000


def erlang_c(servers: int, load: float) -> float:
    """The share of requests that wait at all; `load` is arrival rate x service time, in servers."""
    if load >= servers:
        return 1.0
    blocked = 1.0  # Erlang B by its recursion, which does not overflow
    for n in range(1, servers + 1):
        blocked = load * blocked / (n + load * blocked)
    return blocked / (1 - load / servers * (1 - blocked))


def share_waiting_longer(servers: int, load: float, service_seconds: float, wait_seconds: float) -> float:
    """P(wait > t) = C(c, a) e^(-(c - a) t / s)."""
    if load >= servers:
        return 1.0
    return erlang_c(servers, load) * math.exp(-(servers - load) * wait_seconds / service_seconds)


def replicas_for(load: float, service_seconds: float, wait_seconds: float, percentile: float) -> int:
    """The fewest replicas at which `percentile` of the requests wait at most `wait_seconds`."""
    servers = max(1, math.floor(load) + 1)  # below this the queue grows without end
    while share_waiting_longer(servers, load, service_seconds, wait_seconds) > 1 - percentile:
        servers += 1
    return servers
