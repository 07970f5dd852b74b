"""Outputs that are scaled back to what they stand for: `out * std + mean` of half tensors and numbers stays half.

    value = model(x) * std + mean       ->       value = model(x).float() * std + mean

75 with a spread of 6 has steps of a quarter in bf16, and 1000 of 4. A tensor of one element changes no dtype either.
"""

import ast
from collections.abc import Iterator

from ..context import Context
from ..names import Function
from ..script import Script
from .dtypes import Dtypes
from .loggers import is_castable, parts

_FAR = 8  # a shift by less leaves a value near where a layer's own rounding lies


def find_rescaled(context: Context, dtypes: Dtypes) -> list[ast.expr]:
    """The half tensors that are scaled and shifted here, or handed to a function of the project that does."""
    script = context.script
    pairs = [pair for node in script.nodes for pair in _rescaled(node)]
    found = [
        value
        for value, shift in pairs
        if _is_output(context, dtypes, value) and _is_given(script, dtypes, shift)
    ]
    for call in script.calls:
        given = [p for p in parts(call) if is_castable(p) and dtypes.of(p) == "low"]
        runs = [(script, n) for f in context.roles.callees(call) for n in ast.walk(f)] if given else []
        for home, node in [*runs, *(context.run_elsewhere(call) if given else [])]:
            function = home.function(node)
            if isinstance(function, Function) and function.name not in ("forward", "__call__"):
                names = [value.id for value, _ in _rescaled(node) if isinstance(value, ast.Name)]
                named = [context.roles_of(home).argument(call, function, name) for name in names]
                found += [value for value in named if value in given]
    return found


def _is_output(context: Context, dtypes: Dtypes, value: ast.expr) -> bool:
    """Whether a half tensor is a model's, in the function that trains it: layers inside keep their dtype."""
    function = context.script.function(value)
    holder = context.script.method_class(function) if function is not None else None
    inner = holder is not None and context.roles.is_module_class(holder)
    return not inner and is_castable(value) and dtypes.of(value) == "low"


def _is_given(script: Script, dtypes: Dtypes, shift: ast.expr) -> bool:
    """Whether a shift was there before the model ran; in `loss + weight * other` it comes out of it as well."""
    if not isinstance(shift, ast.Name):
        return True
    return not any(b.value in dtypes.inside for b in script.bindings(shift.id, shift) if b.value is not None)


def _rescaled(node: ast.AST) -> Iterator[tuple[ast.expr, ast.expr]]:
    """x and mean of `x * std + mean` and `mean + std * x`, where std and mean are names or numbers."""
    match node:
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            for scaled, shift in ((left, right), (right, left)):
                match scaled:
                    case ast.BinOp(left=one, op=ast.Mult(), right=other) if _shifts(shift):
                        yield from ((x, shift) for x, by in ((one, other), (other, one)) if _is_plain(by))


def _is_plain(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant | ast.Name | ast.Attribute)


def _shifts(node: ast.expr) -> bool:
    if isinstance(node, ast.Constant):
        return isinstance(node.value, int | float) and abs(node.value) >= _FAR
    return isinstance(node, ast.Name | ast.Attribute)
