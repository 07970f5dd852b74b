"""estimate_cost over its catalog: facts, searches, measurements, artifacts, and what the Report says."""

import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from cost_questions import CHECKPOINT, G5, ask, costs, near, refused, training
from optimizing_resources.tools._core.contract import CALL, Call, current_call, input_schema
from optimizing_resources.tools._core.ledger import Figure, Run, append, ledger_path, new_id, open_ledger
from optimizing_resources.tools._core.workspace import Workspace
from optimizing_resources.tools.estimate_cost import estimate_cost


@pytest.fixture(autouse=True, scope="module")
def _workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    token = CALL.set(Call(Workspace.of_the_caller(tmp_path_factory.mktemp("cost"))))
    yield
    CALL.reset(token)


# Facts of the catalog, each checked against another source than the catalog's own.


@pytest.mark.parametrize(
    ("name", "region", "on_demand"),
    [
        ("g5.4xlarge", "us-east-1", 1.624),
        ("g4dn.xlarge", "us-east-1", 0.526),
        ("Standard_NC4as_T4_v3", "eastus", 0.526),
        ("a2-highgpu-1g", "us-central1", 3.673385),
        ("p4d.24xlarge", "us-east-1", 21.9576),  # not 32.77, its price before 2025-06-01
        ("p5.48xlarge", "us-east-1", 55.04),  # not 98.32
    ],
)
def test_list_prices_agree_with_other_sources(name: str, region: str, on_demand: float) -> None:
    report = ask(training(hours=1), [{"name": name}], regions=[region], spot="forbid")
    (plan,) = report.plans
    assert plan.expected_usd == pytest.approx(on_demand, rel=0.01)
    assert plan.prices[0].source and plan.prices[0].as_of and plan.region == region
    assert plan.low_usd < plan.expected_usd < plan.high_usd


@pytest.mark.parametrize(
    ("name", "seen"),
    [("g5.4xlarge", (0.642, 0.7068)), ("g5.8xlarge", (0.8391, 0.9643)), ("p3.2xlarge", (0.92, 0.92))],
)
def test_spot_prices_seen_elsewhere_lie_in_the_band(name: str, seen: tuple[float, float]) -> None:
    report = ask(training(hours=1), [{"name": name}], regions=["us-east-1"], spot="require")
    (line,) = report.plans[0].prices
    assert line.low_usd is not None and line.high_usd is not None
    assert line.low_usd <= seen[0] and seen[1] <= line.high_usd


SEARCHES = [
    training(hours=40, memory_bytes=20 * 1024**3, checkpoint=CHECKPOINT),
    training(flops=1e21, checkpoint={}),
    {"kind": "inference", "requests_per_day": 5000, "seconds_per_request": 0.5},
    {"kind": "batch", "items_per_day": 1e6, "items_per_second": 50, "gpus": 1},
    {
        "kind": "running",
        "usd_per_hour": 4,
        "busy_hours_per_day": 3,
        "memory_bytes": 6e9,
        "accelerator": "A100-40GB",
    },
]


@pytest.mark.parametrize("workload", SEARCHES, ids=lambda workload: workload["kind"])
@pytest.mark.parametrize("deadline", [None, 100])
def test_a_search_answers_within_the_readers_budget(workload: Any, deadline: Any) -> None:
    report = ask(workload, deadline_hours=deadline)
    assert len(json.dumps(report.model_dump(mode="json"))) <= 6000 and len(report.brief()) <= 1500
    assert report.decision in {plan.name for plan in report.plans}


def test_every_option_of_the_caller_is_answered() -> None:
    options = [{"name": f"m{i}", "usd_per_hour": 1 + i, "spot_usd_per_hour": 0.5 + i} for i in range(10)]
    assert len(ask(training(hours=2), options).plans) == 20
    report = ask(training(hours=2), options, deadline_hours=1)
    assert len(report.infeasible) == report.infeasible_count == 20


def test_a_search_of_the_catalog_shows_each_machine_once_and_a_plan_without_spot() -> None:
    report = ask(training(hours=10, memory_bytes=20 * 1024**3, checkpoint=CHECKPOINT))
    shown = [(plan.provider, plan.machine, plan.purchase) for plan in report.plans]
    assert len(shown) == len(set(shown)) and report.plans_compared > 100
    assert any(plan.purchase == "on_demand" for plan in report.plans)
    assert [plan.expected_usd for plan in report.plans] == sorted(plan.expected_usd for plan in report.plans)


def test_more_cards_than_a_machine_has_are_spread_over_several() -> None:
    plan = ask(training(hours=10, gpus=64), spot="forbid", providers=["aws"]).plans[0]
    assert plan.machines == 8 and plan.wall_seconds == pytest.approx(36_000)
    assert any("network" in note for note in plan.notes)


def test_a_service_is_not_put_on_spot_or_bound_for_years_unasked() -> None:
    work = {"kind": "inference", "requests_per_day": 5000, "seconds_per_request": 0.5, "gpus": 1}
    report = ask(work)
    chosen = next(plan for plan in report.plans if plan.name == report.decision)
    assert chosen.purchase == "on_demand" and report.plans[0].expected_usd < chosen.expected_usd
    assert ask(work, spot="require").plans[0].purchase == "spot"


