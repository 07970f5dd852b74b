"""What an expression holds of a model's parameters: whoever is given those can read and change their gradients."""

import ast
from collections.abc import Iterator

from ..context import Context
from ..flow import path
from ..names import Function
from ..once import once
from ..script import Script

_GIVE = {"parameters", "named_parameters"}
_GATHER = {
    f"builtins.{name}" for name in ("list", "tuple", "set", "iter", "filter", "reversed", "sorted", "dict")
}
_MOST = 40  # expressions behind one


def gives_parameters(context: Context, node: ast.expr) -> bool:
    """Whether a value is parameters, or a collection of them: through names, attributes, arguments and returns.

    What is computed of parameters is none: `sum(p.norm() for p in model.parameters())` has gradients of its own.
    """
    queue, seen = [node], {node}
    while queue and len(seen) < _MOST:
        value = queue.pop()
        if _are_parameters(value):
            return True
        more = [*_inside(context, value), *_added(context, value)]
        if isinstance(value, ast.Name) and value is not node:  # one by one they are only gathered again
            more += [
                b.value for b in context.script.bindings(value.id, value) if b.kind == "loop" and b.value
            ]
        queue += [v for v in more if v not in seen]
        seen.update(more)
    return False


def _are_parameters(value: ast.expr) -> bool:
    match value:
        case ast.Call(func=ast.Attribute(attr=name)):
            return name in _GIVE
        case ast.Attribute(attr="param_groups"):
            return True
    return False


def _inside(context: Context, value: ast.expr) -> Iterator[ast.expr]:
    """The expressions that a value is, or that it is gathered from."""
    match value:
        case ast.Call():
            name = context.script.called(value) or ""
            if name in _GATHER or name.startswith("itertools."):
                yield from value.args
            else:
                yield from (v for f in context.roles.callees(value) for v in _returned(f))
        case ast.ListComp(elt=element) | ast.GeneratorExp(elt=element) | ast.SetComp(elt=element):
            if isinstance(element, ast.Name | ast.Tuple | ast.Dict):
                yield from (part.iter for part in value.generators)
        case ast.List(elts=elements) | ast.Tuple(elts=elements) | ast.Set(elts=elements):
            yield from elements
        case ast.Dict(values=values) | ast.BoolOp(values=values):
            yield from values
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            yield from (left, right)
        case ast.IfExp(body=body, orelse=other):
            yield from (body, other)
        case ast.Starred(value=inner) | ast.Subscript(value=inner) | ast.NamedExpr(value=inner):
            yield inner
        case ast.Attribute():
            yield from (stored for _, stored, _ in context.roles.assigned(value))
        case ast.Name():
            yield from _bound(context, value)


def _bound(context: Context, name: ast.Name) -> Iterator[ast.expr]:
    script, roles = context.script, context.roles
    for binding in script.bindings(name.id, name):
        if binding.kind == "assign" and binding.index is None and binding.value is not None:
            yield binding.value
        function = script.parents.get(script.parents.get(binding.node, binding.node))
        if binding.kind == "parameter" and isinstance(function, Function):
            given = (roles.argument(call, function, name.id) for call in roles.call_sites(function))
            yield from (value for value in given if value is not None)


def _added(context: Context, value: ast.expr) -> Iterator[ast.expr]:
    """What is put into a list: `params.append({"params": net.parameters()})`, `params += net.parameters()`."""
    name = path(value)
    if name is None:
        return
    script = context.script
    home = script.bindings(value.id, value) if isinstance(value, ast.Name) else None
    for owner, given in _puts(script).get(name, []):
        if home is None or script.bindings(name, owner) is home:
            yield from given


@once
def _puts(script: Script) -> dict[str, list[tuple[ast.expr, list[ast.expr]]]]:
    """What lists grow by, and the expressions for those lists, by their names."""
    found: dict[str, list[tuple[ast.expr, list[ast.expr]]]] = {}
    for call in [*script.method_calls("append"), *script.method_calls("extend")]:
        owner = call.func.value  # type: ignore[attr-defined]
        found.setdefault(path(owner) or "", []).append((owner, call.args))
    for node in script.nodes:
        if isinstance(node, ast.AugAssign):
            found.setdefault(path(node.target) or "", []).append((node.target, [node.value]))
    return found


def _returned(function: Function) -> list[ast.expr]:
    return [n.value for n in ast.walk(function) if isinstance(n, ast.Return) and n.value is not None]
