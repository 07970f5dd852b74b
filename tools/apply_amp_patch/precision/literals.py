"""Numbers as they are written, such as `-2 ** 32 + 1`."""

import ast
from collections.abc import Callable
from operator import add, mul, sub

_SIGNS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: add,
    ast.Sub: sub,
    ast.Mult: mul,
    ast.Pow: pow,
}


def number(node: ast.AST) -> float | None:
    """The value of a number; None for what is none."""
    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            return value if abs(value) < 1e300 or value == float("inf") else None
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            inner = number(operand)
            return None if inner is None else -inner
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub() | ast.Mult() | ast.Pow() as sign, right=right):
            first, second = number(left), number(right)
            if first is None or second is None:
                return None
            if isinstance(sign, ast.Pow) and not (abs(first) <= 1e6 and 0 <= second <= 40):
                return None
            return _SIGNS[type(sign)](float(first), float(second))
    return None
