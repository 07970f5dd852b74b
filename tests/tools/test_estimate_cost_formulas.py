"""The formulas behind the costs, each against a second route: a seeded simulation or a direct sum."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optimizing_resources.tools.estimate_cost.arrivals import Arrival, billed, hourly
from optimizing_resources.tools.estimate_cost.bands import combine, widest
from optimizing_resources.tools.estimate_cost.interruptions import (
    Rhythm,
    best_interval_hours,
    break_even_rate,
    expect,
    odds_within,
    switch_in_time,
)
from optimizing_resources.tools.estimate_cost.option import billed_gb
from optimizing_resources.tools.estimate_cost.queueing import erlang_c, replicas_for

RUNS = 4000


def one_run(work: float, rate: float, rhythm: Rhythm, dice: random.Random) -> tuple[float, int]:
    """Wall hours and interruptions of one simulated run: work in intervals, a loss back to the last checkpoint."""
    done, wall, interruptions = 0.0, 0.0, 0
    step = rhythm.interval_hours or work
    while done < work - 1e-12:
        piece = min(step, work - done)
        needed = piece + (rhythm.write_hours if rhythm.interval_hours else 0.0)
        until = dice.expovariate(rate)
        if until >= needed:
            done, wall = done + piece, wall + needed
        else:
            wall, interruptions = wall + until + rhythm.restart_hours, interruptions + 1
    return wall, interruptions


@pytest.mark.parametrize(
    ("rate", "rhythm"),
    [
        (0.1, Rhythm(0.5, 0.0, 5 / 60)),
        (0.05, Rhythm(1.0, 0.02, 0.1)),
        (0.05, Rhythm(None, 0.0, 0.1)),
        (0.1, Rhythm(None, 0.0, 0.0)),
    ],
)
def test_expected_wall_time_agrees_with_a_simulation(rate: float, rhythm: Rhythm) -> None:
    dice = random.Random(1)
    runs = [one_run(20, rate, rhythm, dice) for _ in range(RUNS)]
    outcome = expect(20, rate, rhythm)
    assert outcome.wall_hours == pytest.approx(sum(w for w, _ in runs) / RUNS, rel=0.04)
    assert outcome.interruptions == pytest.approx(sum(n for _, n in runs) / RUNS, rel=0.04)
    for deadline in (20.5, 22, 25, 40):
        seen = sum(wall <= deadline for wall, _ in runs) / RUNS
        assert odds_within(deadline, 20, rate, rhythm) == pytest.approx(seen, abs=0.12)


def moved_run(
    deadline: float, work: float, rate: float, rhythm: Rhythm, dice: random.Random
) -> tuple[float, float]:
    """Hours on spot and on demand of one simulated run that leaves spot while one more interruption still fits."""
    interval, write = rhythm.interval_hours or work, rhythm.write_hours
    done, spot = 0.0, 0.0
    while True:
        needed = (work - done) * (1 + write / interval)
        until = dice.expovariate(rate)
        if until >= needed:
            return spot + needed, 0.0
        done += until // (interval + write) * interval
        spot += until
        left = (work - done) * (1 + write / interval) + rhythm.restart_hours
        if deadline - spot - left < rhythm.restart_hours + interval:
            assert spot + left <= deadline + write
            return spot, left
        spot += rhythm.restart_hours


@pytest.mark.parametrize(("deadline", "rate"), [(44, 0.1), (43, 0.2), (46, 0.3), (60, 0.1)])
def test_a_move_in_time_agrees_with_a_simulation(deadline: float, rate: float) -> None:
    dice, rhythm = random.Random(3), Rhythm(0.5, 0.01, 1 / 12)
    runs = [moved_run(deadline, 40, rate, rhythm, dice) for _ in range(RUNS)]
    found = switch_in_time(deadline, 40, rate, rhythm)
    assert found is not None
    for price in (0.3, 0.6):  # of spot over on demand
        seen = sum(price * spot + demand for spot, demand in runs) / RUNS
        assert price * found.spot_hours + found.on_demand_hours == pytest.approx(seen, rel=0.03)
    assert found.spot_hours + found.on_demand_hours <= deadline


def test_no_move_in_time_without_checkpoints_or_slack() -> None:
    assert switch_in_time(100, 40, 0.1, Rhythm(None, 0, 0.1)) is None
    assert switch_in_time(40.1, 40, 0.1, Rhythm(0.5, 0, 0.1)) is None


def test_many_interruptions_have_odds_too() -> None:
    rhythm = Rhythm(0.5, 0, 1 / 12)
    wall = expect(4000, 0.3, rhythm).wall_hours  # 1,333 interruptions
    assert odds_within(wall, 4000, 0.3, rhythm) == pytest.approx(0.5, abs=0.02)
    assert (
        odds_within(1.02 * wall, 4000, 0.3, rhythm) > 0.99
        and odds_within(0.98 * wall, 4000, 0.3, rhythm) < 0.01
    )


def test_the_best_interval_is_the_bottom_of_the_curve() -> None:
    best = best_interval_hours(0.05, 0.02)
    assert best == pytest.approx(math.sqrt(2 * 0.05 / 0.02))
    walls = {factor: expect(100, 0.02, Rhythm(best * factor, 0.05, 0.1)).wall_hours for factor in (0.5, 1, 2)}
    assert walls[1] < walls[0.5] and walls[1] < walls[2]


@given(st.floats(0.05, 0.99), st.floats(0.1, 2), st.floats(0, 0.5))
def test_at_the_break_even_rate_both_cost_the_same(ratio: float, interval: float, restart: float) -> None:
    rhythm = Rhythm(interval, 0.0, restart)
    rate = break_even_rate(50, ratio, rhythm)
    assert rate is not None
    assert expect(50, rate, rhythm).wall_hours * ratio == pytest.approx(50, rel=1e-6)


def test_the_share_that_waits_agrees_with_the_textbook_sum() -> None:
    for servers, load in ((1, 0.5), (4, 2.0), (10, 8.5)):
        top = load**servers / math.factorial(servers) * servers / (servers - load)
        below = sum(load**k / math.factorial(k) for k in range(servers))
        assert erlang_c(servers, load) == pytest.approx(top / (below + top))
    assert replicas_for(2.0, 0.1, 0.0, 0.5) >= 3 and replicas_for(2.0, 0.1, 1e9, 0.5) == 3


def simulated_billing(times: list[float], service: float, cold: float, idle: float) -> tuple[float, float]:
    """Seconds up and share of cold starts of one instance, by walking through the requests twice around the day."""
    up, starts, free_at, off_at = 0.0, 0, -1.0, -1.0
    for time in times:
        if time > off_at:
            starts += 1
            up += cold
            free_at = time + cold
        begin = max(time, free_at)
        up += begin - max(free_at, min(off_at - idle, begin)) if begin > free_at else 0.0
        up += service
        free_at, off_at = begin + service, begin + service + idle
    return up + starts * idle, starts / len(times)


def test_random_traffic_is_billed_as_simulated() -> None:
    dice, rate, days = random.Random(2), 300 / 86_400, 200
    times, now = [], 0.0
    while (now := now + dice.expovariate(rate)) < 86_400 * days:
        times.append(now)
    seconds, cold_share = simulated_billing(times, 2, 10, 120)
    found = billed(Arrival("poisson"), 300, 2, 10, 120)
    assert found.seconds == pytest.approx(seconds / days, rel=0.02)
    assert found.cold_share == pytest.approx(cold_share, rel=0.02)


def test_even_and_bursty_traffic_are_billed_by_their_gaps() -> None:
    even = [i * 864.0 for i in range(100)]
    assert billed(Arrival("even"), 100, 2, 60, 300).seconds == pytest.approx(
        simulated_billing(even, 2, 60, 300)[0]
    )
    bursts = [burst * 8640.0 for burst in range(10) for _ in range(50)]
    assert billed(Arrival("bursts", 10), 500, 2, 60, 300).seconds == pytest.approx(
        simulated_billing(bursts, 2, 60, 300)[0]
    )
    assert billed(Arrival("even"), 500, 2, 60, 300).seconds == 86_400


def test_an_hourly_shape_is_up_in_its_hours_and_one_idle_window_longer() -> None:
    shape = hourly([0] * 8 + [1] * 8 + [0] * 8)
    assert billed(shape, 8 * 360, 2, 60, 300).seconds == 8 * 3600 + 300
    assert billed(shape, 8 * 4500, 2, 60, 300).seconds == 3 * (8 * 3600 + 300)  # 2.5 busy at a time


@given(st.floats(1, 86_000), st.floats(0, 600), st.floats(0, 600))
def test_a_day_is_the_most_that_one_instance_is_billed(requests: float, cold: float, idle: float) -> None:
    for arrival in (Arrival("even"), Arrival("poisson"), Arrival("bursts", 7), hourly([1.0] * 24)):
        assert 0 < billed(arrival, requests, 1, cold, idle).seconds <= 86_400


def test_bands_add_in_quadrature_and_name_the_widest() -> None:
    bands = {"price": (0.85, 1.15), "utilisation": (0.5, 2.0)}
    low, high = combine(bands)
    assert 0.45 < low < 0.5 and 2.0 < high < 2.15
    assert widest(bands) == "utilisation" and widest({"price": (1.0, 1.0)}) is None


def test_memory_is_billed_as_the_platform_counts_it() -> None:
    assert billed_gb(2 * 1024**3) == billed_gb(2_000_000_000) == 2
    assert billed_gb(512 * 1024**2) == 0.5
