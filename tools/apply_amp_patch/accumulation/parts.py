"""Edits that every form of accumulation makes: the weighed loss, zero_grad in front, helpers, warnings."""

import ast

from ..context import Context
from ..edits import Drop, Edit, Line, Span, indent_unit
from ..flow import path
from ..models import makes_model
from ..names import Function
from ..patch import Declined
from ..prelude import free_name, header
from .helpers import SYNC, TERMS
from .loop import BatchLoop, is_distributed, unwrapped, zeroes


def hoisted(context: Context, statements: list[ast.stmt], edits: list[Edit]) -> list[str]:
    """`zero_grad()` between forward and backward moves in front of the micro-batches."""
    script = context.script
    moved = []
    flat = unwrapped(statements)  # also out of the autocast block around a forward pass
    hidden = [c for s in flat for c in ast.walk(s) if not zeroes(s) and getattr(c, "attr", "") == "zero_grad"]
    if hidden:
        note = "zero_grad stands under a condition between the forward pass and the backward"
        raise Declined(hidden[0].lineno, "no_batch_loop", note)  # type: ignore[attr-defined]
    for statement in flat:
        if zeroes(statement):
            moved.append(script.code(statement))
            line = statement.end_lineno or statement.lineno
            stop = script.line_starts[line] if line < len(script.line_starts) else len(script.text)
            around = script.text[script.line_starts[statement.lineno - 1] : script.start(statement)]
            if (around + script.text[script.end(statement) : stop]).strip():
                raise Declined(
                    statement.lineno, "shared_line", "zero_grad shares its line with something else"
                )
            edits.append(Drop(statement.lineno, line))
    return moved


def share_edits(context: Context, found: BatchLoop, edits: list[Edit], opening: list[str]) -> str | None:
    """Weigh the loss by its part of the batch; None where the loss is a sum."""
    script, reduction = context.script, found.reduction
    if reduction.target is None:
        return None
    terms, share = free_name(script, "micro_terms"), free_name(script, "micro_share")
    extra = f", ignore_index={reduction.ignore_index}" if reduction.ignore_index else ""
    opening.append(f"{terms} = max(1, loss_terms({reduction.target}{extra}))")
    last = found.backward.statement
    indent = script.indentation(last.lineno)
    text = f"{share} = loss_terms({reduction.target}{extra}) / {terms}"
    if reduction.ignore_index and is_distributed(context):
        note = "a part whose targets are all ignored would leave one process without gradients to exchange"
        raise Declined(last.lineno, "loss_unknown", note)
    if reduction.can_ignore and not is_distributed(context):
        unit = indent_unit(script, last.lineno)
        text += f"\nif not {share}:\n{unit}continue  # every target here is ignored, and the mean of nothing is nan"
    edits.append(Line(last.lineno, indent, text, inside=True))
    loss = found.backward.loss
    inner = inside_scale(context, loss)
    start, end = script.start(inner), script.end(inner)
    scaled = inner is not loss
    bare = isinstance(inner, ast.Name | ast.Call | ast.Attribute | ast.Subscript)
    left, right = (
        ("", f" * {share}") if scaled and bare else ("(", f" * {share})") if bare else ("((", f") * {share})")
    )
    edits += [Span(start, start, left), Span(end, end, right)] if left else [Span(end, end, right)]
    return share


def inside_scale(context: Context, loss: ast.expr) -> ast.expr:
    """The loss itself inside `scaler.scale(loss)`."""
    if (
        isinstance(loss, ast.Call)
        and isinstance(loss.func, ast.Attribute)
        and loss.func.attr == "scale"
        and loss.args
    ):
        return loss.args[0]
    return loss


def after_loop(context: Context, loop: ast.For) -> set[str]:
    """Names read behind the loop in its function."""
    script = context.script
    function = script.function(loop)
    nodes = ast.walk(function) if function is not None else script.nodes
    inside = set(ast.walk(loop))
    return {
        n.id
        for n in nodes
        if isinstance(n, ast.Name) and n not in inside and n.lineno > (loop.end_lineno or 0)
    }


def helpers(context: Context, found: BatchLoop, first: list[str]) -> Line:
    """The functions that the edits call, written out at module level."""
    script = context.script
    text = [*first]
    text += ["", "", *TERMS] if found.reduction.target is not None else []
    wrapped = wrapped_model(context, found) is not None
    text += ["", "", *SYNC] if wrapped else []
    lines = (["import contextlib"] if wrapped else []) + ([] if script.torch_name() else ["import torch"])
    for name in ("micro_batches", "micro_groups", "micro_size", "loss_terms", "synced_last"):
        if name in script.spelled:
            raise Declined(found.loop.lineno, "name_taken", f"the script has a {name} of its own")
    unit, torch = indent_unit(script), script.torch_name() or "torch"
    lines += [
        *([""] if lines else []),
        *["", *(s.replace("    ", unit).replace("torch.", f"{torch}.") for s in text)],
    ]
    return header(script, lines)


def synced(context: Context, found: BatchLoop, parts: str) -> str:
    """The parts of a step, with gradients exchanged after the last one only where processes train together."""
    model = wrapped_model(context, found)
    return f"synced_last({model}, {parts})" if model else parts


def wrapped_model(context: Context, found: BatchLoop) -> str | None:
    """The name by which the loop calls a DistributedDataParallel model."""
    for call in (n for s in found.body for n in ast.walk(s) if isinstance(n, ast.Call)):
        if isinstance(call.func, ast.Name | ast.Attribute) and _is_wrapped(context, call.func, 0):
            return path(call.func)
    return None


def _is_wrapped(context: Context, node: ast.expr, depth: int) -> bool:
    script, roles = context.script, context.roles
    if isinstance(node, ast.Attribute):
        values = [value for _, value, index in roles.assigned(node) if index is None]
    elif isinstance(node, ast.Name):
        bindings = script.bindings(node.id, node)
        values = [b.value for b in bindings if b.kind == "assign" and b.value is not None]
        for parameter in (b.node for b in bindings if b.kind == "parameter"):
            function = script.parents[script.parents[parameter]]
            sites = roles.call_sites(function) if isinstance(function, Function) else []
            handed = [roles.argument(s, function, node.id) for s in sites]  # type: ignore[arg-type]
            if depth < 4 and any(v is not None and _is_wrapped(context, v, depth + 1) for v in handed):
                return True
    else:
        return False
    return any("DistributedDataParallel" in (script.called(v) or "") for v in values)


def warnings(context: Context, found: BatchLoop) -> list[str]:
    scripts = [context.script, *context.project.values()]
    names = {script.called(c) or "" for script in scripts for c in script.calls}
    notes = []
    note = "BatchNorm takes its statistics from each micro-batch, so results differ from the whole batch"
    if any("BatchNorm" in n or n.startswith(("torchvision.models.", "timm.")) for n in names):
        notes.append(note)
    elif not any(makes_model(n) for n in names):  # the layers are out of sight
        notes.append(f"if the model has BatchNorm: {note}")
    if is_distributed(context) and wrapped_model(context, found) is None:
        notes.append(
            "DistributedDataParallel exchanges gradients per micro-batch: right, but slower than with no_sync()"
        )
    return notes