def test_spot_without_a_spot_price_and_work_that_never_ends_are_named() -> None:
    azure = ask(training(hours=1), [{"name": "Standard_NC4as_T4_v3"}], spot="require", regions=["eastus"])
    assert not azure.plans and azure.infeasible[0].reason == "spot"
    endless = ask(training(hours=40, checkpoint={"interval_seconds": 7200}, interruptions_per_hour=2), [G5])
    assert endless.decision == "g5.xlarge" and "never finish" in endless.infeasible[0].why


def test_a_limit_that_does_not_apply_is_said() -> None:
    report = ask({"kind": "running", "usd_per_hour": 1, "busy_hours_per_day": 8}, deadline_hours=5)
    assert "deadline_hours" in report.warnings[0] and len(report.plans) == 3


def test_a_bill_without_its_accelerator_is_not_moved_to_a_machine_without_one() -> None:
    bill = {"kind": "running", "usd_per_hour": 12.24, "busy_hours_per_day": 10, "memory_bytes": 40e9}
    report = ask(bill)
    assert report.decision == "this machine stopped when idle" and "accelerator" in report.warnings[0]
    assert len(ask({**bill, "accelerator": "V100", "gpus": 4}).plans) > len(report.plans)


def test_a_spot_plan_that_may_end_dearer_than_one_without_interruptions_says_so() -> None:
    own = {"name": "x", "usd_per_hour": 1.0, "spot_usd_per_hour": 0.3}
    assert "may cost up to" in ask(training(hours=40), [own]).warnings[0]  # no checkpoints, an assumed rate
    assert not ask(training(hours=1), [own]).warnings


def test_a_stale_list_price_is_noticed() -> None:
    report = ask(training(hours=1), [{"name": "p4d.24xlarge", "usd_per_hour": 32.7726}])
    assert "21.9576" in report.warnings[0]


def test_a_measured_step_makes_the_time_measured() -> None:
    workspace = current_call().workspace
    step = Figure(metric="step_seconds_p50", value=0.36, unit="s")
    peak = Figure(metric="peak_gpu_bytes", value=20 * 1024**3, unit="bytes")
    run = Run(
        id=new_id(),
        taken_at="",
        tool="measure_run",
        outcome="finished",
        device="d",
        workload="w",
        figures=[step, peak],
    )
    with closing(open_ledger(ledger_path(workspace))) as ledger:
        append(ledger, run)
    plan = ask(training(steps=100_000, measurement=run.id), [G5], spot="forbid").plans[0]
    assert plan.wall_seconds == pytest.approx(36_000) and plan.time_basis == "measured"
    too_small = ask(training(steps=100_000, measurement=run.id), [{"name": "g4dn.xlarge"}], spot="forbid")
    assert too_small.infeasible[0].reason == "memory"
    bill = {"kind": "running", "usd_per_hour": 3.67, "busy_hours_per_day": 3, "accelerator": "A100-40GB"}
    smaller = ask({**bill, "measurement": run.id}, spot="forbid").plans[0]
    assert smaller.remedy == "right_size" and smaller.accelerator in ("L4", "A10G")  # 20 GiB and not 16
    assert "nope" in refused(training(steps=1, measurement="nope"), [G5])


def test_the_artifacts_lie_in_the_workspace_and_the_words_stand_alone() -> None:
    report = ask(training(hours=40, checkpoint=CHECKPOINT), [{"name": "aws us-east-1 g5.xlarge"}])
    for path in (report.picture_path, report.skypilot_yaml_path):
        assert path is not None and path in report.brief() and path in report.readable()
    text = report.brief()
    assert (
        report.decision is not None and report.decision in text and "storage" in text and "2025-06-28" in text
    )


def test_a_server_without_a_workspace_still_prices() -> None:
    refusing = Workspace.of_the_caller()
    token = CALL.set(Call(Workspace(refusing.root, (), True, "no project folder")))
    try:
        report = ask(training(hours=1), [G5])
    finally:
        CALL.reset(token)
    assert report.plans and report.picture_path is None and "workspace" in report.warnings[0]


def test_the_schema_is_small() -> None:
    entry = estimate_cost.tool  # type: ignore[attr-defined]
    schema = json.dumps(input_schema(entry.request), separators=(",", ":"))
    assert len(entry.name) + len(entry.summary) + len(schema) <= 1250


@pytest.mark.parametrize(
    ("workload", "hours"),
    [
        ({"kind": "running", "usd_per_hour": 1, "busy_hours_per_day": 4}, 30 * 4),
        ({"kind": "training", "hours": 3}, 3),
    ],
)
def test_hours_on_a_serverless_platform_are_neither_free_nor_forgotten(workload: Any, hours: int) -> None:
    by_memory = {"name": "x", "kind": "serverless", "usd_per_gb_second": 1e-5, "memory_bytes": 2 * 2**30}
    assert costs(ask(workload, [by_memory]))["x"] == near(hours * 3600 * 2e-5)
    assert costs(ask(workload, [{"name": "x", "kind": "serverless", "usd_per_second": 3e-4}]))["x"] == near(
        hours * 3600 * 3e-4
    )
    by_request = {"name": "x", "kind": "serverless", "usd_per_million_requests": 0.2}
    assert "requests_per_day" in ask(workload, [by_request]).infeasible[0].why
    assert "memory_bytes" in ask(workload, [{**by_memory, "memory_bytes": None}]).infeasible[0].why
