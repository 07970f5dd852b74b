"""Whether a function computes from its arguments alone, so that nothing half gets in when they are cast."""

import ast
from collections.abc import Iterator

from ..context import Context
from ..flow import Flow, path
from ..names import Function
from ..roles import Roles
from ..script import Script
from .dtypes import Dtypes

_GROWS = {"append", "extend", "add", "update", "insert", "setdefault", "pop", "remove", "clear", "sort"}
_OF_A_TENSOR = {"shape", "dtype", "device", "T", "mT", "ndim", "is_cuda", "requires_grad", "data", "training"}
_OWN_GRADIENTS = ("torch.autograd.grad", "torch.autograd.functional.", "torch.func.", "functorch.")
_COMPILED = ("torch.jit.", "torch.compile", "torch.vmap", "torch.func.", "numba.")
_STARTS = {"__init__", "to", "cuda", "cpu", "_apply", "reset_parameters", "init_weights"}  # no step runs them
# Whose argument's rounding does not show in what is left of 1; and drawn anew.
_BOUNDED = {"tanh", "sigmoid", "softmax", "softsign", "exp", "uniform_", "rand", "rand_like"}


def is_closed(context: Context, script: Script, function: Function) -> bool:
    """Whether a function of the project needs only its arguments and weights, and may be given copies."""
    if script is context.script and context.training.effect(function):
        return False
    roles = context.roles_of(script)
    queue, seen = [function], {function}
    while queue:
        inner = queue.pop()
        if not computes_alone(context, script, inner):
            return False
        for call in (n for n in ast.walk(inner) if isinstance(n, ast.Call)):
            new = [f for f in roles.callees(call) if f not in seen and f.name != "__init__"]
            seen.update(new)
            queue += new
    return takes_copies(function)


def computes_alone(context: Context, script: Script, function: Function) -> bool:
    """Whether nothing half gets into a function but by its arguments."""
    return (
        _is_plain(script, function)
        and _attributes_are_set_at_start(context.roles_of(script), function)
        and all(_is_full(context, script, name) for name in _free_names(script, function))
    )


def takes_copies(function: Function) -> bool:
    """Whether a function may be given cast arguments: it changes none, and reads nothing inside of one."""
    return not _changes_arguments(function) and not _reads_inside_arguments(function)


def is_formed_inside(context: Context, script: Script, node: ast.AST) -> bool:
    """Whether what a node takes from 1 is computed in its function, by what bounds it or by a layer."""
    flow = context.flow_of(script)
    taken = [n.right for n in ast.walk(node) if isinstance(n, ast.BinOp) and isinstance(n.op, ast.Sub)]
    return bool(taken) and all(_is_formed(flow, script.function(node), value, set()) for value in taken)


def _is_formed(flow: Flow, function: Function | None, value: ast.expr, names: set[str]) -> bool:
    """`names` are those looked at already: `p = p.clamp(0, 1)` is formed where p was before."""
    script = flow.script
    parts = [v for v in ast.iter_child_nodes(value) if isinstance(v, ast.expr)]
    match value:
        case ast.Constant():
            return True
        case ast.Attribute(value=ast.Name(id="self")):  # a weight or a setting
            return True
        case ast.Name(id=name):
            if name in names:
                return True
            names.add(name)
            bindings = script.bindings(name, value)
            parts = [b.value for b in bindings if b.kind == "assign" and b.value is not None]
            if len(parts) < len(bindings) or not all(script.function(v) is function for v in parts):
                return False
        case ast.Call(func=func):
            last = func.attr if isinstance(func, ast.Attribute) else getattr(func, "id", "")
            if last in _BOUNDED or flow.calls_model(value):
                return True
            owner = [func.value] if isinstance(func, ast.Attribute) and not script.qualified(func) else []
            parts = [*owner, *value.args]
    return all(_is_formed(flow, function, part, names) for part in parts)


