"""The model compiled in place, so that checkpoints keep their keys.

    model = Net().to(device)   ->   model = Net().to(device)
                                    model.compile()

https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html#torch.nn.Module.compile
"""

import ast

from ..context import Context
from ..edits import Edit, Line
from ..flow import path
from ..models import trained_models
from ..patch import Declined, Patch, Site
from ..precision.hazards import second_order
from ..script import Script
from ..unrolling import unrolled

REMEDY = "compile"
_TRACES = ("torch.jit.", "torch.onnx.", "torch.fx.", "torch.quantization.", "torch.ao.")
_HOOKS = {
    f"register_{kind}_hook"
    for kind in ("full_backward", "backward", "full_backward_pre", "forward", "forward_pre")
}
# what is done to a model that holds weights, and not to a loss
_KEEPS = (
    "parameters",
    "named_parameters",
    "state_dict",
    "load_state_dict",
    "train",
    "eval",
    "modules",
    "children",
)
_WHOLE = ("Sequential", "DataParallel", "DistributedDataParallel", "Transformer", "convert_sync_batchnorm")


def propose(context: Context) -> Patch:
    """`model.compile()` behind the construction of every model that trains."""
    script = context.script
    for call in script.calls:
        method = call.func.attr if isinstance(call.func, ast.Attribute) else ""
        if script.called(call) == "torch.compile" or (
            method == "compile" and not script.qualified(call.func)
        ):
            return Patch(
                "already", [Site(call.lineno, REMEDY, "keep", "already", "the script compiles already")]
            )
    if not context.training.backwards:
        return Patch(
            "nothing_to_do", [Site(1, REMEDY, "keep", "no_training_loop", "no training loop in this file")]
        )
    for line, note in second_order(context):
        note = f"{note}, and compiled code cannot be differentiated twice"
        return Patch("declined", [Site(line, REMEDY, "decline", "second_order", note)])
    refusal = next((r for call in script.calls if (r := _refusal(script, call))), None) or _threads(context)
    if refusal is not None:
        return refusal.as_patch(REMEDY)
    kept = {ast.unparse(c.func.value) for name in _KEEPS for c in script.method_calls(name)}  # type: ignore[attr-defined]
    models = [m for m in trained_models(context) if m.path in kept and not _is_layer(context, m.made)]
    if not models:
        line = context.training.backwards[0].call.lineno
        note = "the statement that makes the model cannot be found in this file"
        return Patch("declined", [Site(line, REMEDY, "decline", "model_not_found", note)])
    if (loop := next((u for m in models if (u := unrolled(context, m.made))), None)) is not None:
        return Declined(*loop).as_patch(REMEDY)
    edits: list[Edit] = []
    sites: list[Site] = []
    for model in models:
        line = (model.made.end_lineno or model.made.lineno) + 1
        edits.append(Line(line, script.indentation(model.made.lineno), f"{model.path}.compile()"))
        sites.append(
            Site(model.made.lineno, REMEDY, "edit", "compiled", f"{model.path} is compiled at its first call")
        )
    warnings = [
        "the first steps take longer; inputs of changing shapes are compiled again",
        "dropout and other random numbers are drawn anew for the same seed, and rounding differs",
    ]
    return Patch("patched", sites, edits, warnings)


def _refusal(script: Script, call: ast.Call) -> Declined | None:
    """What a compiled model can no longer do."""
    name = script.called(call) or ""
    method = call.func.attr if isinstance(call.func, ast.Attribute) else ""
    if name.startswith(_TRACES) or method == "add_graph":
        return Declined(
            call.lineno, "traced_model", f"{ast.unparse(call.func)} cannot trace a compiled model"
        )
    if method in _HOOKS:
        note = "a compiled model calls no hooks of its backward pass, nor those set after its first call"
        return Declined(call.lineno, "backward_hook", note)
    if name.startswith("dgl."):
        return Declined(call.lineno, "traced_model", "whether a model of DGL's graphs compiles is not known")
    return None


def _threads(context: Context) -> Declined | None:
    """DataParallel, or a class of this file that derives from it."""
    found = [(c.lineno, context.script.called(c) or "") for c in context.script.calls]
    found += [(h.lineno, base) for h in context.script.classes for base in context.roles.base_names(h)]
    for line, name in found:
        last = name.rpartition(".")[2].lower()
        if "dataparallel" in last and "distributed" not in last:
            note = "the replicas of DataParallel run in threads, not compiled"
            return Declined(line, "data_parallel", note)
    return None


def _is_layer(context: Context, made: ast.stmt) -> bool:
    """One layer or loss of torch.nn beside a model that is made elsewhere: not what takes the time."""
    script, flow = context.script, context.training.flow
    value = getattr(made, "value", None)
    names = {n for c in ast.walk(value) if (n := script.called(c))} if isinstance(value, ast.AST) else set()
    layers = {n for n in names if n.startswith("torch.nn.")}
    if not layers or any(n.endswith(_WHOLE) for n in layers):
        return False
    known = {m.path for m in trained_models(context)}
    calls = [
        n
        for region in context.training.regions
        for s in region.statements
        for n in ast.walk(s)
        if isinstance(n, ast.Call) and script.called(n) is None and not context.roles.callees(n)
    ]
    return any(path(c.func) not in known and flow.calls_model(c) for c in calls)
