"""Worked cases: the expected figures are done by hand, with the prices frozen in the request."""

from collections.abc import Iterator
from typing import Any

import pytest
from cost_questions import CHECKPOINT, G5, T4, ask, costs, near, training
from optimizing_resources.tools._core.contract import CALL, Call
from optimizing_resources.tools._core.workspace import Workspace


@pytest.fixture(autouse=True, scope="module")
def _workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    token = CALL.set(Call(Workspace.of_the_caller(tmp_path_factory.mktemp("cost"))))
    yield
    CALL.reset(token)


def test_a_checkpointed_run_on_spot_pays_for_its_interruptions() -> None:
    report = ask(training(hours=40, gpus=1, checkpoint=CHECKPOINT, interruptions_per_hour=0.1), [G5])
    spot, on_demand = report.plans
    assert report.decision == spot.name == "g5.xlarge spot"
    assert spot.expected_usd == near(17.068966)
    assert spot.wall_seconds == near(41.37931 * 3600)
    assert spot.expected_interruptions == near(4.137931)
    assert spot.saving_ratio == near(0.57582)
    assert on_demand.expected_usd == near(40.24)
    assert not spot.tie and not on_demand.tie


def test_a_run_that_starts_over_is_cheaper_on_demand() -> None:
    report = ask(training(hours=20, checkpoint=None, restart_seconds=0, interruptions_per_hour=0.1), [G5])
    assert report.decision == "g5.xlarge on-demand"
    assert costs(report)["g5.xlarge spot"] == near(0.4125 * (2.718281828**2 - 1) / 0.1)
    assert "checkpoint" in report.what_if[0].change and report.what_if[0].usd < 20.12


def test_few_short_requests_are_cheapest_serverless() -> None:
    paid = {
        "name": "function",
        "kind": "serverless",
        "usd_per_gb_second": 1.66667e-5,
        "usd_per_million_requests": 0.2,
    }
    work = {
        "kind": "inference",
        "requests_per_day": 10_000,
        "seconds_per_request": 0.2,
        "memory_bytes": 2 * 1024**3,
    }
    report = ask(work, [paid, {"name": "c7i.large", "usd_per_hour": 0.08925}])
    assert costs(report) == {"function": near(2.060004), "c7i.large": near(64.26)}
    assert report.decision == "function" and report.plans[0].with_free_tier_usd == 0
    (crossing,) = report.break_even
    assert crossing.value == near(24 * 0.08925 / (0.2 * 2 * 1.66667e-5 + 0.2e-6))
    decimal = ask({**work, "memory_bytes": 2_000_000_000}, [paid])
    assert costs(decimal)["function"] == near(2.060004)


def test_a_nightly_batch_is_cheapest_on_spot() -> None:
    function = {"name": "gpu function", "kind": "serverless", "usd_per_gpu_second": 0.000164}
    checkpoint = {"interval_seconds": 600, "restart_seconds": 300}
    work = {"kind": "batch", "items_per_day": 1e6, "items_per_second": 50, "interruptions_per_hour": 0.2}
    report = ask({**work, "checkpoint": checkpoint}, [T4, function])
    assert costs(report) == {
        "g4dn.xlarge spot batch": near(1.088506),
        "g4dn.xlarge on-demand batch": near(2.922222),
        "gpu function": near(3.28),
        "g4dn.xlarge always on": near(12.624),
    }


TEN_BURSTS = [
    {"arrival": "10 bursts of 50"},
    {"arrival": "bursts", "bursts_per_day": 10},
    {"arrival": {"bursts": 10}},
    {"arrival": "bursts", "requests_per_burst": 50},
]


@pytest.mark.parametrize("bursts", TEN_BURSTS)
def test_scale_to_zero_pays_in_bursts(bursts: dict[str, Any]) -> None:
    report = ask({**SPORADIC, **bursts}, IDLE_OPTIONS)
    assert report.decision == "scale_to_zero"
    assert report.plans[0].usd_per_day == near(1.0212)
    assert report.plans[0].usd_per_month == near(30.636)


