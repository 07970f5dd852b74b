"""Numbers that half precision cannot hold: out of range, or so near to 1 that they become it."""

import ast
from collections.abc import Callable
from operator import add, mul, sub

from ..names import last_name
from ..script import Script
from .coordinates import adds_positions, casts_coordinates, coarse_grid, gram_matrix
from .vanishing import SMALLEST_FP16, size_of, vanishing

_LARGEST_FP16 = 65504
_FILLS = {"masked_fill", "masked_fill_", "fill_", "index_fill_", "full_like"}
_Row = tuple[Callable[[Script, ast.AST], bool], str, str]
_INVERSES = ("atanh", "arctanh", "logit", "erfinv")
_SIGNS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: add,
    ast.Sub: sub,
    ast.Mult: mul,
    ast.Pow: pow,
}


def _number(node: ast.AST) -> float | None:
    """The value of a number as it is written, such as `-2 ** 32 + 1`."""
    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            return value if abs(value) < 1e300 or value == float("inf") else None
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            inner = _number(operand)
            return None if inner is None else -inner
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub() | ast.Mult() | ast.Pow() as sign, right=right):
            first, second = _number(left), _number(right)
            if first is None or second is None:
                return None
            if isinstance(sign, ast.Pow) and not (abs(first) <= 1e6 and 0 <= second <= 40):
                return None
            return _SIGNS[type(sign)](float(first), float(second))
    return None


def _bound_below_one(script: Script, node: ast.AST) -> float | None:
    """How far below 1 the bound of `clamp(p, 1e-4, 1 - 1e-4)` lies, where p may be in half precision."""
    bounded = _bounded(script, node)
    if not isinstance(node, ast.Call) or not bounded or any(_is_full(script, value) for value in bounded):
        return None
    bounds = [_written(script, a) for a in [*node.args, *(k.value for k in node.keywords)]]
    gaps = [1 - v for a in bounds if (v := _number(a)) is not None]
    return min((gap for gap in gaps if 0 < gap < 0.5), default=None)


def _bounded(script: Script, node: ast.AST) -> list[ast.expr]:
    """The tensor that a clamp takes."""
    if not isinstance(node, ast.Call):
        return []
    name = script.called(node)
    last = name.split(".")[-1] if name else node.func.attr if isinstance(node.func, ast.Attribute) else ""
    if last not in ("clamp", "clamp_", "clip", "clip_", "clamp_max"):
        return []
    return node.args[:1] if name else [node.func.value] if isinstance(node.func, ast.Attribute) else []


def bounded_below_one(script: Script, node: ast.AST) -> list[ast.expr]:
    """The tensor that a bound near 1 keeps from it."""
    return _bounded(script, node) if _bound_below_one(script, node) is not None else []


def _written(script: Script, node: ast.expr) -> ast.expr:
    """The value of a name or an attribute that is set once, such as `LARGEST = 1 - 1e-5`, `self.scope = 512`."""
    if isinstance(node, ast.Attribute):
        stores = [n for n in script.nodes if isinstance(n, ast.Assign) and len(n.targets) == 1]
        values = [n.value for n in stores if ast.unparse(n.targets[0]) == ast.unparse(node)]
        return values[0] if len(values) == 1 else node
    bindings = script.bindings(node.id, node) if isinstance(node, ast.Name) else []
    value = bindings[0].value if len(bindings) == 1 and bindings[0].kind == "assign" else None
    return value if isinstance(value, ast.expr) else node


def logarithm_of(script: Script, node: ast.AST) -> list[ast.expr]:
    """What `torch.log(x)` and `x.log()` take."""
    return _taken_by(script, node, ("log", "log2", "log10", "log_"))


