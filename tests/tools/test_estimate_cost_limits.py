"""Laws of estimate_cost, and what it refuses: one sentence, with the nearest valid choice."""

from collections.abc import Iterator
from typing import Any

import pytest
from cost_questions import CHECKPOINT, G5, T4, ask, costs, refused, training
from hypothesis import assume, given
from hypothesis import strategies as st
from optimizing_resources.tools._core.contract import CALL, Call
from optimizing_resources.tools._core.workspace import Workspace


@pytest.fixture(autouse=True, scope="module")
def _workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    token = CALL.set(Call(Workspace.of_the_caller(tmp_path_factory.mktemp("cost"))))
    yield
    CALL.reset(token)


# Laws.

hours = st.floats(0.5, 200)
rates = st.floats(0, 0.5)
checkpoints = st.sampled_from([None, {"interval_seconds": 600}, {"write_seconds": 60}])


@given(hours, st.floats(1, 3), rates, checkpoints)
def test_more_hours_are_never_cheaper(work: float, factor: float, rate: float, checkpoint: Any) -> None:
    less, more = (
        costs(ask(training(hours=h, checkpoint=checkpoint, interruptions_per_hour=rate), [G5]))
        for h in (work, work * factor)
    )
    assert all(more[name] >= less[name] * (1 - 1e-9) for name in less.keys() & more.keys())


@given(hours, rates, rates, checkpoints)
def test_more_interruptions_never_make_spot_cheaper(
    work: float, one: float, other: float, checkpoint: Any
) -> None:
    calm, rough = (
        costs(ask(training(hours=work, checkpoint=checkpoint, interruptions_per_hour=rate), [G5]))
        for rate in sorted((one, other))
    )
    spot = "g5.xlarge spot"
    assert spot not in rough or rough[spot] >= calm[spot] * (1 - 1e-9)


WORKLOADS = st.sampled_from(
    [
        training(
            hours=30, gpus=1, scaling_efficiency=0.8, checkpoint=CHECKPOINT, interruptions_per_hour=0.05
        ),
        training(flops=2e18, interruptions_per_hour=0.02),
        {"kind": "batch", "items_per_day": 2e6, "items_per_second": 50, "interruptions_per_hour": 0.1},
        training(flops=3e18, checkpoint={"write_seconds": 60}, interruptions_per_hour=0.2),
    ]
)


@given(WORKLOADS, st.floats(1, 60), st.floats(1, 60))
def test_a_tighter_deadline_is_never_cheaper(workload: Any, one: float, other: float) -> None:
    tight, loose = (
        ask(workload, [{**G5, "accelerator": "A10G"}, T4], deadline_hours=d) for d in sorted((one, other))
    )
    assume(tight.plans)
    assert loose.plans and loose.plans[0].expected_usd <= tight.plans[0].expected_usd * (1 + 1e-9)


@given(WORKLOADS, st.floats(1, 100), st.floats(1, 100))
def test_a_larger_budget_is_never_a_worse_plan(workload: Any, one: float, other: float) -> None:
    small, large = (
        ask(workload, [{**G5, "accelerator": "A10G"}, T4], budget_usd=b) for b in sorted((one, other))
    )
    assume(small.plans)
    assert large.plans[0].expected_usd <= small.plans[0].expected_usd


# Refusals: one sentence, with the nearest valid choice.


def service(**fields: Any) -> dict[str, Any]:
    return {"kind": "inference", "requests_per_day": 86_400, "seconds_per_request": 1, **fields}


