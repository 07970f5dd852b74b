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
import re

from ..context import Context
from ..edits import Line, indent_unit
from ..epochs import Epochs, find_epochs, no_training
from ..flow import path
from ..names import Function
from ..patch import Declined, Patch, Site
from ..precision.gradients import line_of
from ..prelude import free_name

REMEDY = "early_stopping"
_HELD_OUT = {"val", "valid", "validation", "dev", "eval"}
_TEST = {"test", "testing", "tst"}
_TRAIN = {"train", "training", "trn"}
_SEVERAL_PROCESSES = (
    "torch.distributed.",
    "torch.nn.parallel.DistributedDataParallel",
    "torch.nn.parallel.distributed.",
    "horovod.",
    "deepspeed.",
    "accelerate.Accelerator",
    "lightning.fabric.",
    "lightning.Fabric",
)
_PATIENCE = 5  # epochs; long enough to sit out the noise of a validation loss, and the one number to adapt


def propose(context: Context) -> Patch:
    """A stop behind the last statement of the epoch loop."""
    script = context.script
    present = next((n for n in script.nodes if _stops_early(n)), None)
    if present is not None:
        name = _spelling(present) or ast.unparse(present)
        return Patch("already", [Site(line_of(present), REMEDY, "keep", "already", f"the script has {name}")])
    if (nothing := no_training(context, REMEDY)) is not None:
        return nothing
    try:
        return _stop(context, find_epochs(context))
    except Declined as reason:
        return reason.as_patch(REMEDY)


def _stop(context: Context, epochs: Epochs) -> Patch:
    script = context.script
    for call in script.calls:
        if (script.called(call) or "").startswith(_SEVERAL_PROCESSES):
            raise Declined(call.lineno, "distributed", "the processes have to stop together")
    if epochs.loop.orelse or any(isinstance(n, ast.Continue) for s in epochs.loop.body for n in _own(s)):
        raise Declined(epochs.loop.lineno, "epochs_not_found", "the loop over epochs has jumps of its own")
    watched, words = _choose(_validation_losses(context, epochs), epochs)
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
    warnings = [
        f"the last weights are {_PATIENCE} epochs past the best ones: save the model whenever {watched} improves"
    ]
    if not words.isdisjoint(_TEST):
        warnings.append(
            f"{watched} now decides when to stop: what it says of the model is no longer impartial"
        )
    return Patch("patched", [site], list(edits), warnings)


def _spelling(node: ast.AST) -> str:
    return str(getattr(node, "id", getattr(node, "attr", "")))


def _stops_early(node: ast.AST) -> bool:
    """A helper for it by name, or a comparison with the epochs to wait; a patience alone may be a schedule's."""
    if isinstance(node, ast.Compare):
        return any("patience" in _spelling(n).lower() for n in ast.walk(node))
    return _spelling(node).lower().replace("_", "").startswith(("earlystop", "earlystale"))


def _own(statement: ast.stmt) -> list[ast.AST]:
    """The nodes of a statement without those of loops inside it."""
    if isinstance(statement, ast.For | ast.While | ast.FunctionDef):
        return []
    return [
        n
        for child in ast.iter_child_nodes(statement)
        for n in [child, *(_own(child) if isinstance(child, ast.stmt) else [])]
    ]


def _choose(found: dict[str, set[str]], epochs: Epochs) -> tuple[str, set[str]]:
    """The one loss of data held out for this, with the words around it: not of the data trained on, or of the test."""
    found = {n: w for n, w in found.items() if w.isdisjoint(_TRAIN) or not w.isdisjoint(_HELD_OUT | _TEST)}
    if not found:
        note = "no validation loss is computed once per epoch in the loop over epochs"
        raise Declined(epochs.loop.lineno, "no_validation_loss", note)
    if len(found) > 1:
        held = {n: w for n, w in found.items() if w.isdisjoint(_TEST) and not w.isdisjoint(_HELD_OUT)}
        if len(held) != 1:
            note = (
                f"several losses are computed per epoch ({', '.join(found)}), and which to watch is not known"
            )
            raise Declined(epochs.loop.lineno, "no_validation_loss", note)
        found = held
    return next(iter(found.items()))


def _words(*nodes: ast.AST) -> set[str]:
    """The words that names are made of: `val_loss` is val and loss."""
    return {w for n in nodes for w in re.split(r"[^a-z]+", ast.unparse(n).lower())}


def _validation_losses(context: Context, epochs: Epochs) -> dict[str, set[str]]:
    """Names set at the level of the epoch loop, by a function or loop that evaluates and sums a loss."""
    training = context.training
    trained = {s for found in training.contributors.values() for s in found}
    found: dict[str, set[str]] = {}
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
                target: ast.expr = statement.targets[0]
                if place is not None and isinstance(target, ast.Tuple) and 0 <= place < len(target.elts):
                    target = target.elts[place]
                elif place != -1:
                    continue
                if isinstance(target, ast.Name):
                    found[target.id] = _words(target, *statement.value.args, *statement.value.keywords)
        elif isinstance(statement, ast.For | ast.With):
            name = _summed_loss(context, [statement], epochs.loop.body)
            if name is not None:
                loops = [n.iter for n in ast.walk(statement) if isinstance(n, ast.For)]
                found[name] = _words(*loops) | set(name.lower().split("_"))
    return found


def _returned_loss(context: Context, function: Function) -> int | None:
    """Which returned value is a summed loss: -1 for the whole, a place in a tuple, None for none."""
    if context.training.effect(function):
        return None
    summed = _summed_loss(context, function.body, function.body)
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


def _summed_loss(context: Context, body: list[ast.stmt], around: list[ast.stmt]) -> str | None:
    """The name to which a loss is added in a loop of these statements, from zero each time `around` runs."""
    for node in (n for statement in body for n in ast.walk(statement)):
        loop = context.script.loop(node) if isinstance(node, ast.AugAssign) else None
        if isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Add) and loop is not None:
            name = path(node.target)
            if name and _is_loss(context, node.value) and _from_zero(name, loop, around):
                return name
    return None


def _from_zero(name: str, loop: ast.AST, around: list[ast.stmt]) -> bool:
    """The sum starts anew before the loop, and nothing but an average replaces it in or behind the loop."""
    first, last = loop.lineno, loop.end_lineno  # type: ignore[attr-defined]
    assigned = [s for a in around for s in ast.walk(a) if isinstance(s, ast.Assign | ast.AnnAssign)]
    sets = [s for s in assigned if any(path(n) == name and _is_stored(n) for n in ast.walk(s))]
    begun = [s for s in sets if s.lineno < first]
    later = [s for s in sets if s.lineno > last and not _mentions(s.value, name)]
    return bool(begun) and not later and not any(first <= s.lineno <= last for s in sets)


def _is_stored(node: ast.AST) -> bool:
    return isinstance(getattr(node, "ctx", None), ast.Store)


def _mentions(value: ast.expr | None, name: str) -> bool:
    return value is not None and any(path(n) == name for n in ast.walk(value))


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
