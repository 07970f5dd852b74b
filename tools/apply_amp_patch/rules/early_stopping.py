"""Training ends when the validation loss has not improved for some epochs.

    for epoch in range(epochs):                 for epoch in range(epochs):
        train(...)                                  train(...)
        val_loss = evaluate(...)          ->        val_loss = evaluate(...)
                                                    if val_loss < early_best: ...
                                                    elif ...: break

The quantity watched has to be a loss by its computation, not by its name. No torch API: a plain rule (Prechelt 1998,
"Early stopping - but when?").
"""

import ast

from ..context import Context
from ..edits import Line, indent_unit
from ..epochs import Epochs, find_epochs
from ..flow import path
from ..names import Function
from ..patch import Declined, Patch, Site
from ..prelude import free_name

REMEDY = "early_stopping"
_PATIENCE = 5  # epochs; long enough to sit out the noise of a validation loss, and the one number to adapt


def propose(context: Context) -> Patch:
    """A stop behind the last statement of the epoch loop."""
    script = context.script
    for name in sorted(script.spelled):
        plain = name.lower().replace("_", "")
        if plain.startswith(("earlystop", "patience", "earlystale")):
            line = next(
                (
                    int(getattr(n, "lineno", 1))
                    for n in script.nodes
                    if getattr(n, "id", getattr(n, "attr", "")) == name
                ),
                1,
            )
            return Patch("already", [Site(line, REMEDY, "keep", "already", f"the script has {name}")])
    if not context.training.backwards or not context.training.steps:
        return Patch(
            "nothing_to_do", [Site(1, REMEDY, "keep", "no_training_loop", "no training loop in this file")]
        )
    try:
        return _stop(context, find_epochs(context))
    except Declined as reason:
        return reason.as_patch(REMEDY)


def _stop(context: Context, epochs: Epochs) -> Patch:
    script = context.script
    for call in script.calls:
        if "DistributedDataParallel" in (script.called(call) or ""):
            raise Declined(call.lineno, "distributed", "the processes have to stop together")
    if epochs.loop.orelse or any(isinstance(n, ast.Continue) for s in epochs.loop.body for n in _own(s)):
        raise Declined(epochs.loop.lineno, "epochs_not_found", "the loop over epochs has jumps of its own")
    watched = _validation_loss(context, epochs)
    if watched is None:
        note = "no validation loss is computed once per epoch in the loop over epochs"
        raise Declined(epochs.loop.lineno, "no_validation_loss", note)
    best, stale = free_name(script, "early_best"), free_name(script, "early_stale")
    last = epochs.loop.body[-1]
    unit, inner = indent_unit(script), script.indentation(last.lineno)
    lines = [
        f"if float({watched}) < {best}:",
        f"{unit}{best}, {stale} = float({watched}), 0",
        "else:",
        f"{unit}{stale} += 1",
        f"if {stale} >= {_PATIENCE}:  # epochs without a better validation loss",
        f"{unit}break",
    ]
    edits = [
        Line(
            epochs.loop.lineno, script.indentation(epochs.loop.lineno), f'{best}, {stale} = float("inf"), 0'
        ),
        Line((last.end_lineno or last.lineno) + 1, inner, "\n".join(lines)),
    ]
    site = Site(
        last.lineno, REMEDY, "edit", "early_stop", f"ends {_PATIENCE} epochs after the best {watched}"
    )
    return Patch(
        "patched",
        [site],
        list(edits),
        ["keep the weights of the best epoch: the last ones are older by then"],
    )


def _own(statement: ast.stmt) -> list[ast.AST]:
    """The nodes of a statement without those of loops inside it."""
    if isinstance(statement, ast.For | ast.While | ast.FunctionDef):
        return []
    return [
        n
        for child in ast.iter_child_nodes(statement)
        for n in [child, *(_own(child) if isinstance(child, ast.stmt) else [])]
    ]


def _validation_loss(context: Context, epochs: Epochs) -> str | None:
    """A name set at the level of the epoch loop, by a function or loop that evaluates and sums a loss."""
    training = context.training
    trained = {s for found in training.contributors.values() for s in found}
    found = None
    for statement in epochs.loop.body:
        if training.is_barrier(statement) or not trained.isdisjoint(ast.walk(statement)):
            continue
        if (
            isinstance(statement, ast.Assign)
            and isinstance(statement.value, ast.Call)
            and len(statement.targets) == 1
        ):
            for function in context.roles.callees(statement.value):
                place = _returned_loss(context, function)
                target = statement.targets[0]
                if place is None:
                    continue
                if place == -1 and isinstance(target, ast.Name):
                    found = target.id
                elif isinstance(target, ast.Tuple) and 0 <= place < len(target.elts):
                    found = path(target.elts[place])
        elif isinstance(statement, ast.For | ast.With):
            found = _summed_loss(context, [statement]) or found
    return found


def _returned_loss(context: Context, function: Function) -> int | None:
    """Which returned value is a summed loss: -1 for the whole, a place in a tuple, None for none."""
    if context.training.effect(function):
        return None
    summed = _summed_loss(context, function.body)
    returns = [n for n in ast.walk(function) if isinstance(n, ast.Return) and n.value is not None]
    if summed is None or len(returns) != 1:
        return None
    value = returns[0].value
    if isinstance(value, ast.Tuple):
        places = [i for i, element in enumerate(value.elts) if _is_average(element, summed)]
        return places[0] if len(places) == 1 else None
    return -1 if value is not None and _is_average(value, summed) else None


def _is_average(node: ast.expr, name: str) -> bool:
    """The sum itself, or divided by something."""
    while isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        node = node.left
    return path(node) == name


def _summed_loss(context: Context, body: list[ast.stmt]) -> str | None:
    """The name to which a loss is added in a loop of these statements."""
    for statement in body:
        for node in ast.walk(statement):
            if (
                isinstance(node, ast.AugAssign)
                and isinstance(node.op, ast.Add)
                and context.script.loop(node) is not None
            ) and _is_loss(context, node.value):
                return path(node.target)
    return None


def _is_loss(context: Context, node: ast.expr, depth: int = 0) -> bool:
    """A loss function's value, through names, `.item()`, and products with sizes."""
    if isinstance(node, ast.Call):
        name = context.script.called(node) or ""
        if name.startswith("torch.nn.functional.") and ("loss" in name or "cross_entropy" in name):
            return True
        if isinstance(node.func, ast.Attribute) and node.func.attr in ("item", "detach", "cpu", "mean"):
            return _is_loss(context, node.func.value, depth)
        made = context.roles.constructor(node.func, "torch.nn.")
        return bool(made) and all(n.endswith("Loss") for n in made)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        return _is_loss(context, node.left, depth) or _is_loss(context, node.right, depth)
    if isinstance(node, ast.Name) and depth < 3:
        values = [
            b.value for b in context.script.bindings(node.id, node) if b.value is not None and b.index is None
        ]
        return bool(values) and all(_is_loss(context, v, depth + 1) for v in values)
    return False
