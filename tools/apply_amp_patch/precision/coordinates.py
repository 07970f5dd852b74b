"""Values that half precision keeps too few digits of: pixel coordinates, finite differences."""

import ast
import re
from collections.abc import Iterable, Iterator

from ..names import Function, last_name
from ..once import once
from ..script import Script
from .attributes import set_to

_PRODUCTS = {"matmul", "mm", "bmm", "einsum", "addmm", "addmm_", "baddbmm", "baddbmm_"}
_MOVES = {"float", "to", "type_as", "cuda", "type", "unsqueeze", "view", "reshape", "repeat", "expand"}
_MOVES |= {"t", "permute", "transpose", "contiguous"}
_SMALLEST_STENCIL = 6  # numbers
_GRID = re.compile(r"mesh_?grid|coords?_grid|coordinate_grid|pixel_coord")  # makers of coordinates, by name


def is_product(node: ast.AST) -> bool:
    """`a @ b`, `torch.bmm(a, b)`: what autocast computes in half precision."""
    if isinstance(node, ast.BinOp):
        return isinstance(node.op, ast.MatMult)
    return isinstance(node, ast.Call) and last_name(node) in _PRODUCTS


def factors(script: Script, node: ast.AST) -> list[ast.expr]:
    """What an operator or a call of torch or a tensor's method takes, the tensor itself among them."""
    if isinstance(node, ast.BinOp):
        return [node.left, node.right]
    assert isinstance(node, ast.Call)
    owner = [node.func.value] if isinstance(node.func, ast.Attribute) and not script.called(node) else []
    return [*owner, *node.args]


def multiplies_coordinates(script: Script, node: ast.AST) -> bool:
    """`torch.matmul(inverse_k, pixels)`, where pixels come out of a mesh grid: bf16 holds whole pixels up to 256."""
    if not is_product(node) or (script.called(node) or "").startswith("numpy."):
        return False
    return any(_key(script, n) in _coordinates(script) for n in ast.walk(node))


def multiplies_positions(script: Script, node: ast.AST) -> bool:
    """`heatmap @ torch.arange(w).float()`, `einsum("i,j->ij", t, self.inv_freq)` with `t = torch.arange(n)`."""
    if not is_product(node) or (script.called(node) or "").startswith("numpy."):
        return False
    if isinstance(node, ast.BinOp):
        factors: list[ast.expr] = [node.left, node.right]
    else:
        assert isinstance(node, ast.Call)
        owner = [node.func.value] if isinstance(node.func, ast.Attribute) and not script.called(node) else []
        factors = [*owner, *node.args]
    return any(_is_positions(script, factor) for factor in factors)


def _is_positions(script: Script, node: ast.expr, depth: int = 0) -> bool:
    """`torch.arange(n)`, cast, moved or reshaped, under a name or an attribute too."""
    match node:
        case ast.Call(func=ast.Attribute(value=value)) if script.called(node) is None:
            return last_name(node) in _MOVES and _is_positions(script, value, depth)
        case ast.Call():
            return script.called(node) == "torch.arange"
        case ast.Subscript(value=value):
            return _is_positions(script, value, depth)
        case ast.Name() if depth < 3:
            values = [
                b.value for b in script.bindings(node.id, node) if b.kind == "assign" and b.index is None
            ]
        case ast.Attribute() if depth < 3:
            values = list(set_to(script, node))
        case _:
            return False
    return bool(values) and all(
        isinstance(v, ast.expr) and _is_positions(script, v, depth + 1) for v in values
    )


def adds_positions(script: Script, node: ast.AST) -> bool:
    """`pred[..., 0] += self.grid_x[scale]`, with `torch.arange(n, dtype=torch.float)`: the sum keeps pred's dtype."""
    if not isinstance(node, ast.AugAssign) or not isinstance(node.op, ast.Add | ast.Sub):
        return False
    owner = node.target.value if isinstance(node.target, ast.Subscript) else node.target
    named = script.bindings(owner.id, owner) if isinstance(owner, ast.Name) else []
    wide = any("float" in ast.unparse(b.value) for b in named if b.value is not None)
    grids = list(_grids(script, node.value))
    return not wide and bool(grids) and all(_is_positions(script, g) and _in_fp32(script, g) for g in grids)


def _grids(script: Script, value: ast.expr) -> Iterator[ast.expr]:
    """A value, or what is appended to the list that it is taken from."""
    taken = value.value if isinstance(value, ast.Subscript) else value
    added = [
        call.args[0]
        for call in script.calls
        if isinstance(call.func, ast.Attribute) and call.func.attr == "append" and call.args
        if ast.unparse(call.func.value) == ast.unparse(taken)
    ]
    yield from added if isinstance(value, ast.Subscript) and added else [value]


