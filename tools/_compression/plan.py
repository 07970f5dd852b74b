"""Which variants to try, in the order of promise, and why others cannot work.

The order follows the graph's operations and the CPU's instructions, never a model's name. Reasons with figures:
references/compression.md.
"""

from dataclasses import dataclass, field
from typing import Any

from .interpreters import Interpreter

Settings = dict[str, Any]
_AS_LARGE = ("openvino", "conv1d", "torch", "n_jobs")  # kinds of variant
TREE_PARTS = [f"ort_trees_first_{share}_percent" for share in (75, 50, 25)]
WEIGHTED = ["Conv", "MatMul", "Gemm"]
PLAIN_NNCF, CONTROLLED_NNCF = "openvino_nncf_int8", "openvino_nncf_int8_accuracy_control"


@dataclass(frozen=True)
class Variant:
    """One way to make the model smaller or faster."""

    name: str
    kind: str
    runtime: str = "onnxruntime"
    settings: Settings = field(default_factory=dict)

    def request(self) -> Settings:
        return {"name": self.name, "kind": self.kind, **self.settings}


@dataclass(frozen=True)
class Target:
    """The processor that the chosen file is meant for."""

    isa: str  # as in profiles.ISAS, with "host" resolved
    has_bf16: bool
    is_here: bool = True

    @property
    def saturates(self) -> bool:
        """Without VNNI, sums of two u8 x s8 products saturate in 16 bits, so weights get seven bits."""
        return self.isa == "avx2"

    @property
    def is_arm(self) -> bool:
        return self.isa.startswith("arm")


@dataclass
class Plan:
    variants: list[Variant]
    skipped: dict[str, str]  # variant -> reason
    missing: dict[str, str] = field(
        default_factory=dict
    )  # variant -> the command that installs what it needs

    def smaller_first(self) -> None:
        """What keeps the weights as large as they are comes last: it can keep no limit that the baseline breaks."""
        self.variants.sort(key=lambda variant: variant.kind in _AS_LARGE)


def make_plan(
    graph: dict[str, Any], target: Target, python: Interpreter, runtimes: list[str], has_program: bool
) -> Plan:
    """The variants in the order in which they are tried."""
    plan = Plan([], {})
    if graph.get("trees"):
        _add_trees(plan, graph, python)
        return plan
    _add_onnxruntime(plan, graph, target)
    _add_openvino(plan, graph, target, python)
    _add_torch(plan, target, python, has_program)
    for variant in list(plan.variants):
        if variant.runtime not in runtimes:
            plan.variants.remove(variant)
            plan.skipped[variant.name] = f"{variant.runtime} is not among the runtimes asked for"
    plan.variants.sort(key=lambda v: _rank(v, graph))
    return plan


def _add_trees(plan: Plan, graph: dict[str, Any], python: Interpreter) -> None:
    if graph["boosted"]:
        plan.variants += [Variant(name, "trees") for name in ("ort_trees", *TREE_PARTS)]
        return
    for jobs in graph["jobs"]:
        plan.variants.append(Variant(f"sklearn_n_jobs_{jobs}", "n_jobs", "sklearn", {"jobs": jobs}))
    if graph["needs_skl2onnx"] and not python.has("skl2onnx"):
        plan.missing["ort_sklearn"] = python.install("skl2onnx")
    else:
        plan.variants.append(Variant("ort_sklearn", "trees"))


def _add_onnxruntime(plan: Plan, graph: dict[str, Any], target: Target) -> None:
    narrow: Settings = {"reduce_range": True} if target.saturates else {}
    static: Settings = {**narrow, "signed": True} if target.is_arm else narrow
    ops = ["MatMul", "Gemm", "LSTM", "Attention"]  # the quantizer turns Gemm into MatMul first
    if graph["weighted_matmuls"] or graph["lstm"]:
        for name, per_channel in (("ort_dynamic_int8", False), ("ort_dynamic_int8_per_channel", True)):
            plan.variants.append(
                Variant(name, "dynamic", settings={"ops": ops, "per_channel": per_channel, **narrow})
            )
    else:
        why = "no MatMul, Gemm or LSTM with constant weights; ORT has no fast dynamic kernel for convolutions"
        plan.skipped["ort_dynamic_int8"] = why + (" and none for GRU" if graph["ops"].get("GRU") else "")
    if graph["weighted_matmuls"] or graph["convolutions"]:
        plan.variants.append(Variant("ort_static_int8", "static", settings=static))
        plan.variants.append(
            Variant("ort_static_int8_weighted", "static", settings={**static, "ops": WEIGHTED})
        )
    if graph["constant_matmuls"]:
        plan.variants.append(Variant("ort_weight_only_int8", "weight_only", settings={"bits": 8}))
        plan.variants.append(Variant("ort_weight_only_int4", "weight_only", settings={"bits": 4}))
    else:
        plan.skipped["ort_weight_only_int4"] = (
            "no MatMul with constant weights: zero operations would be replaced"
        )
    if graph["convolutions_1d"]:
        plan.variants.append(Variant("ort_fp32_conv2d", "conv1d"))
    if graph.get("other_floats"):
        plan.variants.append(Variant("ort_float32", "float32"))
    else:
        plan.variants.append(Variant("ort_fp16", "float16"))
    plan.skipped["ort_bf16"] = "ONNX Runtime's CPU kernels do not take bf16"


