"""Losses that something else than this file's loop evaluates again: a line search, a solver, an optimizer."""

import ast

from ..context import Context
from ..names import Function
from ..patch import Declined

_RUNS_IN_PLACE = (
    "torch.",
    "functools.",
    "builtins.",
)  # what these do with a function happens where they are called


def refuse_closures(context: Context) -> None:
    """Raise where the loss would be computed under autocast here and without it there."""
    for backward in context.training.backwards:
        for call in _made_by_step(context, backward.loss):
            note = "the loss comes out of an optimizer's step, which evaluates it by itself"
            raise Declined(call.lineno, "closure", note)
    forwards = _forwards(context)
    for node in context.script.nodes:
        if not (isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)):
            continue
        if getattr(context.script.function(node), "name", "") == "make_step":
            continue  # estimate_memory's, which this loop never runs
        known = any(b.node in forwards for b in context.script.bindings(node.id, node))
        if known and _handed_on(context, node):
            note = (
                f"{node.id} runs the forward pass here, and again where it is handed on, outside of autocast"
            )
            raise Declined(node.lineno, "closure", note)


def _made_by_step(context: Context, loss: ast.expr) -> list[ast.Call]:
    """The calls `optimizer.step(closure)` whose result is the loss."""
    names = [n for n in ast.walk(loss) if isinstance(n, ast.Name)]
    values = [b.value for n in names for b in context.script.bindings(n.id, n)]
    return [
        v
        for v in values
        if isinstance(v, ast.Call)
        and isinstance(v.func, ast.Attribute)
        and v.func.attr == "step"
        and _takes(v)
    ]


def _takes(call: ast.Call) -> bool:
    return bool(call.args or call.keywords)


def _forwards(context: Context) -> set[ast.AST]:
    """The plain functions of this file that a region calls and that run the model."""
    training, script = context.training, context.script
    statements = [s for region in training.regions for s in region.statements]
    calls = [n for s in statements for n in ast.walk(s) if isinstance(n, ast.Call)]
    return {
        f
        for call in calls
        for f in context.roles.callees(call)
        if isinstance(f, Function) and script.method_class(f) is None
        if any(training.flow.calls_model(s) for s in f.body)
    }


def _handed_on(context: Context, node: ast.Name) -> bool:
    """Whether a name is put in a container, or handed to code that is not in this file."""
    above = context.script.parents[node]
    if isinstance(above, ast.keyword):
        above = context.script.parents[above]
    if not isinstance(above, ast.Call):
        return isinstance(above, ast.Dict | ast.List)
    name = context.script.called(above) or ""
    return node is not above.func and not name.startswith(_RUNS_IN_PLACE) and not context.roles.callees(above)
