"""Values put by mask or index into a tensor, whose dtype they then have to have."""

import ast
from collections.abc import Callable

from ..context import Context
from ..flow import NUMBERS
from ..names import last_name
from ..script import Script
from .attributes import set_to
from .coordinates import is_product
from .dtypes import Dtypes
from .halves import dtype_of

_INDEX_WORDS = (
    "nonzero where randperm randint arange argsort topk bool eq ne gt lt ge le long tensor as_tensor "
    "LongTensor "
)
_INDICES = frozenset(_INDEX_WORDS.split())

_WIDENED_WORDS = (
    "pow exp log log2 log10 log1p expm1 rsqrt reciprocal norm softmax log_softmax acos asin cumsum"
)
_WIDENED = frozenset(_WIDENED_WORDS.split())  # what autocast on CUDA computes in fp32, whatever comes in
_DEPTH = 6  # names made of names


def puts_by_index(context: Context, statement: ast.Assign | ast.AugAssign) -> bool:
    """`out[mask] = layer(x[mask])`; a slice or a number as index converts instead."""
    target = statement.targets[0] if isinstance(statement, ast.Assign) else statement.target
    if not isinstance(target, ast.Subscript):
        return False
    if not context.training.flow.calls_model(statement.value) and not _is_low(context, target, statement):
        return False
    if isinstance(statement.value, ast.Call) and (
        getattr(statement.value.func, "attr", "") in NUMBERS
        or context.script.called(statement.value) in ("builtins.float", "builtins.int")
    ):
        return False
    index = target.slice
    parts = index.elts if isinstance(index, ast.Tuple) else [index]
    return any(_is_tensor_index(context, part) for part in parts)


def _is_low(context: Context, target: ast.Subscript, statement: ast.Assign | ast.AugAssign) -> bool:
    """Whether a model's half result, by its name, goes into what is not half itself."""
    dtypes = Dtypes(context)
    low = statement in dtypes.inside and dtypes.of(statement.value) == "low"
    return low and dtypes.of(target.value) != "low"


def puts_layer_output(script: Script, node: ast.AST) -> bool:
    """`memory[mask] = self.cell(x)` in another file: a product, so half, put by index into a tensor in fp32.

    A slice or a number as index converts instead, and so does `+=`.
    """
    if not isinstance(node, ast.Assign) or not isinstance(node.targets[0], ast.Subscript):
        return False
    index, kept = node.targets[0].slice, node.targets[0].value
    parts = index.elts if isinstance(index, ast.Tuple) else [index]
    if not any(_is_places(script, part) for part in parts):
        return False
    given = dtype_of(script, node.value)
    if given == "full":
        return dtype_of(script, kept) == "half" and isinstance(node.value, ast.Attribute)
    values = [b.value for b in script.bindings(kept.id, kept)] if isinstance(kept, ast.Name) else []
    made = bool(values) and all(v is not None and _makes_tensor(script, v) for v in values)
    return given == "half" and made and dtype_of(script, kept) != "half"


def _is_places(script: Script, node: ast.AST, depth: int = 0) -> bool:
    """Whether an index is a mask, a tensor of whole numbers, or a parameter that may be one."""
    match node:
        case ast.Compare() | ast.List() | ast.UnaryOp(op=ast.Invert()):
            return True
        case ast.BinOp(left=left, right=right):
            return any(_is_places(script, side, depth) for side in (left, right))
        case ast.Subscript(value=value):
            return _is_places(script, value, depth)
        case ast.Call(func=ast.Attribute(value=value)) if script.called(node) is None:
            return last_name(node) in _INDICES or _is_places(script, value, depth)
        case ast.Call():
            return (script.called(node) or "").startswith("torch.") and last_name(node) in _INDICES
        case ast.Attribute():
            return any(
                _is_places(script, value, depth + 1) for value in set_to(script, node) if depth < _DEPTH
            )
        case ast.Name() if depth < _DEPTH:
            bindings = script.bindings(node.id, node)
            values = [b.value for b in bindings if b.kind == "assign" and b.value is not None]
            given = depth == 0 and [b.kind for b in bindings] == ["parameter"]
            return given or any(_is_places(script, value, depth + 1) for value in values)
    return False


