"""Sums and averages over steps that begin as a number: of half tensors they are half, and stop growing.

    total = 0                                  average = 0
    for x, y in loader:                        for x, y in loader:
        ...                                        ...
        total += loss.detach().float()             average = 0.99 * average + (0.01 * out.mean()).float()

bf16 adds nothing smaller than a 256th of what is there. And the mean in `x - x.mean(0)` and the spread in `x.std(0)`,
whose rounding stays, in the gradient too, when little else is left.
"""

import ast
from collections.abc import Iterator

from ..context import Context
from ..flow import NUMBERS
from ..script import Script
from .dtypes import Dtypes


def find_sums(context: Context, dtypes: Dtypes) -> list[ast.expr]:
    """The half tensors that are added, step by step, to what began as a number or None."""
    return [
        part
        for node in context.script.nodes
        if isinstance(node, ast.AugAssign | ast.Assign) and _runs_over_steps(context, node, dtypes)
        for part in _added(node)
        if not _is_number(part) and dtypes.of(part) == "low"
    ]


def find_means(context: Context, dtypes: Dtypes) -> list[ast.expr]:
    """Each half x of an `x - x.mean(0)`, where its mean is taken, by a name for it too; and of each `x.std(0)`."""
    script = context.script
    found: dict[ast.expr, None] = {}
    for node in (n for n in script.nodes if n in dtypes.inside):
        found.update(dict.fromkeys(_of(script, node, ("std", "var"))))
        if not (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub)):
            continue
        means: list[ast.AST | None] = [node.right]
        if isinstance(node.right, ast.Name):
            means = [b.value for b in script.bindings(node.right.id, node.right)]
        whole = ast.unparse(node.left)
        found.update({v: None for m in means for v in _of(script, m, ("mean",)) if ast.unparse(v) == whole})
    return [value for value in found if dtypes.of(value) == "low"]


def _of(script: Script, node: ast.AST | None, functions: tuple[str, ...]) -> list[ast.expr]:
    """x of `x.mean(0)` and `torch.mean(x, 0)`."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return []
    if node.func.attr not in functions:
        return []
    name = script.called(node)
    return [node.func.value] if name is None else node.args[:1] if name.startswith("torch.") else []


def _is_number(part: ast.expr) -> bool:
    """`loss.item()`, `out.cpu().numpy()`: no tensor any more."""
    return any(isinstance(n, ast.Attribute) and n.attr in NUMBERS for n in ast.walk(part))


def _added(node: ast.AugAssign | ast.Assign) -> Iterator[ast.expr]:
    """What a statement adds to its own target: all of `total += x`, and the terms of `a = 0.9 * a + 0.1 * x`."""
    if isinstance(node, ast.AugAssign):
        if isinstance(node.op, ast.Add | ast.Sub):
            yield node.value
        return
    target = ast.unparse(node.targets[0])
    if len(node.targets) == 1 and _names(node.value, target):
        yield from _terms_without(node.value, target)


def _terms_without(value: ast.expr, name: str) -> Iterator[ast.expr]:
    if not _names(value, name):
        yield value
    elif isinstance(value, ast.IfExp):
        yield from _terms_without(value.body, name)
        yield from _terms_without(value.orelse, name)
    elif isinstance(value, ast.BinOp) and isinstance(value.op, ast.Add | ast.Sub):
        yield from _terms_without(value.left, name)
        yield from _terms_without(value.right, name)


def _names(value: ast.expr, name: str) -> bool:
    return any(isinstance(n, ast.Name | ast.Attribute) and ast.unparse(n) == name for n in ast.walk(value))


def _runs_over_steps(context: Context, node: ast.AugAssign | ast.Assign, dtypes: Dtypes) -> bool:
    """Whether the target was set to a number before the loop of training steps that the statement stands in.

    Or before the model was run, in which the statement stands.
    """
    script = context.script
    target = node.target if isinstance(node, ast.AugAssign) else node.targets[0]
    if isinstance(target, ast.Name):
        values = [b.value for b in script.bindings(target.id, target) if b.kind == "assign"]
    elif isinstance(target, ast.Attribute):
        values = [value for _, value, _ in context.roles.assigned(target)]
    else:
        return False
    begun = [v for v in values if isinstance(v, ast.Constant) and isinstance(v.value, int | float | None)]
    own = [v for v in values if isinstance(v, ast.expr) and v not in begun]
    if not begun or not all(_names(v, ast.unparse(target)) for v in own):
        return False
    if isinstance(target, ast.Attribute) and node in dtypes.inside:
        return all(script.function(v) is not script.function(node) for v in begun)
    steps = {a for b in context.training.backwards for a in script.ancestors(b.call)}
    around = [a for a in script.ancestors(node) if isinstance(a, ast.For | ast.While) and a in steps]
    return bool(around) and not any(a in around for v in begun for a in script.ancestors(v))
