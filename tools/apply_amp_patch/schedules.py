"""Whether a new schedule of the learning rate would be the only one, and be built as often as its optimizer."""

import ast

from .context import Context
from .epochs import Epochs
from .names import Function
from .patch import Declined

_CALM = ("torch.", "builtins.", "wandb.", "logging.", "numpy.", "tqdm.")


def check_alone(context: Context, epochs: Epochs) -> None:
    """Raises Declined where something else sets the learning rate, or the loop may run again with the optimizer."""
    for call in context.script.method_calls("step"):
        if _may_schedule(context, call):
            note = f"{ast.unparse(call)} may be a schedule of its own"
            raise Declined(call.lineno, "schedule_elsewhere", note)
    for call in context.script.calls:
        if _may_set(context, call):
            note = f"{ast.unparse(call.func)} is handed the optimizer and may set its learning rate"
            raise Declined(call.lineno, "schedule_elsewhere", note)
    inside = set(ast.walk(epochs.loop))
    if any(o.node in inside for o in context.roles.origins(epochs.step.optimizer)):
        note = "the optimizer is built anew in the loop over epochs, which sets its rate"
        raise Declined(epochs.loop.lineno, "schedule_elsewhere", note)
    if not _built_together(context, epochs):
        note = "the loop may run again with the same optimizer, and each run would start a schedule"
        raise Declined(epochs.loop.lineno, "epochs_not_found", note)


def _may_schedule(context: Context, call: ast.Call) -> bool:
    """`x.step(...)` as a statement, where x is no optimizer and not known to be something else."""
    assert isinstance(call.func, ast.Attribute)
    if any(s.call is call for s in context.training.steps) or context.roles.callees(call):
        return False
    alone = isinstance(context.script.parents[call], ast.Expr)
    return alone and context.roles.stepper(call.func.value) in ("scheduler", "unknown")


def _may_set(context: Context, call: ast.Call) -> bool:
    """A function that is handed the optimizer, and sets a learning rate or has its body out of sight."""
    paths = {s.path for s in context.training.steps}
    handed = [*call.args, *(k.value for k in call.keywords)]
    if not any(ast.unparse(a) in paths for a in handed):
        return False
    if (context.script.called(call) or "").startswith(_CALM):
        return False
    functions = context.roles.callees(call)
    nodes = [n for f in functions for n in ast.walk(f)] or [n for _, n in context.run_elsewhere(call)]
    if not nodes:
        method = call.func.attr if isinstance(call.func, ast.Attribute) else ""
        return method not in ("step", "unscale_")
    return any(isinstance(n, ast.Attribute) and n.attr == "param_groups" for n in nodes)


def _built_together(context: Context, epochs: Epochs) -> bool:
    """The loop runs once for each optimizer that is built."""
    script = context.script
    built = [o.node for o in context.roles.origins(epochs.step.optimizer) if isinstance(o.node, ast.Call)]
    homes = {script.function(node) for node in built}
    at: ast.AST = epochs.loop
    for _ in range(6):
        looped = script.loop(at)
        while looped is not None:
            if not all(node in set(ast.walk(looped)) for node in built):
                return False
            looped = script.loop(looped)
        function = script.function(at)
        if function in homes or function is None:
            return bool(built)
        sites = context.roles.call_sites(function) if isinstance(function, Function) else []
        if len(sites) != 1:
            return False
        at = sites[0]
    return False
