"""How long interruptible work takes: expected wall hours and interruptions, the best interval, a deadline's odds.

Symbols of the formulas, as in references/cost.md#spot: H work hours, T checkpoint interval, c hours one checkpoint
costs, R hours until work resumes after an interruption, L interruptions per hour of the whole job.
"""

import math
from dataclasses import dataclass

NEVER = math.inf
_EXPONENT_LIMIT = 700  # e^709 is the largest float
_NEGLIGIBLE = 1e-12  # interruptions in the whole job; below it 1/L would overflow
_MANY = 200  # interruptions, beyond which their sum is all but normal
_TERMS = 400  # of a Poisson sum up to _MANY


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How a job survives interruptions; `interval_hours` None means that it starts over each time."""

    interval_hours: float | None
    write_hours: float
    restart_hours: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """Expected values; `wall_hours` is infinite when interruptions come faster than work gets done."""

    wall_hours: float
    interruptions: float


def expect(work_hours: float, rate: float, rhythm: Rhythm) -> Outcome:
    """The expected wall time and interruptions of `work_hours` at `rate` interruptions per hour."""
    if work_hours <= 0:
        return Outcome(0.0, 0.0)
    if rhythm.interval_hours is None or rhythm.interval_hours >= work_hours:
        return _starting_over(work_hours, rate, rhythm.restart_hours)
    lost = rate * (rhythm.restart_hours + rhythm.interval_hours / 2)
    if lost >= 1:
        return Outcome(NEVER, NEVER)
    wall = work_hours * (1 + rhythm.write_hours / rhythm.interval_hours) / (1 - lost)
    return Outcome(wall, rate * wall)


def _starting_over(work_hours: float, rate: float, restart_hours: float) -> Outcome:
    """E = (e^(LH) - 1)(1/L + R): a job that must run through once without an interruption."""
    if rate * work_hours < _NEGLIGIBLE:
        return Outcome(work_hours, 0.0)
    if rate * work_hours > _EXPONENT_LIMIT:
        return Outcome(NEVER, NEVER)
    failures = math.expm1(rate * work_hours)
    return Outcome(failures * (1 / rate + restart_hours), failures)


def best_interval_hours(write_hours: float, rate: float) -> float | None:
    """T* = sqrt(2c/L), the first-order optimum (Young 1974); None when checkpoints or interruptions are free."""
    return math.sqrt(2 * write_hours / rate) if write_hours > 0 and rate > 0 else None


def odds_within(deadline_hours: float, work_hours: float, rate: float, rhythm: Rhythm) -> float:
    """The chance that the job ends within `deadline_hours`."""
    if rate * work_hours < _NEGLIGIBLE:
        return float(work_hours <= deadline_hours)
    if rhythm.interval_hours is None or rhythm.interval_hours >= work_hours:
        return _odds_starting_over(deadline_hours, work_hours, rate, rhythm.restart_hours)
    outcome = expect(work_hours, rate, rhythm)
    slack = deadline_hours - work_hours * (1 + rhythm.write_hours / rhythm.interval_hours)
    if slack < 0 or math.isinf(outcome.wall_hours):
        return 0.0
    mean = rhythm.restart_hours + rhythm.interval_hours / 2
    deviation = rhythm.interval_hours / math.sqrt(12)  # the lost work is uniform over one interval
    if outcome.interruptions > _MANY:
        spread = math.sqrt(outcome.interruptions * (mean**2 + deviation**2))
        return _normal((slack - outcome.interruptions * mean) / spread)
    weight, total = math.exp(-outcome.interruptions), 0.0
    for count in range(_TERMS):
        spread = deviation * math.sqrt(count)
        total += weight * (_normal((slack - count * mean) / spread) if spread else 1.0)
        weight *= outcome.interruptions / (count + 1)
        if weight < _NEGLIGIBLE and count > outcome.interruptions:
            break
    return min(total, 1.0)


def _odds_starting_over(deadline_hours: float, work_hours: float, rate: float, restart_hours: float) -> float:
    """A point mass at no interruption, then an exponential tail of the same mean."""
    slack = deadline_hours - work_hours
    if slack < 0 or rate * work_hours > _EXPONENT_LIMIT:
        return 0.0
    clean = math.exp(-rate * work_hours)
    extra = expect(work_hours, rate, Rhythm(None, 0, restart_hours)).wall_hours - work_hours
    return clean + (1 - clean) * -math.expm1(-slack * (1 - clean) / extra) if extra > 0 else 1.0


def _normal(z: float) -> float:
    return 0.5 * math.erfc(-z / math.sqrt(2))


@dataclass(frozen=True, slots=True)
class Switched:
    """A run that leaves spot in time: expected hours on spot, on demand and in all, and interruptions on spot."""

    spot_hours: float
    on_demand_hours: float
    interruptions: float
    switch_probability: float


def switch_in_time(deadline_hours: float, work_hours: float, rate: float, rhythm: Rhythm) -> Switched | None:
    """On spot while the slack covers one more interruption, then on demand: in time by construction.

    An interruption takes at most restart + interval from the slack, so the run moves at the first one after which less
    than that is left. With Q(n) the chance of n interruptions in the work and F(n) that n of them fit the slack, the
    work left at interruption n is H Q(n) - n/L Q(n + 1). None without checkpoints or where the slack is too short.
    """
    interval, restart = rhythm.interval_hours, rhythm.restart_hours
    if interval is None or interval >= work_hours:
        return None
    hours = work_hours * (1 + rhythm.write_hours / interval)
    mean, slack = restart + interval / 2, deadline_hours - hours - restart - interval
    if slack < 0 or rate <= 0 or rate * mean >= 1:
        return None
    each = rate / (1 - rate * mean)  # interruptions in an hour of progress
    if each * hours > _MANY:
        return None
    at_least, term = 1.0, math.exp(-each * hours)
    fits, left, interruptions, switched = 1.0, 0.0, 0.0, 0.0
    for count in range(1, _TERMS):
        at_least = max(0.0, at_least - term)  # Q(count)
        term *= each * hours / count  # the chance of exactly `count`
        interruptions += fits * at_least
        fits_still = _normal((slack - count * mean) / (interval * math.sqrt(count / 12)))
        moves = fits - fits_still
        left += moves * max(0.0, hours * at_least - count / each * max(0.0, at_least - term))
        switched += moves * at_least
        fits = fits_still
        if fits * at_least < _NEGLIGIBLE:
            break
    back = switched * restart  # the last restart is on demand
    return Switched(hours - left + interruptions * mean - back, left + back, interruptions, switched)


def break_even_rate(work_hours: float, price_ratio: float, rhythm: Rhythm) -> float | None:
    """The interruption rate at which spot (`price_ratio` times the on-demand price) stops paying.

    None when it does not pay even without interruptions.
    """
    if expect(work_hours, 0, rhythm).wall_hours * price_ratio >= work_hours:
        return None
    low, high = 0.0, 1e-3
    while expect(work_hours, high, rhythm).wall_hours * price_ratio < work_hours:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        pays = expect(work_hours, middle, rhythm).wall_hours * price_ratio < work_hours
        low, high = (middle, high) if pays else (low, middle)
    return low