def puts_widened(script: Script, node: ast.AST) -> bool:
    """`phi[mask] = cosine[mask]`, where `cosine` is a product, so half, and a power made `phi` fp32."""
    match node:
        case ast.Assign(
            targets=[ast.Subscript(value=ast.Name() as kept, slice=index)],
            value=ast.Subscript(value=ast.Name() as given, slice=other),
        ) if ast.unparse(index) == ast.unparse(other):
            parts = index.elts if isinstance(index, ast.Tuple) else [index]
            by_mask = any(_comes_from(script, part, _selects, 1) for part in parts)
            wide = [_comes_from(script, name, _is_widened) for name in (kept, given)]
            half = [_comes_from(script, name, is_product) for name in (kept, given)]
            return by_mask and wide[0] != wide[1] and half[wide.index(False)]
    return False


def _selects(node: ast.AST) -> bool:
    return isinstance(node, ast.Compare) or (isinstance(node, ast.Call) and last_name(node) in _INDICES)


def _is_widened(node: ast.AST) -> bool:
    power = isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow)
    return power or (isinstance(node, ast.Call) and last_name(node) in _WIDENED)


def _comes_from(script: Script, node: ast.AST, test: Callable[[ast.AST], bool], depth: int = _DEPTH) -> bool:
    """Whether an expression, or what its names were set to, holds a node of a kind."""
    level, seen = [node], set[ast.AST]()
    for _ in range(depth + 1):
        inside = [n for value in level for n in ast.walk(value)]
        if any(map(test, inside)):
            return True
        names = [n for n in inside if isinstance(n, ast.Name)]
        values = [b.value for n in names for b in script.bindings(n.id, n) if b.kind == "assign"]
        level = [v for v in dict.fromkeys(values) if v is not None and v not in seen]
        seen.update(level)
    return False


def puts_tensor(context: Context, statement: ast.Assign) -> bool:
    """Whether a tensor is put into a tensor, as far as this file shows: both have a dtype then."""
    script, kept = context.script, statement.targets[0].value  # type: ignore[attr-defined]
    calls = [n for n in ast.walk(statement.value) if isinstance(n, ast.Call)]
    numbers = any(
        getattr(c.func, "attr", "") in NUMBERS or (script.called(c) or "").startswith(("builtins.", "numpy."))
        for c in calls
    )
    if numbers or len(statement.targets) > 1 or not isinstance(kept, ast.Name):
        return False
    values = [b.value for b in script.bindings(kept.id, kept)]
    made = [v for v in values if v is not None and _makes_tensor(script, v)]
    again = [v for v in values if isinstance(v, ast.BinOp) and kept.id in ast.unparse(v)]
    return bool(made) and len(made) + len(again) == len(values)


def _makes_tensor(script: Script, value: ast.expr) -> bool:
    """`torch.zeros(n)`, `Variable(torch.zeros(n)).cuda()`, `x.clone()`."""
    if not isinstance(value, ast.Call):
        return False
    if script.called(value):
        return (script.called(value) or "").startswith("torch.")
    return isinstance(value.func, ast.Attribute) and (
        value.func.attr.startswith("new_")
        or value.func.attr == "clone"
        or (
            value.func.attr in ("to", "cuda", "float", "type", "repeat")
            and _makes_tensor(script, value.func.value)
        )
    )


def _is_tensor_index(context: Context, node: ast.expr) -> bool:
    if isinstance(node, ast.Compare | ast.List):
        return True
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Invert):
        return True
    if isinstance(
        node, ast.BinOp
    ):  # `memory[starts + i + 1]`, where `starts` comes from a function of the class
        return any(_is_batch(context, n) for n in ast.walk(node))
    if isinstance(node, ast.Call):
        return (context.script.called(node) or "").removeprefix("torch.") in _INDICES
    if not isinstance(node, ast.Name):
        return False
    values = [b.value for b in context.script.bindings(node.id, node) if b.kind == "assign"]
    made = [v for v in values if isinstance(v, ast.Compare | ast.Call)]
    return any(
        isinstance(v, ast.Compare)
        or (isinstance(v.func, ast.Attribute) and v.func.attr in _INDICES)
        or (context.script.called(v) or "").removeprefix("torch.") in _INDICES
        for v in made
    )


def _is_batch(context: Context, node: ast.AST) -> bool:
    """`for starts in self.batches_of_indices():`."""
    if not isinstance(node, ast.Name):
        return False
    loops = [b.node for b in context.script.bindings(node.id, node)]
    return bool(loops) and all(
        isinstance(loop, ast.For)
        and isinstance(loop.target, ast.Name)
        and isinstance(loop.iter, ast.Call)
        and context.script.called(loop.iter) is None
        for loop in loops
    )
