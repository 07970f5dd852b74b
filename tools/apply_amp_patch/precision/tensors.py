"""Which expressions are tensors for certain, so that `.float()` can stand behind them; a weight may be a number."""

import ast

from ..context import Context
from ..models import is_model
from .dtypes import SAME

_DEEPEST = 6


def is_tensor(context: Context, node: ast.expr, depth: int = 0) -> bool:
    """Whether a value comes out of a layer, a function of torch, or a method that only tensors have."""
    match node:
        case _ if depth > _DEEPEST:
            return False
        case ast.Subscript(value=whole):
            return is_tensor(context, whole, depth + 1)
        case ast.BinOp(left=left, right=right):
            return is_tensor(context, left, depth + 1) or is_tensor(context, right, depth + 1)
        case ast.Call(func=function):
            name = context.script.called(node)
            if name is not None:
                return name.startswith("torch.")
            method = isinstance(function, ast.Attribute) and function.attr in SAME
            return method or is_model(context, function)
        case ast.Name(id=name):
            found = context.script.bindings(name, node)
            values = [
                b.value for b in found if b.kind == "assign" and b.index is None and b.value is not None
            ]
            return 0 < len(found) == len(values) and all(is_tensor(context, v, depth + 1) for v in values)
    return False
