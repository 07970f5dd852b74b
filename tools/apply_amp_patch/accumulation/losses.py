"""How a loss averages over a batch, as far as the script proves it."""

import ast
from dataclasses import dataclass

from ..context import Context
from ..flow import uses
from ..loops import Backward
from ..patch import Declined

_MEANS = {
    "MSELoss": "mse_loss",
    "L1Loss": "l1_loss",
    "SmoothL1Loss": "smooth_l1_loss",
    "HuberLoss": "huber_loss",
    "CrossEntropyLoss": "cross_entropy",
    "NLLLoss": "nll_loss",
    "BCELoss": "binary_cross_entropy",
    "BCEWithLogitsLoss": "binary_cross_entropy_with_logits",
}
_FUNCTIONS = set(_MEANS.values())


@dataclass(frozen=True)
class Reduction:
    """`target` is the source of the tensor whose terms a mean runs over; None for a sum."""

    target: str | None
    ignore_index: str | None = None
    can_ignore: bool = False  # class targets may be ignored


def reduction_of(context: Context, backward: Backward, body: list[ast.stmt]) -> Reduction:
    """Raises Declined for a loss whose average over parts of a batch is not known."""
    script = context.script
    calls = [n for s in body for n in ast.walk(s) if isinstance(n, ast.Call) and _criterion(context, n)]
    if len(calls) != 1:
        note = f"{len(calls)} known loss functions are behind the loss, one is needed"
        none = "no known loss function is behind the loss, so what it averages over is not known (a model's own loss?)"
        raise Declined(backward.call.lineno, "loss_unknown", note if calls else none)
    call, owner = calls[0], _criterion(context, calls[0])
    assert owner is not None
    options = {k.arg: k.value for k in [*call.keywords, *owner.keywords]}
    if (
        None in options
        or "weight" in options
        or "pos_weight" in options
        or len(owner.args) > (0 if owner is not call else 2)
    ):
        raise Declined(call.lineno, "loss_unknown", "class weights change what the mean runs over")
    reduction = options.get("reduction")
    text = reduction.value if isinstance(reduction, ast.Constant) else "mean" if reduction is None else None
    if "size_average" in options or "reduce" in options or text not in ("mean", "sum"):
        raise Declined(call.lineno, "loss_unknown", "the reduction of the loss is not 'mean' or 'sum'")
    _plain_use(context, backward, body, call)
    if text == "sum":
        return Reduction(None)
    target = options.get("target") or (call.args[1] if len(call.args) > 1 else None)
    if target is None:
        raise Declined(call.lineno, "loss_unknown", "the target of the loss cannot be found")
    made = {d for s in body for d in context.training.flow.defs(s)}
    if uses(target) & made:
        raise Declined(call.lineno, "loss_unknown", "the target of the loss is made by the forward pass")
    ignore = options.get("ignore_index")
    name = (script.called(owner) or "").split(".")[-1]
    classes = name in ("CrossEntropyLoss", "NLLLoss", "cross_entropy", "nll_loss")
    return Reduction(script.code(target), script.code(ignore) if ignore is not None else None, classes)


def _criterion(context: Context, call: ast.Call) -> ast.Call | None:
    """The call that names the loss: itself for a function, the constructor for a module."""
    name = context.script.called(call) or ""
    if name.startswith("torch.nn.functional.") and name.split(".")[-1] in _FUNCTIONS:
        return call
    if name:
        return None
    origins = [o for o in context.roles.origins(call.func) if (o.kind, o.name) != ("constant", "None")]
    known = all(
        o.kind == "call" and o.name.split(".")[-1] in _MEANS and o.name.startswith("torch.nn.")
        for o in origins
    )
    made = {ast.unparse(o.node): o.node for o in origins if isinstance(o.node, ast.Call)}
    return next(iter(made.values())) if known and len(made) == 1 else None


def _plain_use(context: Context, backward: Backward, body: list[ast.stmt], call: ast.Call) -> None:
    """The loss differentiated is that call, perhaps times or divided by a number, and nothing added."""
    script = context.script
    statement = script.statement(call)
    inside = backward.loss
    if (
        isinstance(inside, ast.Call)
        and isinstance(inside.func, ast.Attribute)
        and inside.func.attr == "scale"
    ):
        inside = inside.args[0]
    chain = [inside] if statement is backward.statement else [getattr(statement, "value", None), inside]
    for value in chain:
        node = value
        while isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult | ast.Div):
            node = node.left if not isinstance(node.left, ast.Constant) else node.right
        plain = node is call or isinstance(node, ast.Name | ast.Attribute)
        if not plain:
            raise Declined(backward.call.lineno, "loss_unknown", "the loss is more than one averaged term")
    names = uses(inside)
    for other in body:
        if other is statement or other is backward.statement:
            continue
        for node in ast.walk(other):
            if isinstance(node, ast.AugAssign) and uses(node.target) | {ast.unparse(node.target)} & names:
                simple = isinstance(node.op, ast.Div | ast.Mult)
                if not simple and ast.unparse(node.target) in names:
                    raise Declined(node.lineno, "loss_unknown", "a further term is added to the loss")
            if (
                isinstance(node, ast.Assign)
                and ast.unparse(node.targets[0]) in names
                and call not in ast.walk(node)
            ):
                value = node.value
                scaled = isinstance(value, ast.BinOp) and isinstance(value.op, ast.Div | ast.Mult)
                if not scaled:
                    raise Declined(node.lineno, "loss_unknown", "the loss is computed in more than one way")