def _in_fp32(script: Script, value: ast.expr) -> bool:
    named = script.bindings(value.id, value) if isinstance(value, ast.Name) else []
    texts = [ast.unparse(b.value) for b in named if b.value is not None] or [ast.unparse(value)]
    texts += map(ast.unparse, set_to(script, value))
    return any("float" in text.lower() for text in texts)


@once
def _coordinates(script: Script) -> frozenset[tuple[object, str]]:
    """The names of a file that hold pixel coordinates, by function; attributes by their text."""
    called = {last_name(call) for call in script.calls}
    sources = {"meshgrid", *filter(_GRID.search, called)} | ({"arange"} if "grid_sample" in called else set())
    if sources.isdisjoint(called):
        return frozenset()
    found: set[tuple[object, str]] = set()
    size = -1
    while size < len(found):
        size = len(found)
        for statement in script.nodes:
            if isinstance(statement, ast.Assign) and _holds(script, statement.value, sources, found):
                keys = (_key(script, n) for target in statement.targets for n in ast.walk(target))
                found.update(key for key in keys if key is not None)
    return frozenset(found)


def _holds(script: Script, value: ast.expr, sources: set[str], found: set[tuple[object, str]]) -> bool:
    whole = value.value if isinstance(value, ast.Subscript) else value
    whole = whole.func if isinstance(whole, ast.Call) else whole
    if isinstance(whole, ast.Attribute) and whole.attr in ("shape", "size"):
        return False
    inside = list(ast.walk(value))
    calls = (last_name(n) for n in inside if isinstance(n, ast.Call))
    return not sources.isdisjoint(calls) or any(_key(script, n) in found for n in inside)


def _key(script: Script, node: ast.AST) -> tuple[object, str] | None:
    if isinstance(node, ast.Attribute):
        return None, ast.unparse(node)
    return (script.function(node), node.id) if isinstance(node, ast.Name) and node.id != "self" else None


def coarse_grid(script: Script, node: ast.AST) -> bool:
    """`affine_grid(theta, size)` of a predicted theta: the grid from -1 to 1 has theta's dtype."""
    if not isinstance(node, ast.Call) or script.called(node) != "torch.nn.functional.affine_grid":
        return False
    return not any(isinstance(n, ast.Attribute) and n.attr == "float" for n in ast.walk(node))


def casts_coordinates(script: Script, node: ast.AST) -> bool:
    """`mesh_grid(b, h, w).type_as(flow)`: pixel coordinates in the dtype of what a model gives."""
    if (
        not isinstance(node, ast.Call)
        or not isinstance(node.func, ast.Attribute)
        or node.func.attr != "type_as"
    ):
        return False
    if not any(last_name(call) == "grid_sample" for call in script.calls):
        return False
    grids = {f.name for f in script.functions if _makes_coordinates(f)}
    inside = list(ast.walk(node.func.value))
    return any(isinstance(n, ast.Call) and last_name(n) in {"meshgrid", *grids} for n in inside) or any(
        _key(script, n) in _coordinates(script) for n in inside
    )


def _makes_coordinates(function: Function) -> bool:
    calls = [n for n in ast.walk(function) if isinstance(n, ast.Call)]
    return {"arange", "stack"} <= {last_name(c) for c in calls} and all(
        last_name(c) != "grid_sample" for c in calls
    )


def finite_differences(nodes: Iterable[ast.AST]) -> bool:
    """Whether code convolves with a fixed stencil that sums to 0, such as Sobel's: a derivative of what it reads."""
    inside = list(nodes)
    convolves = any(isinstance(n, ast.Call) and last_name(n) == "conv2d" for n in inside)
    return convolves and any(isinstance(n, ast.List) and _cancels(n) for n in inside)


def _cancels(rows: ast.List) -> bool:
    if not rows.elts or not all(isinstance(row, ast.List) for row in rows.elts):
        return False
    try:
        values = [float(v) for row in ast.literal_eval(rows) for v in row]
    except (ValueError, TypeError):
        return False
    return len(values) >= _SMALLEST_STENCIL and any(values) and abs(sum(values)) < 1e-6


@once
def decodes_boxes(script: Script) -> list[tuple[int, str, str]]:
    """Where a file takes torchvision's detection models: they decode boxes in the dtype that their layers give."""
    note = "torchvision decodes boxes in half precision, and bf16 holds whole pixels up to 256"
    named = (
        n
        for n in script.nodes
        if isinstance(n, ast.Attribute | ast.Name)
        and (script.qualified(n) or "").startswith("torchvision.models.detection.")
    )
    return [(n.lineno, "coordinates", note) for n in named][:1]
