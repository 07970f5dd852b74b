"""Variances as differences of moments, `E[x^2] - E[x]^2`: SSIM, local cross-correlation, statistics of a batch."""

import ast

from ..names import Function
from ..script import Script
from .attributes import set_to

_CONVOLUTIONS = tuple(f"torch.nn.functional.{kind}{n}d" for kind in ("conv", "avg_pool") for n in (1, 2, 3))


def subtracts_moments(script: Script, node: ast.AST) -> bool:
    """`conv2d(x * x, window) - mean ** 2`: convolutions run in half precision, which rounds the difference away."""
    if not (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub)):
        return False
    if any(_averages_products(script, n) for n in _terms(node.left)):
        return True
    if all(any(map(_is_gram, _terms(side))) for side in (node.left, node.right)):
        return True
    means = (_mean_of(script, value) for value in _values(script, node.left))
    return _is_product(node.right) and any(_is_product(v) for m in means for v in m)


def subtracts_chances(script: Script, node: ast.AST) -> bool:
    """`torch.sigmoid(a + h) - torch.sigmoid(a - h)`: how likely a value is that was rounded, as codecs compute it."""
    if not (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub)):
        return False
    sides = [[_cumulative(v) for v in _values(script, side)] for side in (node.left, node.right)]
    return bool(sides[0] and sides[1]) and None not in (*sides[0], *sides[1]) and sides[0] == sides[1]


def _cumulative(value: ast.expr) -> str | None:
    """The name of a call that gives how likely a smaller value is."""
    while isinstance(value, ast.BinOp) and isinstance(value.op, ast.Mult):
        value = value.right
    name = ast.unparse(value.func).split(".")[-1] if isinstance(value, ast.Call) else ""
    return name if name in ("sigmoid", "erf", "erfc") or "cumulative" in name or "cdf" in name else None


def _is_gram(node: ast.expr) -> bool:
    """`x.t() @ x`, `torch.mm(x.T, x)`."""
    match node:
        case ast.BinOp(left=left, op=ast.MatMult(), right=right):
            pair = [left, right]
        case ast.Call(func=ast.Attribute(attr="mm" | "matmul"), args=[left, right]):
            pair = [left, right]
        case _:
            return False
    texts = [ast.unparse(p) for p in pair]
    bare = [t.removesuffix(".t()").removesuffix(".T").removesuffix(".transpose(0, 1)") for t in texts]
    return texts[0] != texts[1] and bare[0] == bare[1]


def _mean_of(script: Script, node: ast.expr) -> list[ast.expr]:
    """What a mean is taken of: `(x * x).mean(0)`, `torch.mean(x * x, 0)`."""
    if not isinstance(node, ast.Call) or getattr(node.func, "attr", "") != "mean":
        return []
    torch = script.called(node) == "torch.mean"
    taken = node.args[:1] if torch else [node.func.value]  # type: ignore[attr-defined]
    return [v for value in taken for v in _values(script, value)]


def _terms(node: ast.expr) -> list[ast.expr]:
    """The parts of a sum, without their numeric factors and divisors."""
    match node:
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub(), right=right):
            return [*_terms(left), *_terms(right)]
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            return [left, right]
        case ast.BinOp(left=left, op=ast.Div()):
            return _terms(left)
    return [node]


def _averages_products(script: Script, node: ast.expr) -> bool:
    return any(
        isinstance(value, ast.Call)
        and bool(value.args)
        and _convolves(script, value)
        and any(_is_product(v) for v in _values(script, value.args[0]))
        for value in _values(script, node)
    )


def _values(script: Script, node: ast.expr) -> list[ast.expr]:
    """What an expression is written as, and what a name in it is set to."""
    if not isinstance(node, ast.Name):
        return [node]
    return [b.value for b in script.bindings(node.id, node) if b.kind == "assign" and b.value is not None]


def _convolves(script: Script, call: ast.Call) -> bool:
    """A convolution, by a name for it (`conv = getattr(F, "conv%dd" % n)`), or in a function of this file."""
    if script.called(call) in _CONVOLUTIONS:
        return True
    if isinstance(call.func, ast.Attribute):
        return _is_pool(script, call.func)
    if not isinstance(call.func, ast.Name):
        return False
    for binding in script.bindings(call.func.id, call.func):
        if isinstance(binding.node, Function):
            inner = [n for n in ast.walk(binding.node) if isinstance(n, ast.Call)]
            return any(script.called(n) in _CONVOLUTIONS for n in inner)
        if binding.kind == "assign" and binding.value is not None and _names_one(script, binding.value):
            return True
    return False


def _is_pool(script: Script, attribute: ast.Attribute) -> bool:
    """`self.pool`, which a method sets to `nn.AvgPool2d(3, 1)`."""
    return any((script.called(v) or "").startswith("torch.nn.AvgPool") for v in set_to(script, attribute))


def _names_one(script: Script, value: ast.expr) -> bool:
    if isinstance(value, ast.Attribute | ast.Name):
        return script.qualified(value) in _CONVOLUTIONS
    texts = [n.value for n in ast.walk(value) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    return isinstance(value, ast.Call) and any(text.startswith("conv") for text in texts)


def _is_product(node: ast.expr) -> bool:
    """`x * y` of two values, `x ** 2`, `x.pow(2)`."""
    match node:
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            return not isinstance(left, ast.Constant) and not isinstance(right, ast.Constant)
        case ast.BinOp(op=ast.Pow(), right=ast.Constant(value=2)):
            return True
        case ast.Call(func=ast.Attribute(attr="pow"), args=[*_, ast.Constant(value=2)]):
            return True
        case ast.Call(func=ast.Attribute(attr="square")):
            return True
    return False