REFUSED = [
    (training(hours=-1), [G5], {}, "greater than 0"),
    (training(hours=float("nan")), [G5], {}, "finite"),
    (training(hours=float("inf")), [G5], {}, "finite"),
    (training(hours=1e30), [G5], {}, "less than or equal"),
    (training(parameters=1e9, tokens=1e30), [G5], {}, "less than or equal"),
    (training(hours=1, houres=2), [G5], {}, "try hours"),
    (training(hours=1, flops=1e18), [G5], {}, "give one of them"),
    (training(hours=1, steps=10), [G5], {}, "steps are not used"),
    (training(hours=True), [G5], {}, "a number, not true"),
    (
        training(hours=9, checkpoint={"interval_seconds": 60, "write_seconds": 90}),
        [G5],
        {},
        "cannot be written",
    ),
    (training(hours=1), [G5, G5], {}, "2 options have the name g5.xlarge"),
    (training(hours=1), None, {"providers": ["azur"]}, "try azure"),
    (training(hours=1), [{"name": "L4", "usd_per_hour": 1, "step_seconds": 1}], {}, "the workload's steps"),
    (training(steps=10), [G5], {}, "how long the training takes"),
    (training(hours=1, gpus=0), [G5], {}, "greater than or equal to 1"),
    (training(hours=1, gpus=1.5), [G5], {}, "whole number"),
    (training(hours=1, scaling_efficiency=90), [G5], {}, "0.9, not 90"),
    (training(hours=1, checkpoint={"interval_seconds": 7200}), [G5], {}, "never written"),
    (training(hours=1, memory_bytes=2**42), None, {}, "larger than any single card"),
    (training(hours=1, accelerator="A10O"), None, {}, "A10G"),
    (training(hours=1), [{"name": "g4dn.xlage"}], {}, "g4dn.xlarge"),
    (training(hours=1), [{"name": "ml.g5.xlarge"}], {}, "g5.xlarge for the plain machine"),
    (training(hours=1), [{"name": "g5.xlarge"}], {"regions": ["eu-central-7"]}, "No prices are held"),
    (training(hours=1), [{"name": "g5.xlarge"}], {"regions": ["westeurope"]}, "aws us-east-1 g5.xlarge"),
    (training(hours=1), None, {"providers": ["hal9000"]}, "one of aws"),
    (training(hours=1), [G5], {"discount": 60}, "0.6, not 60"),
    (training(hours=1), [G5], {"discount": 1}, "less than 1"),
    (training(hours=1), [{"name": "x", "usd_per_request": 1}], {}, "set kind to 'serverless'"),
    (training(hours=1), [{**G5, "gpus": 1.5}], {}, "whole number, or a fraction below 1"),
    (training(hours=1), [{**G5, "currency": "EUR"}], {}, "USD"),
    (training(hours=1), [{"name": "x", "eur_per_hour": 1}], {}, "usd_per_hour"),
    (training(hours=1), [{"name": "x", "usd_per_hour": 0}], {}, "greater than 0"),
    (training(hours=1), [{"name": "x", "usd_per_second": 1}], {}, "set kind to 'serverless'"),
    (training(flops=1e18), [{**G5, "accelerator": "H100", "tflops": 1979}], {}, "sparse"),
    ({"kind": "service"}, None, {}, "one of training, inference, batch, running"),
    (service(requests_per_day=0), None, {}, "greater than 0"),
    (service(peak_requests_per_second=0.5), None, {}, "below the mean rate"),
    (service(arrival="sometimes"), None, {}, "even"),
    (service(arrival=[1, 2]), None, {}, "24 weights"),
    (service(arrival=["a"] * 24), None, {}, "24 weights"),
    (service(arrival="5 bursts of 3"), None, {}, "15 requests"),
    (service(arrival="even", bursts_per_day=5), None, {}, "has no bursts"),
    ({"kind": "running", "usd_per_hour": 1, "busy_hours_per_day": 25}, None, {}, "less than or equal to 24"),
]


@pytest.mark.parametrize(("workload", "options", "constraints", "said"), REFUSED)
def test_what_cannot_be_meant_is_refused_with_advice(
    workload: Any, options: Any, constraints: Any, said: str
) -> None:
    sentence = refused(workload, options, **constraints)
    assert said in sentence and "\n" not in sentence