def _is_plain(script: Script, function: Function) -> bool:
    """No coroutine, generator, compiled code or maker of functions, and no gradients of its own."""
    inside = list(ast.walk(function))
    if isinstance(function, ast.AsyncFunctionDef) or any(
        isinstance(n, ast.Yield | ast.YieldFrom | ast.Await | Function) for n in inside[1:]
    ):
        return False
    calls = [script.called(n) or "" for n in inside if isinstance(n, ast.Call)]
    marks = [
        script.qualified(d.func if isinstance(d, ast.Call) else d) or "" for d in function.decorator_list
    ]
    return not any(n.startswith(_OWN_GRADIENTS) for n in calls) and not any(
        mark.startswith(_COMPILED) for mark in marks
    )


def _free_names(script: Script, function: Function) -> Iterator[ast.Name]:
    """The names that a function reads and does not bind itself."""
    for node in ast.walk(function):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            bindings = script.bindings(node.id, node)
            if bindings and not any(script.function(b.node) is function for b in bindings):
                yield node


def _is_full(context: Context, script: Script, name: ast.Name) -> bool:
    """Whether a name from outside of a function holds nothing half."""
    bindings = script.bindings(name.id, name)
    if {b.kind for b in bindings} <= {"import", "function", "class"}:
        return True
    at_import = all(script.function(b.node) is None for b in bindings)
    return at_import and (script is not context.script or Dtypes(context).of(name) in ("full", "integer"))


def _attributes_are_set_at_start(roles: Roles, method: Function) -> bool:
    """Whether the attributes that a method reads of its object are set in `__init__` alone, or called."""
    holder = roles.script.method_class(method)
    arguments = [*method.args.posonlyargs, *method.args.args]
    if holder is None or not arguments:
        return True
    me = arguments[0].arg
    called = {n.func for n in ast.walk(method) if isinstance(n, ast.Call)}
    read = {
        n.attr
        for n in ast.walk(method)
        if isinstance(n, ast.Attribute) and path(n) == f"{me}.{n.attr}" and n not in called
    } - {"training"}
    started: set[str] = set()
    later: set[str] = set()
    for other in (s for kin in roles.family(holder) for s in kin.body):
        if isinstance(other, Function):
            stored = {n.attr for n in ast.walk(other) if isinstance(n, ast.Attribute) and not _is_load(n)}
            (started if other.name in _STARTS else later).update(stored)
            names = [n.args[0].value for n in ast.walk(other) if _registers(n)]  # type: ignore[attr-defined]
            started.update(n for n in names if isinstance(n, str))
        elif isinstance(other, ast.Assign | ast.AnnAssign):
            targets = other.targets if isinstance(other, ast.Assign) else [other.target]
            started.update(t.id for t in targets if isinstance(t, ast.Name))
    return not read & later and read <= started


def _registers(node: ast.AST) -> bool:
    named = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    kinds = ("register_buffer", "register_parameter")
    return named and node.func.attr in kinds and bool(node.args) and isinstance(node.args[0], ast.Constant)  # type: ignore[attr-defined]


def _is_load(node: ast.Attribute) -> bool:
    return isinstance(node.ctx, ast.Load)


def _parameters(function: Function) -> set[str]:
    arguments = function.args
    return {a.arg for a in [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]} - {"self", "cls"}


def _reads_inside_arguments(function: Function) -> bool:
    """`batch.x`: what an object carries is not cast with the arguments."""
    given = _parameters(function)
    called = {n.func for n in ast.walk(function) if isinstance(n, ast.Call)}
    return any(
        isinstance(n, ast.Attribute)
        and isinstance(n.value, ast.Name)
        and n.value.id in given
        and n not in called
        and n.attr not in _OF_A_TENSOR
        for n in ast.walk(function)
    )


def _changes_arguments(function: Function) -> bool:
    """Whether a function changes in place what it is given: the caller would not see it on a copy."""
    given = _parameters(function)

    def is_given(node: ast.AST) -> bool:
        while isinstance(node, ast.Subscript | ast.Attribute | ast.Starred):
            node = node.value
        return isinstance(node, ast.Name) and node.id in given

    for node in ast.walk(function):
        if isinstance(node, ast.AugAssign) and is_given(node.target):
            return True
        stored = isinstance(node, ast.Subscript | ast.Attribute) and not isinstance(node.ctx, ast.Load)
        if stored and is_given(node):
            return True
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and is_given(node.func.value):
            name = node.func.attr
            if name in _GROWS or (name.endswith("_") and not name.endswith("__")):
                return True
    return False
