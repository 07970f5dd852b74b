"""Values put by mask or index into a tensor, whose dtype they then have to have."""

import ast

from ..context import Context
from ..flow import NUMBERS
from ..script import Script
from .dtypes import Dtypes

_INDEX_WORDS = (
    "nonzero where randperm randint arange argsort topk bool eq ne gt lt ge le long tensor as_tensor "
    "LongTensor "
)
_INDICES = frozenset(_INDEX_WORDS.split())


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
    """`memory[nodes] = self.cell(x, h)` in another file, where `memory` is a tensor and `nodes` a parameter."""
    if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Call):
        return False
    target, function = node.targets[0], script.function(node)
    if not isinstance(target, ast.Subscript) or not isinstance(target.slice, ast.Name):
        return False
    index, kept, layer = target.slice, target.value, node.value.func
    given = [b.kind for b in script.bindings(index.id, index)] == ["parameter"]
    if not given or not isinstance(kept, ast.Name) or function is None or ast.unparse(layer)[:5] != "self.":
        return False
    values = [b.value for b in script.bindings(kept.id, kept)]
    return bool(values) and all(v is not None and _makes_tensor(script, v) for v in values)


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
