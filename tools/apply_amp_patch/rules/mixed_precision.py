"""Mixed precision: forward and loss under autocast, gradients through one scaler.

    output = model(x)                       with torch.autocast(device_type=device.type, dtype=amp_dtype, ...):
    loss = criterion(output, y)        ->       output = model(x)
    loss.backward()                             loss = criterion(output, y)
    optimizer.step()                        amp_scaler.scale(loss).backward()
                                            amp_scaler.step(optimizer)
                                            amp_scaler.update()

https://docs.pytorch.org/docs/stable/notes/amp_examples.html
"""

import ast
from dataclasses import replace

from ..context import Context
from ..edits import Edit, EditsCollide, Span, apply, compose, lines_before
from ..frameworks import framework_option
from ..patch import Declined, Patch, Site
from ..precision.apex import uses_apex, without_apex
from ..precision.attacks import moves_inputs
from ..precision.engines import engines
from ..precision.existing import existing_amp
from ..precision.plan import Plan, make_plan
from ..precision.proof import disprove
from ..precision.rewrite import rewrite
from ..script import Script

REMEDY = "mixed_precision"


def propose(context: Context) -> Patch:
    """Autocast and scaler for the training loops; migration where the script has them already."""
    try:
        if apex := uses_apex(context.script):
            return _without_apex(context, apex)
        found = framework_option(context) or existing_amp(context)
        if found is not None:
            more = _after(context, found.edits, found.sites) if found.outcome == "patched" else None
            return more if more is not None and more.outcome == "patched" else found
        engines(context)
        training = context.training
        if not training.backwards or (not training.steps and not _trains_a_model(context)):
            note = "no loss is differentiated in this file"
            for backward in training.backwards:
                if any(not (c.args or c.keywords) for c in context.script.method_calls("step")):
                    note = "neither the forward pass behind this loss nor what steps can be followed in this file"
                    raise Declined(backward.call.lineno, "step_elsewhere", note)
                note = (
                    "a loss is differentiated here, but neither its forward pass nor a step is in this file"
                )
            return Patch("nothing_to_do", [Site(1, REMEDY, "keep", "no_training_loop", note)])
        if moves_inputs(context):
            note = "gradients move inputs here (an adversarial attack), and no weights are trained"
            return Patch("nothing_to_do", [Site(1, REMEDY, "keep", "no_training_loop", note)])
        return _proven(context, make_plan(context))
    except Declined as reason:
        return reason.as_patch(REMEDY)


def _without_apex(context: Context, apex: list[ast.expr]) -> Patch:
    """The script without apex, patched in turn."""
    edits, sites = without_apex(context, apex, REMEDY)
    patch = _after(context, edits, sites)
    if patch is None:
        raise Declined(sites[0].line, "apex", "the loop that apex serves is in another file")
    return patch


def _after(context: Context, edits: list[Edit], sites: list[Site]) -> Patch | None:
    """The patch of the text that the edits give, together with them as one edit; None where it needs none."""
    before = context.script.text
    inner = Context(Script(apply(context.script, edits)), context.wishes, context.path, context.root)
    patch = propose(inner)
    lines = lines_before(context.script, edits)
    placed = [replace(s, line=lines[min(s.line, len(lines)) - 1]) for s in patch.sites]
    if patch.outcome == "declined":
        return Patch("declined", placed)
    if patch.outcome != "patched":
        return None
    text = apply(inner.script, patch.edits)
    moved = compose(lines_before(inner.script, patch.edits), lines)
    sites = sorted([*sites, *(s for s in placed if s.action == "edit")], key=lambda s: s.line)
    return Patch("patched", sites, [Span(0, len(before), text)], patch.warnings, moved)


def _proven(context: Context, plan: Plan) -> Patch:
    """The patch, if the scaler's use in the patched text can be proven; bf16 without a scaler where it cannot."""
    patch = rewrite(context, plan, REMEDY)
    if not patch.sites:
        line = context.training.backwards[0].call.lineno
        raise Declined(
            line, "forward_not_found", "nothing of the forward pass behind this loss is in this file"
        )
    if not plan.scaled:
        return patch
    try:
        text = apply(context.script, patch.edits)
    except EditsCollide as collision:
        raise Declined(collision.line, "edits_collide", "two changes meet in one place") from collision
    fault = disprove(Context(Script(text), context.wishes, context.path, context.root))
    if fault is None:
        return patch
    line = min(fault.line, context.training.backwards[0].call.lineno)
    if context.wishes.precision == "fp16" or plan.verdict.no_bf16:
        raise Declined(line, fault.code, fault.note)
    return rewrite(context, replace(plan, mode="bf16", bf16_because=(line, fault.code, fault.note)), REMEDY)


def _trains_a_model(context: Context) -> bool:
    flow = context.training.flow
    return any(flow.calls_model(s) for region in context.training.regions for s in region.statements)