def test_even_traffic_keeps_the_instance_up_and_the_tie_goes_to_the_calm_plan() -> None:
    report = ask({**SPORADIC, "arrival": "even"}, IDLE_OPTIONS)
    assert [(plan.name, plan.usd_per_day, plan.tie) for plan in report.plans] == [
        ("scale_to_zero", near(19.1808), True),
        ("always_on", near(19.3152), True),
    ]
    assert report.decision == "always_on"
    assert "idle window" in report.what_if[0].change


SPORADIC = {"kind": "inference", "requests_per_day": 500, "seconds_per_request": 2, "cold_start_seconds": 60,
            "idle_seconds": 300}  # fmt: skip
IDLE_OPTIONS = [
    {"name": "scale_to_zero", "kind": "serverless", "usd_per_second": 0.000222},
    {"name": "always_on", "usd_per_hour": 0.8048},
]


def test_several_machines_on_spot_are_interrupted_together() -> None:
    work = training(
        hours=20,
        gpus=4,
        checkpoint={"interval_seconds": 1800, "restart_seconds": 720},
        interruptions_per_hour=0.02,
    )
    spot = ask(work, [{**G5, "usd_per_hour": 1.0, "spot_usd_per_hour": 0.4}]).plans[0]
    wall = 20 / (1 - 4 * 0.02 * (0.2 + 0.25))
    assert (spot.machines, spot.expected_usd) == (4, near(4 * 0.4 * wall))
    assert spot.expected_interruptions == near(4 * 0.02 * wall)


def test_without_an_interval_the_best_one_is_taken() -> None:
    work = training(
        hours=100, checkpoint={"write_seconds": 180, "restart_seconds": 300}, interruptions_per_hour=0.04
    )
    spot = ask(work, [G5]).plans[0]
    interval = (2 * 0.05 / 0.04) ** 0.5
    assert spot.best_checkpoint_seconds == near(3600 * interval)
    assert spot.expected_usd == near(
        0.4125 * 100 * (1 + 0.05 / interval) / (1 - 0.04 * (1 / 12 + interval / 2))
    )


def test_a_function_is_billed_in_its_units_and_its_free_tier_is_shown_apart() -> None:
    work = {"kind": "inference", "requests_per_day": 1e5, "seconds_per_request": 0.13, "memory_bytes": 2**30}
    paid = {"name": "function", "kind": "serverless", "usd_per_gb_second": 1.6e-5, "usd_per_million_requests": 0.2,
            "min_seconds": 0.1}  # fmt: skip
    plan = ask(work, [paid]).plans[0]
    assert plan.expected_usd == near(3e6 * (0.2 * 1.6e-5 + 0.2e-6))
    assert plan.with_free_tier_usd == near((6e5 - 4e5) * 1.6e-5 + 2e6 * 0.2e-6)


def test_sparse_even_traffic_pays_a_start_and_an_idle_window_each_time() -> None:
    work = {
        **SPORADIC,
        "requests_per_day": 48,
        "seconds_per_request": 5,
        "cold_start_seconds": 40,
        "idle_seconds": 120,
    }
    plan = ask(work, IDLE_OPTIONS).plans[0]
    assert plan.usd_per_day == near(48 * 165 * 0.000222) and plan.cold_start_share == 1


