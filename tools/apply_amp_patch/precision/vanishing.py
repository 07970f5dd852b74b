"""Epsilons under a name, or as the lower bound of a clamp: fp16 has nothing between 6e-8 and zero."""

import ast

from ..names import default_of
from ..script import Script
from .attributes import set_to

SMALLEST_FP16 = 6e-8
_CLAMPS = ("clamp", "clamp_", "clip", "clip_", "clamp_min", "clamp_min_")
# What CUDA's autocast computes in fp32, whatever it is given.
_FP32_WORDS = "float softmax log_softmax softplus exp log norm sum pow prod cumsum item"
_FP32 = frozenset(_FP32_WORDS.split())
_SAME = {
    "cuda",
    "to",
    "uniform_",
    "view",
    "unsqueeze",
    "squeeze",
    "mean",
    "sqrt",
    "detach",
    "clone",
    "expand",
}
_MADE = tuple(f"torch.{name}" for name in ("zeros", "ones", "empty", "full", "rand", "randn", "tensor"))


def vanishing(script: Script, node: ast.AST) -> str | None:
    """`x.clamp(min=eps)`, `x + eps` with an eps of this file that is zero in fp16, where x may be half.

    And `atan2(y, x)`, whose gradient divides by x^2 + y^2.
    """
    for value, epsilon in _guards(script, node):
        size = size_of(script, epsilon)
        if size is not None and 0 < size < SMALLEST_FP16 and not _is_fp32(script, value):
            return f"{ast.unparse(epsilon)} of {ast.unparse(node)} is zero in fp16"
    sides = [s for s in _sides_of_angle(script, node) if getattr(s, "attr", "") != "data"]
    if not all(_is_fp32(script, s) for s in sides):
        return (
            f"the gradient of {ast.unparse(node)} divides by a sum of squares, which is zero in fp16 near 0"
        )
    return None


def _sides_of_angle(script: Script, node: ast.AST) -> list[ast.expr]:
    """What `torch.atan2(y, x)` and `y.atan2(x)` take; nothing of numpy's or math's."""
    if not isinstance(node, ast.Call) or _last(node.func) not in ("atan2", "arctan2"):
        return []
    name = script.called(node)
    if name is None and isinstance(node.func, ast.Attribute):
        return [node.func.value, *node.args]
    return node.args if (name or "").startswith("torch.") else []


def _guards(script: Script, node: ast.AST) -> list[tuple[ast.expr, ast.expr]]:
    """A value and what keeps it from zero."""
    match node:
        case ast.BinOp(left=left, op=ast.Add(), right=(ast.Name() | ast.Attribute()) as right):
            return [(left, right)]
        case ast.Call(func=func) if _last(func) in _CLAMPS:
            torch = script.called(node) is not None
            bounded = node.args[:1] if torch else [getattr(func, "value", node)]
            lower = node.args[torch:][:1] + [k.value for k in node.keywords if k.arg == "min"]
            return [(value, bound) for value in bounded for bound in lower]
    return []


def _last(func: ast.expr) -> str:
    return func.attr if isinstance(func, ast.Attribute) else getattr(func, "id", "")


def size_of(script: Script, node: ast.expr) -> float | None:
    """A number as it is written, or the one that a name stands for: set once, or the default of a parameter.

    An attribute counts that was set to one of these.
    """
    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            return abs(value)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return size_of(script, operand)
        case ast.Name():
            bindings = script.bindings(node.id, node)
            if len(bindings) != 1:
                return None
            if bindings[0].kind == "assign" and isinstance(bindings[0].value, ast.Constant | ast.UnaryOp):
                return size_of(script, bindings[0].value)
            (binding,) = bindings
            given = binding.kind == "parameter"
            default = default_of(script.parents[binding.node], binding.node) if given else None
            return size_of(script, default) if isinstance(default, ast.Constant) else None
        case ast.Attribute(value=ast.Name(id="self")):
            values = set_to(script, node)
            if len(values) == 1 and isinstance(values[0], ast.Constant | ast.UnaryOp | ast.Name):
                return size_of(script, values[0])
    return None


def _is_fp32(script: Script, node: ast.expr, seen: tuple[str, ...] = ()) -> bool:
    match node:
        case ast.Constant():
            return True
        case ast.UnaryOp(operand=operand):
            return _is_fp32(script, operand, seen)
        case ast.Call(func=ast.Attribute(value=value, attr=attr)) if attr in _SAME and not script.called(
            node
        ):
            return _is_fp32(script, value, seen)
        case ast.Call():
            return _last(node.func) in _FP32 or script.called(node) in _MADE
        case ast.BinOp(op=ast.Pow()):
            return True
        case ast.BinOp(left=left, right=right):
            return _is_fp32(script, left, seen) and _is_fp32(script, right, seen)
        case ast.Name(id=name) if name in seen:
            return True  # `u = u.cuda()`: what else it is set to decides
        case ast.Name(id=name):
            bindings = script.bindings(name, node)
            return bool(bindings) and all(
                b.kind == "assign" and b.value is not None and _is_fp32(script, b.value, (*seen, name))
                for b in bindings
            )
    return False