def _taken_by(script: Script, node: ast.AST, functions: tuple[str, ...]) -> list[ast.expr]:
    """What one of some functions of torch takes, as a method too."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute | ast.Name):
        return []
    name = script.called(node)
    if name is not None:
        return node.args[:1] if name in {f"torch.{function}" for function in functions} else []
    func = node.func
    own = isinstance(func, ast.Attribute) and func.attr in functions and ast.unparse(func.value) != "self"
    return [func.value] if own and isinstance(func, ast.Attribute) else []


def _angle_of(script: Script, node: ast.AST) -> list[ast.expr]:
    """The cosine or sine of which an angle is taken: `acos(c)`, and c of `sqrt(1 - c ** 2)`."""
    for inside in _taken_by(script, node, ("sqrt", "sqrt_")):
        match inside:
            case ast.BinOp(left=one, op=ast.Sub(), right=ast.BinOp(left=value, op=ast.Pow() | ast.Mult())):
                return [value] if _number(one) == 1 else []
            case ast.BinOp(left=one, op=ast.Sub(), right=ast.Call(func=ast.Attribute(attr="pow")) as power):
                value = power.args[0] if script.called(power) else power.func.value  # type: ignore[attr-defined]
                return [value] if _number(one) == 1 else []
    return _taken_by(script, node, ("acos", "arccos", "asin", "arcsin"))


def taken_from_one(script: Script, node: ast.AST) -> list[ast.expr]:
    """Each p of `log(1 - p)`, `x / (1 - p)` or `atanh(p)` that may be in half precision, and so 1 long before it is."""
    inverse = [value for value in _taken_by(script, node, _INVERSES) if _varies(script, value)]
    divisor = [node.right] if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) else []
    chances = [p for p in _left_of_one(divisor) if _is_chance(script, p) and _varies(script, p)]
    logged = [
        p for p in _left_of_one(logarithm_of(script, node)) if _number(p) is None and _varies(script, p)
    ]
    return [*inverse, *chances, *logged]


def _left_of_one(values: list[ast.expr]) -> list[ast.expr]:
    """Each p of a `1 - p` in some expressions."""
    inside = (n for value in values for n in ast.walk(value))
    return [
        n.right
        for n in inside
        if isinstance(n, ast.BinOp) and isinstance(n.op, ast.Sub) and _number(n.left) == 1
    ]


def _is_chance(script: Script, node: ast.expr) -> bool:
    """What a sigmoid, a tanh or a sum of squares gives, by its name too: it may come near 1."""
    values: list[ast.AST | None] = [node]
    if isinstance(node, ast.Name):
        values = [b.value for b in script.bindings(node.id, node)]
    calls = [v for v in values if isinstance(v, ast.Call)]
    return any(
        last_name(c) in ("sigmoid", "tanh", "norm")
        or (
            last_name(c) == "sum"
            and any(isinstance(n, ast.Attribute) and n.attr == "pow" for n in ast.walk(c))
        )
        for c in calls
    )


def _varies(script: Script, node: ast.expr) -> bool:
    """Whether a value may come out of a layer in half precision: no buffer, no softmax, no `.float()`."""
    if _is_full(script, node) or isinstance(node, ast.Attribute):
        return False
    if isinstance(node, ast.Name):
        values = [
            b.value for b in script.bindings(node.id, node) if b.kind == "assign" and b.value is not None
        ]
        return not values or any(_varies(script, v) for v in values if v is not node)
    return True


def _is_full(script: Script, node: ast.expr) -> bool:
    """Fp32 under autocast too: `x.float()`, a softmax."""
    if not isinstance(node, ast.Call):
        return False
    last = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    return last in ("float", "softmax", "exp")


def _rounds_to_one(node: ast.AST) -> tuple[int, str, str]:
    note = (
        f"the bound in {ast.unparse(node)} is 1 in half precision, so the log of what is left may be infinite"
    )
    return node.lineno, "probabilities", note  # type: ignore[attr-defined]


def _cancels(node: ast.AST) -> tuple[int, str, str]:
    note = f"half precision rounds what {ast.unparse(node)} takes from 1, and so loses its log"
    return node.lineno, "probabilities", note  # type: ignore[attr-defined]


def _is_angle(script: Script, node: ast.AST) -> bool:
    return any(_varies(script, value) for value in _angle_of(script, node))


def _found(rows: tuple[_Row, ...], script: Script, node: ast.AST) -> list[tuple[int, str, str]]:
    """Line, code and note of the first row that a node meets."""
    return [
        (node.lineno, code, note.format(node=ast.unparse(node)))  # type: ignore[attr-defined]
        for meets, code, note in rows
        if meets(script, node)
    ][:1]


def bf16_only(script: Script, node: ast.AST) -> list[tuple[int, str, str]]:
    """What bf16, with 8 bits, cannot tell apart."""
    gap = _bound_below_one(script, node)
    if taken_from_one(script, node):
        return [_cancels(node)]
    if found := _found(_BF16_SPOILS, script, node):
        return found
    return [_rounds_to_one(node)] if gap is not None and gap < 2**-9 else []


def _filled_with(script: Script, node: ast.AST) -> str | None:
    """The name of what a tensor is filled with, where fp16 cannot hold it: `scores.masked_fill(mask, NEGATIVE)`."""
    if not isinstance(node, ast.Call) or last_name(node) not in _FILLS:
        return None
    for value in node.args:
        size = size_of(script, value) if isinstance(value, ast.Name | ast.Attribute) else None
        if size is not None and _LARGEST_FP16 < size < float("inf"):
            return ast.unparse(value)
    return None


def largest_fp32(script: Script, node: ast.AST) -> bool:
    """`masked_fill(mask, torch.finfo(torch.float32).min)`: no half precision holds it, and torch raises."""
    match node:
        case ast.Attribute(attr="min" | "max", value=ast.Call(args=[kind]) as info) if (
            last_name(info) == "finfo"
        ):
            wide = (script.qualified(kind) or "").split(".")[-1] in ("float", "float32", "float64", "double")
            calls = (a for a in script.ancestors(node) if isinstance(a, ast.Call))
            return wide and any(last_name(call) in _FILLS for call in calls)
    return False


def _fills_part(statement: ast.AST | None) -> bool:
    """`scores[mask] = -1e9`."""
    return isinstance(statement, ast.Assign) and any(isinstance(t, ast.Subscript) for t in statement.targets)


def _scales_to_pixels(script: Script, node: ast.AST) -> bool:
    """`torch.sigmoid(x) * 512`: sides of boxes in pixels, whose areas overflow fp16 from 256 x 256 on."""
    if not isinstance(node, ast.BinOp) or not isinstance(node.op, ast.Mult):
        return False
    for value, factor in ((node.left, node.right), (node.right, node.left)):
        size = _number(_written(script, factor))
        if last_name(value).startswith("sigmoid") and size is not None and size**2 > _LARGEST_FP16:
            return True
    return False


def fp16_only(script: Script, node: ast.AST) -> list[tuple[int, str, str]]:
    """Constants that fp16 cannot hold: they overflow, vanish, or round to 1."""
    gap = _bound_below_one(script, node)
    if taken_from_one(script, node):
        return [_cancels(node)]
    if found := _found(_FP16_OVERFLOWS, script, node):
        return found
    if gap is not None and gap < 2**-12:
        return [_rounds_to_one(node)]
    if (lost := vanishing(script, node)) is not None:
        return [(node.lineno, "fp16_constant", lost)]  # type: ignore[attr-defined]
    if (filled := _filled_with(script, node)) is not None:
        return [(node.lineno, "fp16_constant", f"{filled} overflows fp16")]  # type: ignore[attr-defined]
    value = _number(node)
    above = script.parents.get(node)
    if value is None or not isinstance(node, ast.expr):
        return []
    if isinstance(above, ast.expr) and _number(above) is not None:
        return []  # part of a longer number
    ruled: list[tuple[int, str, str]] = []
    size = abs(value)
    text = ast.unparse(node.operand if isinstance(node, ast.UnaryOp) else node)
    if (
        size > _LARGEST_FP16
        and size != float("inf")
        and (isinstance(above, ast.Call | ast.BinOp | ast.keyword) or _fills_part(above))
    ):
        ruled.append((node.lineno, "fp16_constant", f"{text} overflows fp16"))
    if 0 < size < SMALLEST_FP16 and isinstance(above, ast.BinOp | ast.Call):
        ruled.append((node.lineno, "fp16_constant", f"{text} is zero in fp16"))
    return ruled


_BF16_SPOILS: tuple[_Row, ...] = (
    (
        _is_angle,
        "probabilities",
        "bf16 rounds a cosine above 0.998 to 1, where the gradient of {node} is infinite",
    ),
    (coarse_grid, "coordinates", "{node} lays a grid of 256 steps: bf16 warps by half a pixel of 224"),
    (
        adds_positions,
        "coordinates",
        "{node} adds positions to what may be bf16, which keeps halves up to 128, wholes up to 256",
    ),
    (
        casts_coordinates,
        "coordinates",
        "{node} holds pixel coordinates, of which bf16 keeps whole numbers up to 256",
    ),
)
_FP16_OVERFLOWS: tuple[_Row, ...] = (
    (gram_matrix, "fp16_constant", "{node} sums over every pixel and overflows fp16"),
    (_scales_to_pixels, "fp16_constant", "the product of two sides such as {node} overflows fp16"),
)
