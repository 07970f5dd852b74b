"""Adversarial attacks: gradients that move what a model is given, by steps that half precision may round away."""

import ast

from ..context import Context
from ..loops import Step
from ..patch import Declined
from ..script import Script
from .vanishing import size_of

_FINEST = 1e-3  # a step that half precision may round away


def moves_inputs(context: Context) -> bool:
    """Whether nothing is trained but what is added to a model's inputs: half precision would make the attack weaker.

    Raises Declined where weights are trained as well.
    """
    attacks = [step for step in context.training.steps if _perturbs(context, step)]
    if not context.training.steps:
        return bool(_signed(context) & _given_to_models(context))
    if attacks and len(attacks) < len(context.training.steps):
        note = (
            f"{attacks[0].path} steps what is added to a model's inputs, and half precision may round it away"
        )
        raise Declined(attacks[0].call.lineno, "cancellation", note)
    return bool(attacks)


def _signed(context: Context) -> set[str]:
    """x of `x.grad.sign()`."""
    signs = [c for c in context.script.calls if ast.unparse(c.func).split(".")[-1] == "sign"]
    reads = [n for c in signs for n in ast.walk(c) if isinstance(n, ast.Attribute) and n.attr == "grad"]
    return {ast.unparse(n.value) for n in reads}


def _perturbs(context: Context, step: Step) -> bool:
    """`SGD([delta])` with `model(x + delta)`."""
    made = [o.node for o in context.roles.origins(step.optimizer)]
    held = [node.args[0] for node in made if isinstance(node, ast.Call) and node.args]
    if not held or len(held) < len(made) or not all(isinstance(h, ast.List | ast.Tuple) for h in held):
        return False
    moved = {ast.unparse(n) for h in held for n in ast.iter_child_nodes(h) if isinstance(n, ast.expr)}
    sums = {ast.unparse(n) for n in context.script.nodes if _adds(n, moved)}
    for node in context.script.nodes:
        if isinstance(node, ast.Assign) and ast.unparse(node.value) in sums:
            sums |= {ast.unparse(target) for target in node.targets}
    return bool(sums & _given_to_models(context))


def _adds(node: ast.AST, values: set[str]) -> bool:
    added = isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add)
    return added and bool({ast.unparse(node.left), ast.unparse(node.right)} & values)  # type: ignore[attr-defined]


def _given_to_models(context: Context) -> set[str]:
    """The arguments of the calls in the training's forward passes."""
    calls = [n for r in context.training.regions for s in r.statements for n in ast.walk(s)]
    return {ast.unparse(a) for c in calls if isinstance(c, ast.Call) for a in c.args}


def nudges(script: Script, node: ast.AST) -> bool:
    """`model(x + self.xi * d)` with an xi of 1e-6, where d gets a gradient: virtual adversarial training."""
    if not isinstance(node, ast.Call) or (script.called(node) or "").startswith("torch."):
        return False
    sums = [a for a in node.args if isinstance(a, ast.BinOp) and isinstance(a.op, ast.Add | ast.Sub)]
    for product in (side for s in sums for side in (s.left, s.right)):
        match product:
            case ast.BinOp(left=left, op=ast.Mult(), right=right):
                for number, moved in ((left, right), (right, left)):
                    size = size_of(script, number)
                    if size is not None and 0 < size < _FINEST and _is_moved(script, moved):
                        return True
    return False


def _is_moved(script: Script, node: ast.expr) -> bool:
    """Whether a name or attribute gets a gradient of its own."""
    if not isinstance(node, ast.Name | ast.Attribute):
        return False
    owners = {f"{ast.unparse(node)}.{word}" for word in ("requires_grad_", "requires_grad", "grad")}
    return any(isinstance(n, ast.Attribute) and ast.unparse(n) in owners for n in script.nodes)
