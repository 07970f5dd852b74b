"""One way to get the work done, and what it would miss."""

import math
from dataclasses import dataclass, field
from typing import Any, Literal

from .bands import Band, combine
from .option import Choice, Constraints, Fees, billed_gb

# What fits a card: the rest goes to the driver, the context and fragmentation (references/cost.md#memory).
USABLE_SHARE = 0.92

Purchase = Literal["on_demand", "spot", "spot_then_on_demand", "committed", "serverless", "own", "as_it_runs"]
Why = Literal["memory", "deadline", "budget", "spot", "capacity", "latency", "speed"]


@dataclass(frozen=True, slots=True)
class Miss:
    """A plan that does not do, by how much it misses, and in which unit."""

    name: str
    reason: Why
    why: str
    misses_by: float | None = None
    unit: str | None = None
    from_catalog: bool = False


@dataclass(slots=True, eq=False)
class Candidate:
    """A plan before it is compared. `usd` is for the job, or for the workload's days."""

    choice: Choice
    purchase: Purchase
    mode: str  # what sets it apart from other plans of the same option: "spot", "always on"
    usd: float
    usd_per_hour: float
    machines: int = 1
    wall_hours: float | None = None
    work_hours: float | None = None  # of one run, without interruptions
    interruptions: float | None = None
    same_machine_usd: float | None = None
    bands: dict[str, Band] = field(default_factory=dict)
    busy_hours: float = 0.0  # machine hours at work, for energy
    extras: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    name: str = ""

    @property
    def saving_ratio(self) -> float | None:
        """Against the same machine on demand."""
        return None if not self.same_machine_usd else round(1 - self.usd / self.same_machine_usd, 12)

    def range_usd(self) -> Band:
        low, high = combine(self.bands)
        return self.usd * low, self.usd * high


def name_all(candidates: list[Candidate]) -> None:
    """An option with one plan gives it its own name; of several, each says how it differs."""
    by_choice: dict[int, int] = {}
    for one in candidates:
        by_choice[id(one.choice)] = by_choice.get(id(one.choice), 0) + 1
    for one in candidates:
        alone = by_choice[id(one.choice)] == 1 and one.choice.as_of is None
        one.name = one.choice.name if alone else f"{one.choice.name} {one.mode}"


def memory_miss(choice: Choice, wanted: float | None) -> Miss | None:
    """Whether the card (or, for CPU work, the machine) is too small."""
    if wanted is None or choice.memory_bytes is None:
        return None
    usable = choice.memory_bytes * USABLE_SHARE
    if wanted <= usable:
        return None
    return Miss(
        choice.name,
        "memory",
        f"needs {wanted / 2**30:.2f} GiB, {choice.name} offers {usable / 2**30:.2f} GiB "
        f"({USABLE_SHARE:.0%} of {choice.memory_bytes / 2**30:.1f})",
        math.ceil(wanted - usable),
        "bytes",
    )


def serverless_hourly(choice: Choice, fees: Fees, memory_bytes: float | None) -> float | Miss:
    """Dollars for an hour at work of what bills by time, for work that is known by its hours, not by its requests."""
    gb = billed_gb(choice.memory_bytes or memory_bytes or 0)
    if fees.per_gb_second and not gb:
        return Miss(choice.name, "memory", "billed by memory, and memory_bytes is not given")
    hourly = 3600 * (fees.per_second + gb * fees.per_gb_second)
    if hourly:
        return hourly
    why = "billed by the request alone: ask with kind inference, requests_per_day and seconds_per_request"
    return Miss(choice.name, "capacity", why)


def deadline_miss(one: Candidate, constraints: Constraints) -> Miss | None:
    if constraints.deadline_hours is None or one.wall_hours is None:
        return None
    over = one.wall_hours - constraints.deadline_hours
    if over <= 1e-9 * constraints.deadline_hours:
        return None
    return Miss(
        one.name,
        "deadline",
        f"takes {one.wall_hours:.4g} h, {over:.4g} h past the deadline of {constraints.deadline_hours:g} h",
        over,
        "hours",
        one.choice.as_of is not None,
    )


def budget_miss(one: Candidate, constraints: Constraints) -> Miss | None:
    if constraints.budget_usd is None or one.usd <= constraints.budget_usd * (1 + 1e-9):
        return None
    over = one.usd - constraints.budget_usd
    share = constraints.budget_usd / one.usd
    return Miss(
        one.name,
        "budget",
        f"costs {one.usd:.2f} USD, {over:.2f} over; {constraints.budget_usd:g} USD pays for {share:.0%} of it",
        over,
        "usd",
        one.choice.as_of is not None,
    )
