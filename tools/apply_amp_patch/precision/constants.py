"""Numbers that half precision cannot hold: out of range, or so near to 1 that they become it."""

import ast
from collections.abc import Callable

from ..names import last_name
from ..script import Script
from .complements import is_full, taken_by, taken_from_one, varies
from .coordinates import adds_positions, casts_coordinates, coarse_grid
from .grams import gram_matrix
from .literals import number
from .roots import overflows_in_place, root_of_squares
from .vanishing import SMALLEST_FP16, size_of, vanishing

_LARGEST_FP16 = 65504
_FILLS = {"masked_fill", "masked_fill_", "fill_", "index_fill_", "full_like"}
_Row = tuple[Callable[[Script, ast.AST], bool], str, str]


def _bound_below_one(script: Script, node: ast.AST) -> float | None:
    """How far below 1 the bound of `clamp(p, 1e-4, 1 - 1e-4)` lies, where p may be in half precision."""
    bounded = _bounded(script, node)
    if not isinstance(node, ast.Call) or not bounded or any(is_full(value) for value in bounded):
        return None
    bounds = [_written(script, a) for a in [*node.args, *(k.value for k in node.keywords)]]
    gaps = [1 - v for a in bounds if (v := number(a)) is not None]
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


def _angle_of(script: Script, node: ast.AST) -> list[ast.expr]:
    """The cosine or sine of which an angle is taken: `acos(c)`, and c of `sqrt(1 - c ** 2)`."""
    for inside in taken_by(script, node, ("sqrt", "sqrt_")):
        match inside:
            case ast.BinOp(left=one, op=ast.Sub(), right=ast.BinOp(left=value, op=ast.Pow() | ast.Mult())):
                return [value] if number(one) == 1 else []
            case ast.BinOp(left=one, op=ast.Sub(), right=ast.Call(func=ast.Attribute(attr="pow")) as power):
                value = power.args[0] if script.called(power) else power.func.value  # type: ignore[attr-defined]
                return [value] if number(one) == 1 else []
    return taken_by(script, node, ("acos", "arccos", "asin", "arcsin"))


def _rounds_to_one(node: ast.AST) -> tuple[int, str, str]:
    note = (
        f"the bound in {ast.unparse(node)} is 1 in half precision, so the log of what is left may be infinite"
    )
    return node.lineno, "probabilities", note  # type: ignore[attr-defined]


def _cancels(node: ast.AST) -> tuple[int, str, str]:
    note = f"half precision rounds what {ast.unparse(node)} takes from 1, and so loses its log"
    return node.lineno, "probabilities", note  # type: ignore[attr-defined]


def _is_angle(script: Script, node: ast.AST) -> bool:
    return any(varies(script, value) for value in _angle_of(script, node))


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
        size = number(_written(script, factor))
        if last_name(value).startswith("sigmoid") and size is not None and size**2 > _LARGEST_FP16:
            return True
    return False


def fp16_only(script: Script, node: ast.AST) -> list[tuple[int, str, str]]:
    """Constants that fp16 cannot hold: they overflow, vanish, or round to 1."""
    gap = _bound_below_one(script, node)
    if taken_from_one(script, node):
        return [_cancels(node)]
    if found := _found(_FP16_SPOILS, script, node):
        return found
    if gap is not None and gap < 2**-12:
        return [_rounds_to_one(node)]
    if (lost := vanishing(script, node)) is not None:
        return [(node.lineno, "fp16_constant", lost)]  # type: ignore[attr-defined]
    if (filled := _filled_with(script, node)) is not None:
        return [(node.lineno, "fp16_constant", f"{filled} overflows fp16")]  # type: ignore[attr-defined]
    value = number(node)
    above = script.parents.get(node)
    if value is None or not isinstance(node, ast.expr):
        return []
    if isinstance(above, ast.expr) and number(above) is not None:
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
_FP16_SPOILS: tuple[_Row, ...] = (
    (root_of_squares, "fp16_constant", "the squares in {node} are zero in fp16 where they are below 6e-8"),
    (
        overflows_in_place,
        "fp16_constant",
        "{node} works in place, so in half precision, and fp16 ends at e^11",
    ),
    (gram_matrix, "fp16_constant", "{node} sums over every pixel and overflows fp16"),
    (_scales_to_pixels, "fp16_constant", "the product of two sides such as {node} overflows fp16"),
)
