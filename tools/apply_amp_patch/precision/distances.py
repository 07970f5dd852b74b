"""Squared distances as small differences of large numbers, which half precision cannot tell apart."""

import ast

from ..script import Script
from .coordinates import is_product


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
    function = script.function(node)
    return any(_sums_squares(n) for n in ast.walk(function if function is not None else script.tree))


def _is_product(script: Script, node: ast.AST) -> bool:
    """A product, or a name for one: `inner = x @ y.T`, `2 * inner`."""
    if not isinstance(node, ast.Name):
        return is_product(node)
    bindings = script.bindings(node.id, node)
    function = script.function(node)
    return any(
        b.value is not None and is_product(b.value) and script.function(b.value) is function for b in bindings
    )


def _is_float(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "float"


def _is_two(node: ast.AST) -> bool:
    if isinstance(node, ast.UnaryOp):
        return _is_two(node.operand)
    if isinstance(node, ast.keyword):
        return _is_two(node.value)
    return isinstance(node, ast.Constant) and node.value in (2, 2.0)


def _sums_squares(node: ast.AST) -> bool:
    """`(x ** 2).sum(1)`, `torch.sum(x * x, 1)`, `torch.norm(x) ** 2`."""
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
