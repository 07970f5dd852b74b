"""Calls that see no half precision although they run under autocast: only layers and products make any."""

import ast

from ..context import Context
from ..flow import DATA_METHODS, LAYER_FUNCTIONS, TENSOR_METHODS
from ..names import Function, last_name
from ..script import Script
from .coordinates import is_product
from .dtypes import Dtypes

_MOVES = ("to", "cuda", "float", "view", "reshape", "unsqueeze", "squeeze", "flatten")


def stays_full(context: Context, call: ast.Call) -> bool:
    """Whether a call of another file's function is given data alone, and runs no layer and no product on it."""
    values = [*call.args, *(k.value for k in call.keywords)]
    dtypes = Dtypes(context)
    if not values or not all(_is_full(context, dtypes, value) for value in values):
        return False
    runs = context.run_elsewhere(call)
    names = {f.name for _, f in runs if isinstance(f, Function)}
    return bool(names) and all(_is_elementwise(home, node, names) for home, node in runs)


def _is_elementwise(script: Script, node: ast.AST, names: set[str]) -> bool:
    """No product, no layer, nothing of an object's own; a call of torch, of a tensor or of what is looked at too."""
    if is_product(node) or (isinstance(node, ast.Name) and node.id == "self"):
        return False
    if not isinstance(node, ast.Call):
        return True
    name = script.called(node)
    if name is not None:
        plain = name.startswith(("torch.", "builtins.", "math.", "numpy.")) and not name.startswith(
            "torch.nn."
        )
        return (plain and name not in LAYER_FUNCTIONS) or name.split(".")[-1] in names
    if isinstance(node.func, ast.Attribute):
        return node.func.attr in TENSOR_METHODS | DATA_METHODS
    return isinstance(node.func, ast.Name) and node.func.id in names


def _is_full(context: Context, dtypes: Dtypes, value: ast.expr) -> bool:
    if any(isinstance(above, ast.Lambda) for above in context.script.ancestors(value)):
        return False  # who calls it with what is not followed
    return dtypes.of(value) in ("full", "integer") or _is_drawn(context, value)


def _is_drawn(context: Context, value: ast.expr) -> bool:
    """x of `for x, y in loader:`, though only moved since: what it is set to later does not reach this use."""
    if not isinstance(value, ast.Name):
        return False
    script, name = context.script, value.id
    statement = script.statement(value)
    block = script.block(statement)
    for earlier in reversed(block[: block.index(statement)]):
        if any(isinstance(n, ast.Name) and n.id == name and not _reads(n) for n in ast.walk(earlier)):
            moved = earlier.value if isinstance(earlier, ast.Assign) and len(earlier.targets) == 1 else None
            if not isinstance(moved, ast.Call) or last_name(moved) not in _MOVES:
                return False
            owner = moved.func.value if isinstance(moved.func, ast.Attribute) else moved
            if ast.unparse(earlier.targets[0]) != name or ast.unparse(owner) != name:  # type: ignore[attr-defined]
                return False
    loop = script.outer(statement)
    drawn = isinstance(loop, ast.For) and block is loop.body
    return (
        drawn
        and any(isinstance(n, ast.Name) and n.id == name for n in ast.walk(loop.target))  # type: ignore[union-attr]
        and not any(
            isinstance(n, ast.Call) and context.training.flow.calls_model(n)
            for n in ast.walk(loop.iter)  # type: ignore[union-attr]
        )
    )


def _reads(name: ast.Name) -> bool:
    return isinstance(name.ctx, ast.Load)
