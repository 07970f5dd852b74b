"""Scripts that use mixed precision already: kept, migrated from deprecated names, or declined when half done."""

import ast
from collections.abc import Sequence

from ..context import Context
from ..edits import Edit, Line, apply
from ..patch import Declined, Patch, Site
from ..script import Script
from .gradients import find_readings
from .migrate import DEPRECATED, is_fallback, migrate
from .proof import disprove

_AUTOCAST = {"torch.autocast", "torch.amp.autocast", "torch.amp.autocast_mode.autocast"}
_SCALER = {"torch.amp.GradScaler", "torch.amp.grad_scaler.GradScaler"}
_REMEDY = "mixed_precision"


def existing_amp(context: Context) -> Patch | None:
    """None where the script uses no mixed precision."""
    script = context.script
    uses = [
        (n, name)
        for n in script.nodes
        if isinstance(n, ast.Name | ast.Attribute) and (name := script.qualified(n))
    ]
    old = any(name.startswith(DEPRECATED) and not is_fallback(script, n) for n, name in uses)
    autocasts = [
        n for n, name in uses if name in _AUTOCAST or (name.startswith(DEPRECATED) and "autocast" in name)
    ]
    scalers = [
        n for n, name in uses if name in _SCALER or (name.startswith(DEPRECATED) and "GradScaler" in name)
    ]
    if not (old or autocasts or scalers):
        for call in script.method_calls("unscale_"):
            raise Declined(call.lineno, "partial_amp", "a scaler of another file is at work here")
        return None
    _half_done(context, autocasts, scalers)
    missing = _unscales(context) if scalers or any(s.scaled for s in context.training.steps) else None
    if missing is not None:
        return missing
    fault = disprove(context)
    if fault is not None:
        raise fault
    if old:
        return migrate(context, _REMEDY)
    node = (autocasts or scalers)[0]
    return Patch("already", [Site(node.lineno, _REMEDY, "keep", "already", "mixed precision is in place")])


def _half_done(context: Context, autocasts: Sequence[ast.expr], scalers: Sequence[ast.expr]) -> None:
    """Raise where only one half of mixed precision is there."""
    script = context.script
    elsewhere = _helper_of_others(context) or _autocasts_elsewhere(context)
    if context.training.backwards and scalers and not autocasts and not elsewhere:
        raise Declined(
            scalers[0].lineno, "partial_amp", "gradients are scaled, but nothing in this file is autocast"
        )
    scaled = bool(scalers) or _helper_of_scaler(context)
    for node in autocasts:
        call = script.parents[node]
        both = script.parents.get(call)
        if (
            isinstance(call, ast.Call)
            and isinstance(both, ast.BoolOp)
            and isinstance(script.parents[both], ast.withitem)
        ):
            note = f"{ast.unparse(both)} enters one of them only: write a comma for `and`, then patch again"
            raise Declined(call.lineno, "partial_amp", note)
        block = next((a for a in script.ancestors(call) if isinstance(a, ast.With)), None)
        if (
            isinstance(call, ast.Call)
            and block is not None
            and any(i.context_expr is call for i in block.items)
        ):
            _check_block(context, call, set(ast.walk(block)), scaled)


def _check_block(context: Context, call: ast.Call, inside: set[ast.AST], scaled: bool) -> None:
    """Raise for an autocast block that trains in fp16 without a scaler, or holds a backward."""
    training = context.training
    forward = _runs_forward(context, call, inside)
    if forward and not scaled and _is_fp16(context.script, call):
        note = "fp16 autocast without a scaler: small gradients vanish"
        raise Declined(call.lineno, "partial_amp", note)
    for backward in training.backwards:
        if backward.call in inside and not _off(call):
            raise Declined(backward.call.lineno, "backward_in_autocast", "backward runs under autocast")


def _runs_forward(context: Context, call: ast.Call, inside: set[ast.AST]) -> bool:
    """Whether a block is part of a forward pass that is differentiated: of a region, or of a function it calls."""
    training, function = context.training, context.script.function(call)
    if any(s in inside for region in training.regions for s in region.statements):
        return True
    if function is None or not training.backwards:
        return False
    regions = {n for r in training.regions for s in r.statements for n in ast.walk(s)}
    return any(site in regions for site in context.roles.call_sites(function))


def _off(call: ast.Call) -> bool:
    return any(
        k.arg == "enabled" and isinstance(k.value, ast.Constant) and k.value.value is False
        for k in call.keywords
    )


def _helper_of_scaler(context: Context) -> bool:
    """A scaler that comes as a parameter or from another file."""
    return any(context.script.method_calls(name) for name in ("scale", "unscale_"))


def _is_fp16(script: Script, call: ast.Call) -> bool:
    """fp16 written out, or by default on CUDA."""
    dtype = next((k.value for k in call.keywords if k.arg == "dtype"), None)
    dtype = dtype or (
        call.args[1] if len(call.args) > 1 else None
    )  # its place in today's and in torch.cuda's form
    if dtype is not None:
        return script.qualified(dtype) in ("torch.float16", "torch.half")
    return "cuda" in ast.unparse(call) and not _off(call) and not any(k.arg is None for k in call.keywords)


def _unscales(context: Context) -> Patch | None:
    """The one half that can be completed safely: `unscale_` in front of clipping."""
    script, training = context.script, context.training
    if script.method_calls("unscale_") or not all(s.scaled for s in training.steps):
        return None
    readings = find_readings(context)
    if not readings.unscales or readings.uncovered:
        return None
    edits: list[Edit] = []
    sites: list[Site] = []
    for unscale in readings.unscales:
        step = next(s for s in training.steps if s.path == unscale.optimizer)
        assert isinstance(step.call.func, ast.Attribute)
        scaler = script.code(step.call.func.value)
        line = unscale.before.lineno
        edits.append(Line(line, script.indentation(line), f"{scaler}.unscale_({unscale.optimizer})"))
        sites.append(Site(line, _REMEDY, "edit", "unscale", "gradients were read while they were scaled"))
    proven = disprove(Context(Script(apply(script, edits)), context.wishes, context.path, context.root))
    return Patch("patched", sites, edits) if proven is None else None


def _autocasts_elsewhere(context: Context) -> bool:
    """`with autocast(amp):` of another package around the forward, or in a module of another project file."""
    for block in (n for n in context.script.nodes if isinstance(n, ast.With)):
        for call in (i.context_expr for i in block.items if isinstance(i.context_expr, ast.Call)):
            named = (context.script.called(call) or "").endswith(".autocast")
            if named and _runs_forward(context, call, set(ast.walk(block))):
                return True
    modules = (
        (script, holder)
        for script in context.project.values()
        for holder in filter(context.reached.holds, script.classes)
        if context.roles_of(script).is_module_class(holder)
    )
    return any(
        isinstance(n, ast.Call) and ast.unparse(n.func).split(".")[-1] == "autocast"
        for _, holder in modules
        for n in ast.walk(holder)
    )


def _helper_of_others(context: Context) -> bool:
    """A helper module that scales for others (a loss scaler class) autocasts nothing itself."""
    return not any(
        context.training.flow.calls_model(s) for r in context.training.regions for s in r.statements
    )
