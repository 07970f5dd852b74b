"""Losses of plain parameters: a temperature, say, that no model's output reaches with a gradient."""

import ast

from ..context import Context
from ..flow import path
from ..loops import Backward

_CUTS = {"detach", "item", "tolist", "numpy"}
_NO_GRAD = {"torch.no_grad", "torch.inference_mode"}
_LEAVES = (
    *("torch.zeros", "torch.ones", "torch.full", "torch.tensor", "torch.Tensor", "torch.nn.Parameter"),
    *("torch.rand", "torch.arange", "torch.linspace"),
)


def is_of_leaves(context: Context, backward: Backward) -> bool:
    """Whether what carries the loss's gradient leads to tensors of this file and to nothing else."""
    defined: dict[str, list[ast.Assign]] = {}
    for statement in context.training.contributors[backward]:
        for node in ast.walk(statement):
            if isinstance(node, ast.Assign):
                for name in context.training.flow.defs(node):
                    defined.setdefault(name, []).append(node)
    queue: list[ast.expr] = [backward.loss]
    seen: set[str] = set()
    while queue:
        for node in _carrying(context, queue.pop()):
            carrier = path(node)
            if carrier is None:
                return False
            if carrier in seen:
                continue
            seen.add(carrier)
            if carrier in defined:
                queue += [a.value for a in defined[carrier] if not _under_no_grad(context, a)]
            elif not all(
                o.kind == "call" and o.name.startswith(_LEAVES) for o in context.roles.origins(node)
            ):
                return False
    return bool(seen)


def _carrying(context: Context, node: ast.expr) -> list[ast.expr]:
    """The names in an expression that a gradient may reach; the whole of what cannot be told apart."""
    if isinstance(node, ast.Constant):
        return []
    if isinstance(node, ast.Call):
        method = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        name = context.script.called(node)
        if method in _CUTS and name is None:
            return []
        if name is not None and name.startswith(_LEAVES):
            return []  # begins here
        if name is None and (not method or context.roles.callees(node)):
            return [node]  # a model, or a function that may run one
        if name is not None and not name.startswith("torch."):
            return [node]
        owner = [node.func.value] if name is None and isinstance(node.func, ast.Attribute) else []
        inner = [*owner, *node.args, *(k.value for k in node.keywords)]
    elif isinstance(node, ast.BinOp):
        inner = [node.left, node.right]
    elif isinstance(node, ast.UnaryOp):
        inner = [node.operand]
    elif isinstance(node, ast.Attribute) and node.attr == "data":
        return []
    else:
        return [node]
    return [found for value in inner for found in _carrying(context, value)]


def _under_no_grad(context: Context, statement: ast.stmt) -> bool:
    return any(
        isinstance(above, ast.With)
        and any(context.script.called(item.context_expr) in _NO_GRAD for item in above.items)
        for above in context.script.ancestors(statement)
    )
