"""Which family is tried first follows from the operations of the graph."""

from pathlib import Path

import pytest
from optimizing_resources.tools._compression.interpreters import Interpreter
from optimizing_resources.tools._compression.plan import Target, make_plan

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
