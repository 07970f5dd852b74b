"""Phases of waves that a layer makes in half precision: an encoding of times keeps nothing of them."""

import ast

from ..names import Function
from ..script import Script

_WAVES = ("torch.cos", "torch.sin")


def encodes_number(script: Script, node: ast.AST) -> bool:
    """`torch.cos(self.w(t))` with `self.w = Linear(1, n)`: below t = 1000, bf16 rounds the phase by up to 2 rad."""
    if not isinstance(node, ast.Call) or script.called(node) not in _WAVES or not node.args:
        return False
    inner = node.args[0]
    function = script.function(node)
    if not isinstance(inner, ast.Call) or not isinstance(function, Function):
        return False
    holder = script.method_class(function)
    layer = ast.unparse(inner.func)
    sets = [n for n in ast.walk(holder) if isinstance(n, ast.Assign)] if holder is not None else []
    made = [n.value for n in sets if ast.unparse(n.targets[0]) == layer]
    return any(_takes_number(script, value) for value in made)


def _takes_number(script: Script, value: ast.expr) -> bool:
    """`nn.Linear(1, n)`."""
    if not isinstance(value, ast.Call) or script.called(value) != "torch.nn.Linear":
        return False
    inputs = [*value.args[:1], *(k.value for k in value.keywords if k.arg == "in_features")]
    return any(isinstance(n, ast.Constant) and n.value == 1 for n in inputs)
