"""Phases of waves that half precision rounds: what a wave of them says is lost, of times, positions and coordinates."""

import ast
from collections.abc import Iterator

from ..names import Function, last_name
from ..script import Script
from .coordinates import is_product

_WAVES = {"cos", "sin"}
_OMEGAS = {"w0", "w_0", "omega", "omega0", "omega_0", "first_omega_0", "hidden_omega_0"}
_TURNS = 10  # from here on, bf16 rounds the phase of a wave of what lies between -1 and 1 by 0.04 rad
_MOST_NAMES = 6  # from one to the next
_RESHAPING = {"cat", "concat", "stack", "repeat", "repeat_interleave", "unsqueeze", "view", "reshape", "to"}


def encodes_number(script: Script, node: ast.AST) -> bool:
    """`torch.cos(self.w(t))` with `self.w = Linear(1, n)`; the wave of a product of positions: `einsum(t, f).cos()`.

    Below t = 1000, bf16 rounds such a phase by up to 2 rad.
    """
    phase = _phase(script, node)
    return phase is not None and any(_is_encoded(script, value) for value in _made_of(script, phase))


def turns_often(script: Script, node: ast.AST) -> bool:
    """`torch.sin(30 * input)` as the activation of a layer: 30 times what half precision rounded."""
    phase = _phase(script, node)
    function = script.function(node)
    if phase is None or not isinstance(function, Function) or function.name != "forward":
        return False
    factors = list(_factors(phase))
    omega = any(getattr(f, "attr", getattr(f, "id", "")) in _OMEGAS for f in factors)
    numbers = [f.value for f in factors if isinstance(f, ast.Constant) and isinstance(f.value, int | float)]
    given = {a.arg for a in function.args.args[1:]}
    layered = any(_is_layer(f) or (isinstance(f, ast.Name) and f.id in given) for f in factors)
    return layered and (omega or any(abs(number) >= _TURNS for number in numbers))


def _phase(script: Script, node: ast.AST) -> ast.expr | None:
    """What `torch.cos(x)` and `x.cos()` take."""
    if not isinstance(node, ast.Call) or last_name(node) not in _WAVES:
        return None
    if (script.called(node) or "").startswith("torch."):
        return node.args[0] if node.args else None
    own = isinstance(node.func, ast.Attribute) and script.called(node) is None and not node.args
    return node.func.value if own else None  # type: ignore[attr-defined]


def _made_of(script: Script, value: ast.expr, depth: int = 0) -> Iterator[ast.expr]:
    """What a phase is, or a multiple of it, under the names of its function."""
    match value:
        case ast.Name() if depth < _MOST_NAMES:
            function = script.function(value)
            for binding in script.bindings(value.id, value):
                whole = binding.value if binding.kind == "assign" and binding.index is None else None
                if isinstance(whole, ast.expr) and script.function(binding.node) is function:
                    yield from _made_of(script, whole, depth + 1)
        case ast.BinOp(op=ast.Mult() | ast.Div() | ast.Add()):
            for side in (value.left, value.right):
                yield from _made_of(script, side, depth)
        case ast.Subscript(value=whole):
            yield from _made_of(script, whole, depth)
        case ast.Call() if last_name(value) in _RESHAPING and not _casts_positions(value):
            owner = [value.func.value] if isinstance(value.func, ast.Attribute) else []
            joined = [e for a in value.args if isinstance(a, ast.List | ast.Tuple) for e in a.elts]
            for part in joined or (value.args[:1] if script.called(value) else owner):
                yield from _made_of(script, part, depth)
        case _:
            yield value


def _is_encoded(script: Script, value: ast.expr) -> bool:
    """A product of matrices, positions of the dtype of what a layer gives, or what a layer of one input gives."""
    if _casts_positions(value):
        return True
    if is_product(value):
        return not (script.called(value) or "").startswith("numpy.")
    function = script.function(value)
    if not isinstance(value, ast.Call) or not isinstance(function, Function):
        return False
    holder = script.method_class(function)
    layer = ast.unparse(value.func)
    sets = [n for n in ast.walk(holder) if isinstance(n, ast.Assign)] if holder is not None else []
    made = [n.value for n in sets if ast.unparse(n.targets[0]) == layer]
    return any(_takes_number(script, value) for value in made)


def _casts_positions(value: ast.expr) -> bool:
    """`torch.arange(n).type_as(x)`, `torch.arange(n, dtype=x.dtype)`: bf16 holds whole numbers up to 256."""
    if not isinstance(value, ast.Call) or "arange" not in ast.unparse(value.func):
        return False
    given = [*value.args, *(k.value for k in value.keywords if k.arg == "dtype")]
    like = [a for a in given if last_name(value) == "type_as"]
    like += [a.value for a in given if isinstance(a, ast.Attribute) and a.attr == "dtype"]
    return any(isinstance(a, ast.Name) for a in like)


def _takes_number(script: Script, value: ast.expr) -> bool:
    """`nn.Linear(1, n)`."""
    if not isinstance(value, ast.Call) or script.called(value) != "torch.nn.Linear":
        return False
    inputs = [*value.args[:1], *(k.value for k in value.keywords if k.arg == "in_features")]
    return any(isinstance(n, ast.Constant) and n.value == 1 for n in inputs)


def _factors(value: ast.expr) -> Iterator[ast.expr]:
    if isinstance(value, ast.BinOp) and isinstance(value.op, ast.Mult | ast.Add):
        yield from _factors(value.left)
        yield from _factors(value.right)
    else:
        yield value


def _is_layer(value: ast.expr) -> bool:
    """`self.linear(x)`."""
    return isinstance(value, ast.Call) and ast.unparse(value.func).startswith("self.")
