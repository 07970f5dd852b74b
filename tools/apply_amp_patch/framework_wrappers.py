"""Frameworks whose precision is a wrapper around their learner: fastai and skorch."""

import ast

from .arguments import further_argument
from .context import Context
from .edits import Edit, Span
from .framework_options import REMEDY, bf16_name
from .patch import Patch, Site
from .prelude import free_name, header
from .script import Script

_LEARNERS = {
    "Learner",
    "vision_learner",
    "cnn_learner",
    "unet_learner",
    "tabular_learner",
    "text_classifier_learner",
    "language_model_learner",
    "collab_learner",
}
_SKORCH = (
    "skorch.NeuralNet",
    "skorch.classifier.NeuralNet",
    "skorch.regressor.NeuralNet",
    "skorch.net.NeuralNet",
)


def is_learner(script: Script, call: ast.Call) -> bool:
    """Whether a call makes one of fastai's learners, by its name or through a star import."""
    name = script.called(call) or ""
    if name.startswith("fastai") and name.split(".")[-1] in _LEARNERS:
        return True
    bare = isinstance(call.func, ast.Name) and call.func.id in _LEARNERS
    star = bare and any(s.startswith("fastai") for s in script.star_imports)
    return star and not script.bindings(call.func.id, call.func)  # type: ignore[attr-defined]


def fastai(context: Context) -> Patch | None:
    script = context.script
    calls = [c for c in script.calls if is_learner(script, c)]
    if not calls:
        return None
    method = "to_bf16" if context.wishes.precision == "bf16" else "to_fp16"
    sites, edits = [], []
    for call in calls:
        above = script.parents[call]
        if isinstance(above, ast.Attribute) and above.attr in ("to_fp16", "to_bf16"):
            sites.append(Site(call.lineno, REMEDY, "keep", "already", f".{above.attr}() is there"))
            continue
        edits.append(Span(script.end(call), script.end(call), f".{method}()"))
        sites.append(Site(call.lineno, REMEDY, "edit", "framework_option", f"fastai's own .{method}()"))
    chained = script.method_calls("to_fp16") + script.method_calls("to_bf16")
    if edits and any(not isinstance(c.func.value, ast.Call) for c in chained):  # type: ignore[attr-defined]
        return Patch(
            "already",
            [Site(chained[0].lineno, REMEDY, "keep", "already", "the learner is set to fp16 later")],
        )
    found: list[Edit] = list(edits)
    if edits and not any(
        s.endswith(".all") for s in script.star_imports
    ):  # else the learner has no such method
        found.append(header(script, ["import fastai.callback.fp16"]))
    return Patch("framework_option" if edits else "already", sites, found)


def skorch(context: Context) -> Patch | None:
    script = context.script
    calls = [c for c in script.calls if (script.called(c) or "").startswith(_SKORCH)]
    if not calls:
        return None
    sites: list[Site] = []
    edits: list[Edit] = []
    chosen: list[Edit] = []
    value = {"bf16": '"bf16"', "fp16": '"fp16"'}.get(context.wishes.precision)
    if value is None:
        name, chosen = bf16_name(context)
        value = f'"bf16" if {name} else "fp16"'
    names = sorted({script.code(c.func) for c in calls})
    lines = ["from accelerate import Accelerator", "from skorch.hf import AccelerateMixin", ""]
    for name in names:
        fresh = free_name(script, f"Accelerated{name.split('.')[-1]}")
        lines += ["", f"class {fresh}(AccelerateMixin, {name}):", '    """Trains in mixed precision."""', ""]
        for call in (c for c in calls if script.code(c.func) == name):
            edits.append(Span(script.start(call.func), script.end(call.func), fresh))
            edits += [
                Span(script.start(k.value), script.end(k.value), "None")
                for k in call.keywords
                if k.arg == "device"
            ]
            edits.append(
                further_argument(context.script, call, f"accelerator=Accelerator(mixed_precision={value})")
            )
            sites.append(Site(call.lineno, REMEDY, "edit", "framework_option", "skorch's AccelerateMixin"))
    edits += [header(script, lines), *chosen]
    return Patch("framework_option", sites, edits, ["skorch's mixed precision needs the package accelerate"])