def test_each_hour_has_its_own_replicas() -> None:
    weights = [0] * 8 + [10] * 10 + [2] * 6
    work = {"kind": "inference", "requests_per_day": 500_000, "seconds_per_request": 0.4, "arrival": weights}
    rates = [500_000 * weight / 112 / 3600 for weight in weights]
    busy = [-(-rate * 0.4 // 0.8) for rate in rates]  # rounded up
    found = costs(ask(work, [{"name": "L4", "usd_per_hour": 1.2}]))
    assert found == {
        "L4 autoscaled by the hour": near(36 * sum(busy)),
        "L4 always on": near(36 * 24 * max(busy)),
    }


def test_a_batch_on_spot_takes_the_machines_its_deadline_asks_for() -> None:
    work = {"kind": "batch", "items_per_day": 5e6, "items_per_second": 40, "interruptions_per_hour": 0.1,
            "checkpoint": {"interval_seconds": 900, "restart_seconds": 360}}  # fmt: skip
    spot = ask(work, [{"name": "m", "usd_per_hour": 1, "spot_usd_per_hour": 0.35}], deadline_hours=7.1).plans[
        0
    ]
    wall = 5e6 / 40 / 3600 / (1 - 0.1 * (0.1 + 0.125))  # 35.5 h: five machines take 7.104 h each
    assert (spot.machines, spot.expected_usd) == (6, near(0.35 * wall))


def test_a_bill_that_runs_is_cut_by_the_clock_too() -> None:
    work = {
        "kind": "running",
        "usd_per_hour": 2,
        "busy_hours_per_day": 8,
        "busy_days_per_week": 5,
        "days": 28,
    }
    assert costs(ask(work)) == {
        "this machine stopped when idle": near(2 * 8 * 20),
        "this machine off at night and weekends, on 12 h on 5 days": near(2 * 12 * 20),
        "this machine off at night, on 12 h a day": near(2 * 12 * 28),
        "this machine off at weekends": near(2 * 24 * 20),
        "this machine as it runs now": near(2 * 24 * 28),
    }


def test_an_oversized_card_is_replaced_by_one_that_fits_and_keeps_up() -> None:
    work = {"kind": "running", "usd_per_hour": 3.67, "busy_hours_per_day": 6, "accelerator": "A100-40GB",
            "memory_bytes": 6e9, "gpu_utilization": 0.3}  # fmt: skip
    report = ask(work, spot="forbid")
    plan = report.plans[0]
    assert plan.remedy == "right_size" and plan.basis == "assumed" and plan.accelerator in ("T4", "T4g", "L4")
    assert ask({**work, "busy_hours_per_day": 20}, spot="forbid").plans[0].accelerator not in ("T4", "T4g")
    assert "memory_bytes" in " ".join(ask({**work, "memory_bytes": None}).assumptions)
    unasked = ask(work)  # nothing says that what runs may be interrupted
    assert unasked.decision == report.decision and unasked.plans[0].purchase == "spot"


def test_a_faster_machine_pays_beyond_the_rate_where_the_cheap_one_needs_another() -> None:
    options = [
        {"name": "T4", "usd_per_hour": 0.5, "seconds_per_request": 0.4},
        {"name": "L4", "usd_per_hour": 0.8, "seconds_per_request": 0.1},
    ]
    report = ask({"kind": "inference", "requests_per_day": 50_000, "seconds_per_request": 1}, options)
    (crossing,) = report.break_even
    assert report.decision == "T4" and crossing.between == ["T4", "L4"]
    assert crossing.value == near(0.8 * 86_400 / 0.4)


def test_spot_that_may_be_late_is_offered_with_a_move_in_time() -> None:
    work = training(
        hours=40, checkpoint=CHECKPOINT, interruptions_per_hour=0.3
    )  # 40 / (1 - 0.1) = 44.4 h on spot
    plans = {plan.purchase: plan for plan in ask(work, [G5], deadline_hours=46, spot="allow").plans}
    moved = plans["spot_then_on_demand"]
    assert plans["spot"].expected_usd < moved.expected_usd < plans["on_demand"].expected_usd
    assert moved.deadline_probability == 1 > (plans["spot"].deadline_probability or 1)
    assert not any(plan.tie for plan in ask(work, [G5], deadline_hours=47.3, spot="allow").plans)
    late = ask(work, [G5], deadline_hours=43, spot="allow")
    assert late.decision == "g5.xlarge on-demand" and "watch the clock" in late.decision_why
    unasked = ask(work, [G5], deadline_hours=43)
    assert [plan.purchase for plan in unasked.plans] == ["on_demand"]
    assert (
        "moved in time" in unasked.what_if[0].change and unasked.what_if[0].usd == late.plans[0].expected_usd
    )
    risky = ask(work, [G5], deadline_hours=44.6)
    assert "only; g5.xlarge moved in time" in risky.warnings[-1] and "is surer" in risky.warnings[-1]


def test_what_an_easier_requirement_would_save_is_said() -> None:
    options = [
        {"name": "T4", "usd_per_hour": 0.5, "accelerator": "T4"},
        {"name": "L4", "usd_per_hour": 0.8, "accelerator": "L4"},
    ]
    strict = ask(training(hours=10, precision="bf16"), options)
    assert strict.decision == "L4" and "T4 has no bf16" in strict.infeasible[0].why
    assert "fp16" in strict.what_if[0].change and strict.what_if[0].usd == near(5)
    assert "loss scaler" in ask(training(hours=10), options).plans[0].notes[0]
    large = ask(training(hours=10, memory_bytes=17e9), options)
    assert (
        large.decision == "L4" and "14.7 GiB" in large.what_if[0].change and large.what_if[0].usd == near(5)
    )


def test_what_a_budget_buys_is_compared_by_the_work_and_not_by_the_hour() -> None:
    plans = ask(training(), spot="forbid", budget_usd=50).plans
    per_work = [plan.usd_per_useful_exaflop for plan in plans if plan.usd_per_useful_exaflop]
    assert per_work and per_work == sorted(per_work)
    hourly = [plan.prices[0].usd for plan in plans]
    assert plans[0].affordable_hours == near(50 / hourly[0]) and min(hourly) <= hourly[0]


def test_a_search_leaves_out_shares_of_cores_and_warns_of_arm() -> None:
    work = {"kind": "batch", "items_per_day": 1e6, "items_per_second": 50}
    names = {plan.machine or "" for plan in ask(work, providers=["aws"]).plans}
    assert names and not any(name.startswith(("t3", "t4g")) for name in names)
    assert "arm64" in ask(training(hours=1), [{"name": "g5g.xlarge"}]).warnings[-1]


def test_co2_follows_the_region() -> None:
    clean, plain = (
        ask(training(hours=10), [{"name": "g2-standard-4"}], regions=[region], spot="forbid").plans[0]
        for region in ("northamerica-northeast1", "us-east4")
    )
    assert clean.energy_kwh == plain.energy_kwh == near(10 * 72 * 0.8 * 1.2 / 1000)
    assert (plain.co2_kg, clean.co2_kg) == (pytest.approx(0.223, rel=0.01), pytest.approx(0.00138, rel=0.01))


def test_a_deadline_that_spot_misses_says_by_how_much() -> None:
    work = training(hours=40, checkpoint=CHECKPOINT, interruptions_per_hour=0.5)  # 40 / (1 - 0.5 / 3) = 48 h
    report = ask(work, [G5], deadline_hours=44)
    (miss,) = report.infeasible
    assert report.decision == "g5.xlarge on-demand"
    assert (miss.reason, miss.misses_by, miss.unit) == ("deadline", near(4), "hours")


def test_a_deadline_asks_for_more_machines_where_the_work_scales() -> None:
    report = ask(training(hours=100, gpus=1, scaling_efficiency=0.9), [G5], deadline_hours=24, spot="forbid")
    assert report.plans[0].machines == 5  # 100 / (24 x 0.9) = 4.6
    assert report.plans[0].expected_usd == near(100 / 0.9 * 1.006)


def test_flops_become_hours_by_the_dense_peak() -> None:
    node = {"name": "8xA100 node", "usd_per_hour": 21.9576, "gpus": 8}
    report = ask(training(parameters=1.3e9, tokens=26e9, utilization=0.4), [node])
    hours = 6 * 1.3e9 * 26e9 / (8 * 312e12 * 0.4 * 3600)
    assert report.plans[0].wall_seconds == near(hours * 3600)
    band = ask(training(flops=1e20), [node]).plans[0]
    assert band.high_usd == near(2 * band.expected_usd) and band.hangs_on == "utilisation"


def test_a_commitment_pays_beyond_its_share_of_hours() -> None:
    options = [{"name": "1-year commitment", "usd_per_hour": 2.314207}]
    for busy, decision in ((10, "this machine stopped when idle"), (20, "1-year commitment")):
        report = ask({"kind": "running", "usd_per_hour": 3.673385, "busy_hours_per_day": busy}, options)
        assert report.decision == decision
        assert report.break_even[0].value == near(24 * 2.314207 / 3.673385)


def test_replicas_follow_from_the_latency_target() -> None:
    work = {
        "kind": "inference",
        "requests_per_day": 20 * 86_400,
        "seconds_per_request": 0.1,
        "latency_seconds": 0.15,
    }
    report = ask(work, [{"name": "L4", "usd_per_hour": 0.8048}])
    assert (
        report.plans[0].replicas == 5
    )  # by hand: Erlang C at 2 busy servers, P(wait > 50 ms) 7.3 % at 4, 0.9 % at 5
    assert report.plans[0].expected_usd == near(5 * 0.8048 * 720)


def test_a_card_that_is_too_small_says_how_much_is_missing() -> None:
    work = {
        "kind": "inference",
        "requests_per_day": 9,
        "seconds_per_request": 1,
        "memory_bytes": 15 * 1024**3,
    }
    report = ask(work, [{"name": "T4", "usd_per_hour": 0.5}, {"name": "L4", "usd_per_hour": 0.8}])
    assert report.decision == "L4"
    assert report.infeasible[0].misses_by == pytest.approx(15 * 1024**3 - 0.92 * 16 * 1024**3, abs=1)


def test_a_family_of_machines_is_not_taken_for_a_card() -> None:
    work = {
        "kind": "inference",
        "requests_per_day": 9,
        "seconds_per_request": 1,
        "memory_bytes": 30 * 1024**3,
    }
    assert costs(
        ask(work, [{"name": "a2", "usd_per_hour": 1}, {"name": "p4 node", "usd_per_hour": 1}])
    ).keys() == {"a2", "p4 node"}
    assert [miss.name for miss in ask(work, [{"name": "A2", "usd_per_hour": 1}]).infeasible] == ["A2"]


def test_a_budget_names_what_is_missing_and_what_it_buys() -> None:
    report = ask(training(hours=100), [G5], budget_usd=50, spot="forbid")
    assert report.decision is None and report.infeasible[0].misses_by == near(50.6)
    assert ask(training(), [G5], budget_usd=50, spot="forbid").plans[0].affordable_hours == near(50 / 1.006)


def test_own_hardware_costs_electricity_and_wear() -> None:
    own = {
        "name": "desk",
        "kind": "own",
        "watts": 450,
        "usd_per_kwh": 0.3,
        "purchase_usd": 2000,
        "lifetime_hours": 10_000,
    }
    assert ask(training(hours=100), [own]).plans[0].expected_usd == near(100 * (0.45 * 0.3 + 0.2))


def test_a_discount_applies_once() -> None:
    assert ask(training(hours=10), [G5], discount=0.2, spot="forbid").plans[0].expected_usd == near(8.048)


def test_work_in_the_busy_hours_only_is_autoscaled() -> None:
    work = {
        "kind": "inference",
        "requests_per_day": 43_200,
        "seconds_per_request": 0.5,
        "arrival": [0] * 12 + [1] * 12,
    }
    report = ask(work, [{"name": "L4", "usd_per_hour": 1.0}])
    assert costs(report) == {"L4 autoscaled by the hour": near(360), "L4 always on": near(720)}
