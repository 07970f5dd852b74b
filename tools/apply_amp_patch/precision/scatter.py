"""What is put into a tensor in place has to have its dtype, and autocast makes one of the two half."""

import ast

from ..names import default_of
from ..script import Script
from .coordinates import is_product

_SCATTER = {
    "index_add_",
    "index_add",
    "scatter_add_",
    "scatter_add",
    "index_copy_",
    "index_put_",
    "scatter_reduce_",
    "masked_scatter",
    "masked_scatter_",
}
_SCATTER_VALUE = {"scatter_", "scatter"}


def mixes_dtypes(script: Script, call: ast.Call) -> bool:
    """`buffer.scatter_add_(0, index, half)`, unless both are known to have one dtype."""
    assert isinstance(call.func, ast.Attribute)
    method = call.func.attr
    if method in ("lerp", "lerp_"):
        return _lerps(script, call)
    if method not in _SCATTER and (method not in _SCATTER_VALUE or len(call.args) <= 2):
        return False
    if _of_one_dtype(script, call) or _puts_integers(call):
        return False
    number = len(call.args) > 2 and (
        _is_number(script, call.args[2])
        or _set_at_start(script, call.args[2], of_number=not _is_new(script, call.func.value))
    )
    return method in _SCATTER or not number


def _lerps(script: Script, call: ast.Call) -> bool:
    """`self.average.lerp_(half, 0.1)`: from what is kept, towards what is not cast and is no weight."""
    values = call.args if script.called(call) else [call.func.value, *call.args]  # type: ignore[attr-defined]
    if len(values) < 2 or not (isinstance(values[0], ast.Attribute) or call.func.attr == "lerp_"):  # type: ignore[attr-defined]
        return False  # of two activations, both are half
    made = [n for n in ast.walk(values[1]) if isinstance(n, ast.Attribute | ast.Name)]
    drawn = any(isinstance(n, ast.Name) and _is_drawn(script, n) for n in made)
    return not drawn and not {getattr(n, "attr", "") for n in made} & {"float", "to", "type_as"}


def _is_drawn(script: Script, name: ast.Name) -> bool:
    return any(b.kind == "loop" for b in script.bindings(name.id, name))


def sets_data(script: Script, node: ast.AST) -> bool:
    """`v.data = torch.mv(w, u)`, as hand-written spectral norms do."""
    if not isinstance(node, ast.Assign):
        return False
    if not any(isinstance(t, ast.Attribute) and t.attr == "data" for t in node.targets):
        return False
    return any(is_product(n) or script.called(n) == "torch.mv" for n in ast.walk(node.value))


def _puts_integers(call: ast.Call) -> bool:
    """`drawn.index_copy_(0, where, torch.multinomial(p, 1))`."""
    whole = {"multinomial", "argmax", "long", "int", "bool"}
    source = call.args[-1] if call.args else None
    return source is not None and any(getattr(n, "attr", "") in whole for n in ast.walk(source))


def _of_one_dtype(script: Script, call: ast.Call) -> bool:
    """`x.new_zeros(n).scatter_add_(0, index, x)`: the buffer has the dtype of what is put into it."""
    assert isinstance(call.func, ast.Attribute)
    owner, source = call.func.value, call.args[-1] if call.args else None
    if not isinstance(owner, ast.Name) or source is None:
        return False
    values = [b.value for b in script.bindings(owner.id, owner)]
    if values and all(_is_like(script, v, source) for v in values):
        return True
    return bool(values) and all(
        isinstance(v, ast.Call)
        and isinstance(v.func, ast.Attribute)
        and v.func.attr in ("new_zeros", "new_ones", "new_full", "new_empty")
        and ast.unparse(v.func.value) == ast.unparse(source)
        for v in values
    )


def _is_like(script: Script, buffer: ast.AST | None, source: ast.expr) -> bool:
    """`torch.full_like(logits, -inf)`, where the source is the largest of the same logits."""
    name = script.called(buffer) if buffer is not None else None
    if not isinstance(buffer, ast.Call) or not (name or "").endswith("_like") or not buffer.args:
        return False
    like = ast.unparse(buffer.args[0])
    bindings = script.bindings(source.id, source) if isinstance(source, ast.Name) else []
    return bool(bindings) and all(
        b.index == 0
        and isinstance(b.value, ast.Call)
        and isinstance(b.value.func, ast.Attribute)
        and b.value.func.attr in ("topk", "sort")
        and like in (ast.unparse(b.value.func.value), *(ast.unparse(a) for a in b.value.args[:1]))
        for b in bindings
    )


def _is_number(script: Script, node: ast.expr) -> bool:
    """A constant, or an attribute that this file sets to sums of constants and parameters with numeric defaults."""
    if isinstance(node, ast.Constant | ast.UnaryOp):
        return True
    if isinstance(node, ast.BinOp):
        return _is_number(script, node.left) and _is_number(script, node.right)
    if isinstance(node, ast.Attribute):
        text = ast.unparse(node)
        values = [
            n.value for n in script.nodes if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == text
        ]
        return bool(values) and all(
            not isinstance(v, ast.Attribute) and _is_number(script, v) for v in values
        )
    if isinstance(node, ast.Name):
        bindings = script.bindings(node.id, node)
        return bool(bindings) and all(
            b.kind == "parameter" and _numeric_default(script, b.node) for b in bindings
        )
    return False


def _is_new(script: Script, node: ast.expr) -> bool:
    """A name for a tensor made on the spot, in fp32 under autocast too."""
    if not isinstance(node, ast.Name):
        return False
    values = [b.value for b in script.bindings(node.id, node)]
    names = ("torch.zeros", "torch.ones", "torch.full", "torch.empty")
    return bool(values) and all(isinstance(v, ast.Call) and script.called(v) in names for v in values)


def _set_at_start(script: Script, node: ast.expr, *, of_number: bool) -> bool:
    """An attribute that only `__init__` sets, by arithmetic (with a number): no autocast stands around it."""
    if not isinstance(node, ast.Attribute):
        return False
    text = ast.unparse(node)
    sets = [n for n in script.nodes if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == text]
    plain = (ast.BinOp, ast.Constant, ast.Name, ast.operator, ast.expr_context)
    return bool(sets) and all(
        getattr(script.function(s), "name", "") == "__init__"
        and all(isinstance(n, plain) for n in ast.walk(s.value))
        and (not of_number or any(isinstance(n, ast.Constant) for n in ast.walk(s.value)))
        for s in sets
    )


def _numeric_default(script: Script, parameter: ast.AST) -> bool:
    default = default_of(script.parents[parameter], parameter)
    return isinstance(default, ast.Constant) and isinstance(default.value, int | float)
