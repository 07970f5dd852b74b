"""Which family is tried first follows from the operations of the graph."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from optimizing_resources.tools._compression import search as searching
from optimizing_resources.tools._compression.interpreters import Interpreter
from optimizing_resources.tools._compression.plan import Plan, Target, Variant, make_plan
from optimizing_resources.tools._compression.search import run_search, with_follow_up

NOTHING = {
    "ops": {}, "weighted_matmuls": 0, "constant_matmuls": 0, "convolutions": 0, "convolutions_1d": 0, "recurrent": 0,
    "lstm": 0, "attention": False,
}  # fmt: skip


@pytest.mark.parametrize(
    ("graph", "first"),
    [
        ({"convolutions": 20, "weighted_matmuls": 1}, "ort_static_int8"),
        ({"weighted_matmuls": 4}, "ort_dynamic_int8"),
        ({"weighted_matmuls": 1, "recurrent": 2, "lstm": 2}, "ort_dynamic_int8"),
        ({"weighted_matmuls": 12, "attention": True}, "ort_dynamic_int8"),
        (
            {"convolutions": 1, "weighted_matmuls": 12, "attention": True},
            "ort_dynamic_int8",
        ),  # image transformer
        ({"convolutions": 1, "weighted_matmuls": 12}, "ort_dynamic_int8"),  # mixer
        ({"recurrent": 2, "ops": {"GRU": 2}}, "openvino_weight_int8_bf16"),
    ],
)
def test_the_family_of_promise_is_tried_first(graph, first):
    python = Interpreter(Path("python"), dict.fromkeys(("openvino", "nncf", "torch"), ""))
    plan = make_plan(
        {**NOTHING, **graph},
        Target("avx512_vnni", has_bf16=True),
        python,
        ["onnxruntime", "openvino", "torch"],
        True,
    )
    assert plan.variants[0].name == first
    plan.smaller_first()
    assert {v.name for v in plan.variants[-2:]} <= {"openvino_fp32", "openvino_bf16", "torch_compile_fp32"}


def test_what_calibrates_again_waits_for_the_float_runtimes_unless_a_limit_needs_it():
    weighted, floats, last = (
        Variant("weighted", "static"),
        Variant("floats", "openvino"),
        Variant("last", "nncf"),
    )
    again = Variant("again", "sensitive")

    def order(extra, at_once=False):
        return [v.name for v in with_follow_up([floats, last, weighted], extra, at_once=at_once)]

    assert order([weighted]) == ["weighted", "floats", "last"]
    assert order([again]) == ["floats", "again", "last", "weighted"]
    assert order([again], at_once=True) == ["again", "floats", "last", "weighted"]


def test_once_time_is_short_the_float_runtimes_come_before_what_must_be_calibrated(monkeypatch):
    variants = [
        Variant("slow", "static"),
        Variant("other", "nncf"),
        Variant("floats", "openvino", "openvino"),
    ]
    monkeypatch.setattr(
        searching, "try_variant", lambda search, variant: {"status": "not_tried", "reason": ""}
    )
    search = SimpleNamespace(rows={}, slowest_ratio=0.5, job=SimpleNamespace(threads=1))
    run_search(search, Plan(variants, {}))
    assert list(search.rows) == ["slow", "floats", "other"]
