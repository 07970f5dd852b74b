"""Squared distances as small differences of large numbers, which half precision cannot tell apart."""

import ast

from ..names import last_name
from ..script import Script
from .coordinates import is_product

_MOST_STEPS = 4  # from a product to what it is called


def expands_distance(script: Script, node: ast.AST) -> bool:
    """`-2 * x @ y.T` in a function that sums squares: squared distances, as small differences of large numbers."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        factors: list[ast.AST] = [node.left, node.right]
        if not any(_is_product(script, f) for f in factors):
            return False
    elif is_product(node):
        values = [node.left, node.right] if isinstance(node, ast.BinOp) else [*node.args, *node.keywords]  # type: ignore[attr-defined]
        factors = [f for v in values for f in ([v.left, v.right] if isinstance(v, ast.BinOp) else [v])]
    else:
        return False
    if not any(map(_is_two, factors)) or any(_is_float(n) for n in ast.walk(node)):
        return False
    if _under_root(script, node):
        return True
    function = script.function(node)
    return any(_sums_squares(n) for n in ast.walk(function if function is not None else script.tree))


def _under_root(script: Script, node: ast.AST) -> bool:
    """`torch.sqrt(2 - 2 * x @ y.T)` of unit vectors, whose squares nobody sums."""
    while isinstance(node, ast.expr):
        if isinstance(node, ast.Call) and last_name(node) in ("sqrt", "sqrt_"):
            return True
        node = script.parents[node]
    return False


def _is_product(script: Script, node: ast.AST, steps: int = _MOST_STEPS) -> bool:
    """A product, in another shape, in part, under a name or from a function of this file: `2 * inner[mask]`."""
    if is_product(node) or not steps:
        return is_product(node)
    values: list[ast.AST | None] = []
    match node:
        case ast.Subscript(value=value) | ast.Call(func=ast.Attribute(value=value, attr="squeeze" | "view")):
            values = [value]
        case ast.Call(func=ast.Name(id=name)):
            given = (f for f in script.functions if f.name == name)
            values = [n.value for f in given for n in ast.walk(f) if isinstance(n, ast.Return)]
        case ast.Name(id=name):
            function = script.function(node)
            bound = (b.value for b in script.bindings(name, node))
            values = [v for v in bound if v is not None and script.function(v) is function]
    return any(_is_product(script, v, steps - 1) for v in values if v is not None)


def _is_float(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "float"


def _is_two(node: ast.AST) -> bool:
    if isinstance(node, ast.UnaryOp):
        return _is_two(node.operand)
    if isinstance(node, ast.keyword):
        return _is_two(node.value)
    return isinstance(node, ast.Constant) and node.value in (2, 2.0)


def _sums_squares(node: ast.AST) -> bool:
    """`(x ** 2).sum(1)`, `torch.sum(x * x, 1)`, `torch.norm(x) ** 2`, the diagonal of `x @ x.T`."""
    if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in ("diag", "diagonal"):
        return True
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
        return isinstance(node.left, ast.Call) and getattr(node.left.func, "attr", "") == "norm"
    summed = isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "sum"
    return summed and any(_squares(n) for n in ast.walk(node))


def _squares(node: ast.AST) -> bool:
    match node:
        case ast.BinOp(op=ast.Pow(), right=right):
            return _is_two(right)
        case ast.BinOp(op=ast.Mult(), left=left, right=right):
            return ast.unparse(left) == ast.unparse(right)
        case ast.Call(func=ast.Attribute(attr="square")):
            return True
        case ast.Call(func=ast.Attribute(attr="pow"), args=[*_, exponent]):
            return _is_two(exponent)
        case ast.Call(func=ast.Attribute(attr="mul", value=owner), args=[*first, second]):
            return ast.unparse(first[0] if first else owner) == ast.unparse(second)
    return False
