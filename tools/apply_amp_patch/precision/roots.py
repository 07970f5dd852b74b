"""Values that leave the range of fp16 before a root or an exponential: zero below 6e-8, infinite above 65504."""

import ast

from ..names import last_name
from ..script import Script
from .coordinates import factors, is_product
from .literals import number
from .squares import base_of, held
from .vanishing import size_of

_LARGEST_EXPONENT = 11.09  # exp of it is 65504
_LARGE_EPSILON = 1e-4  # a square is rounded by 3e-8 at most, and a row sums some hundred
_ROOTS = ("sqrt", "sqrt_", "rsqrt", "rsqrt_", "log", "log_", "log2", "log10", "reciprocal")
_SUMS = ("torch.nn.functional.linear", *(f"torch.nn.functional.conv{n}d" for n in (1, 2, 3)))
_SHAPES = ("t", "transpose", "view", "reshape", "unsqueeze", "squeeze", "permute", "contiguous")


def root_of_squares(script: Script, node: ast.AST) -> bool:
    """`torch.sqrt(torch.mm(x**2, sigma**2))`: autocast casts the squares, and the slope of a root at 0 is infinite.

    A square is zero in fp16 from 2.4e-4 on, and has no digit left from 1e-3 on: deviations of weights are as small.
    """
    return any(_multiplies_squares(script, value) for value in root_of(script, node))


def root_of(script: Script, node: ast.AST) -> list[ast.expr]:
    """What a root, a log or a division takes that has no finite slope at 0."""
    match node:
        case ast.BinOp(op=ast.Div(), right=value):
            return [value]
        case ast.BinOp(left=value, op=ast.Pow(), right=power):
            return [value] if _is_root(power) else []
        case ast.Call(func=ast.Attribute(attr="pow", value=owner), args=[*first, power]):
            return [first[0] if first else owner] if _is_root(power) else []
        case ast.Call() if last_name(node) in _ROOTS:
            return factors(script, node)[:1]
    return []


def _is_root(power: ast.expr) -> bool:
    value = number(power)
    return value is not None and value < 1 and value != 0


def _multiplies_squares(script: Script, node: ast.expr, depth: int = 0) -> bool:
    """A product of squares, under a name too, or with something added that does not drown what the squares lose."""
    match node:
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            sizes = [s for v in (left, right) if (s := size_of(script, v)) is not None]
            drowned = any(size >= _LARGE_EPSILON for size in sizes)
            return not drowned and any(_multiplies_squares(script, v, depth) for v in (left, right))
        case ast.BinOp(op=ast.MatMult()):
            return any(_is_square(script, f) for f in (node.left, node.right))
        case ast.Call(func=ast.Attribute(value=value, attr=name)) if name in _SHAPES:
            return _multiplies_squares(script, value, depth)
        case ast.Call() if is_product(node) or script.called(node) in _SUMS:
            return any(_is_square(script, f) for f in factors(script, node)[:2])
        case ast.Name() if depth < 3:
            values = held(script, node)
            return bool(values) and all(_multiplies_squares(script, v, depth + 1) for v in values)
    return False


def _is_square(script: Script, node: ast.expr) -> bool:
    match node:
        case ast.Call(func=ast.Attribute(value=value, attr=name)) if name in _SHAPES and not script.called(
            node
        ):
            return _is_square(script, value)
        case ast.Attribute(value=value, attr="T"):
            return _is_square(script, value)
    return any(base_of(v) is not None for v in [node, *held(script, node)])


def overflows_in_place(script: Script, node: ast.AST) -> bool:
    """`torch.mm(x, y).div_(0.07).exp_()`: in place it stays in half precision, and fp16 ends at e^11.

    Autocast runs `exp` in fp32, but nothing that works in place.
    """
    if (
        not isinstance(node, ast.Call)
        or last_name(node) != "exp_"
        or not isinstance(node.func, ast.Attribute)
    ):
        return False
    value = node.args[0] if script.called(node) and node.args else node.func.value
    for scaled in [value, *held(script, value)]:
        match scaled:
            case ast.BinOp(left=product, op=ast.Div(), right=divisor):
                pass
            case ast.Call(func=ast.Attribute(attr="div" | "div_", value=owner), args=[*first, divisor]):
                product = first[0] if first else owner
            case _:
                continue
        size = size_of(script, divisor)
        if (size is None or size * _LARGEST_EXPONENT < 1) and _is_matrix(script, product):
            return True
    return False


def _is_matrix(script: Script, node: ast.expr) -> bool:
    return any(is_product(v) for v in [node, *held(script, node)])