def _add_openvino(plan: Plan, graph: dict[str, Any], target: Target, python: Interpreter) -> None:
    names = ["openvino_fp32", "openvino_bf16", "openvino_weight_int8", "openvino_nncf_int8"]
    if not python.has("openvino"):
        plan.skipped.update(dict.fromkeys(names, "openvino is not installed in the search interpreter"))
        return
    plan.variants.append(Variant("openvino_fp32", "openvino", "openvino"))
    if target.has_bf16:
        plan.variants.append(Variant("openvino_bf16", "openvino", "openvino", {"precision": "bf16"}))
    else:
        plan.skipped["openvino_bf16"] = "no bf16 instructions are known of the target processor"
    if not python.has("nncf"):
        plan.skipped.update(dict.fromkeys(names[2:], "nncf is not installed in the search interpreter"))
        return
    builds: dict[str, tuple[str, Settings]] = {"openvino_nncf_int8": ("nncf", {})}
    if graph["attention"]:
        builds["openvino_nncf_int8_transformer"] = ("nncf", {"transformer": True})
    builds["openvino_nncf_int8_weighted"] = ("nncf", {"weighted_only": True})
    builds["openvino_weight_int8"] = ("nncf_weights", {})
    builds[CONTROLLED_NNCF] = ("nncf_control", {})
    for name, (kind, settings) in builds.items():
        plan.variants.append(Variant(name, kind, "openvino", settings))
        if target.has_bf16 and name in _WITH_BF16 and (graph["attention"] or graph["recurrent"]):
            plan.variants.append(Variant(f"{name}_bf16", kind, "openvino", {**settings, "precision": "bf16"}))


# What int8 leaves in float (attention scores, recurrent steps) then runs in bf16.
_WITH_BF16 = ("openvino_nncf_int8", "openvino_weight_int8")


def _add_torch(plan: Plan, target: Target, python: Interpreter, has_program: bool) -> None:
    if not target.is_here:
        plan.skipped["torch_compile_fp32"] = (
            f"it is compiled for this processor and does not run on {target.isa}"
        )
    elif not has_program:
        plan.skipped["torch_compile_fp32"] = "needs the torch model; the source is a finished file"
    elif not python.has("torch"):
        plan.skipped["torch_compile_fp32"] = "torch is not installed in the search interpreter"
    else:
        plan.variants.append(Variant("torch_compile_fp32", "torch", "torch"))
        plan.skipped["torchao_int8"] = (
            "never the fastest where it was measured; figures in references/compression.md"
        )


_CONV = [
    "ort_static_int8", "openvino_nncf_int8", "ort_fp32_conv2d", "openvino_fp32", "openvino_bf16",
    "ort_static_int8_weighted", "openvino_nncf_int8_weighted", "ort_dynamic_int8",
]  # fmt: skip
_DENSE = [
    "ort_dynamic_int8", "ort_static_int8", "openvino_nncf_int8", "openvino_fp32", "openvino_bf16",
    "ort_dynamic_int8_per_channel", "ort_static_int8_weighted",
]  # fmt: skip
_RECURRENT = [
    "ort_dynamic_int8", "openvino_weight_int8_bf16", "openvino_bf16", "ort_dynamic_int8_per_channel",
    "torch_compile_fp32", "openvino_fp32", "openvino_weight_int8",
]  # fmt: skip
_ATTENTION = [
    "ort_dynamic_int8", "openvino_nncf_int8", "openvino_nncf_int8_bf16", "openvino_bf16",
    "openvino_nncf_int8_transformer", "openvino_fp32", "ort_static_int8_weighted", "ort_dynamic_int8_per_channel",
]  # fmt: skip


def _rank(variant: Variant, graph: dict[str, Any]) -> int:
    if graph["recurrent"]:
        order = _RECURRENT
    elif (
        graph["convolutions"] > graph["weighted_matmuls"]
    ):  # one that cuts an image into patches decides nothing
        order = _CONV
    else:
        order = _ATTENTION if graph["attention"] else _DENSE
    tail = ["ort_static_int8", "openvino_nncf_int8", "torch_compile_fp32", "ort_weight_only_int8", "ort_fp16"]
    names = ["ort_float32", *order, *(name for name in tail if name not in order)]
    return names.index(variant.name) if variant.name in names else len(names)
