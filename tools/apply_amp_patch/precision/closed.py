"""Whether a function computes from its arguments alone, so that nothing half gets in when they are cast."""

import ast
from collections.abc import Iterator

from ..context import Context
from ..flow import DATA_METHODS, TENSOR_METHODS, path
from ..names import Function
from ..roles import Roles
from ..script import Script
from .dtypes import Dtypes

_GROWS = {"append", "extend", "add", "update", "insert", "setdefault", "pop", "remove", "clear", "sort"}
_OF_A_TENSOR = {"shape", "dtype", "device", "T", "mT", "ndim", "is_cuda", "requires_grad", "data", "training"}
_OTHERS = {"inverse", "logdet", "det", "diagonal", "square", "neg", "conj", "softplus", "cumsum", "rsqrt"}
_OTHERS |= {"get_device", "is_contiguous", "argsort", "nonzero", "unique", "isnan"}
_OF_TENSORS = (TENSOR_METHODS | DATA_METHODS | _OTHERS) - {"get", "next"}
# A distribution holds what it was made of.
_OF_A_DISTRIBUTION = {"rsample", "sample", "log_prob", "entropy", "cdf", "icdf"}
_OWN_GRADIENTS = ("torch.autograd.grad", "torch.autograd.functional.", "torch.func.", "functorch.")
_COMPILED = ("torch.jit.", "torch.compile", "torch.vmap", "torch.func.", "numba.")
_STARTS = {"__init__", "to", "cuda", "cpu", "_apply", "reset_parameters", "init_weights"}  # no step runs them


def is_closed(context: Context, script: Script, function: Function) -> bool:
    """Whether a function of the project needs only its arguments and weights, and may be given copies."""
    if script is context.script and context.training.effect(function):
        return False
    roles = context.roles_of(script)
    queue, seen = [function], {function}
    while queue:
        inner = queue.pop()
        if not computes_alone(context, script, inner) or reads_inside(inner):
            return False
        for call in (n for n in ast.walk(inner) if isinstance(n, ast.Call) and not makes_hook(script, n)):
            new = [f for f in roles.callees(call) if f not in seen and f.name != "__init__"]
            seen.update(new)
            queue += new
    return takes_copies(function)


def makes_hook(script: Script, call: ast.Call) -> bool:
    """`x.register_hook(reverse(weight))`: what is made here runs in the backward pass."""
    above = script.parents.get(call)
    return isinstance(above, ast.Call) and getattr(above.func, "attr", "") == "register_hook"


def computes_alone(context: Context, script: Script, function: Function) -> bool:
    """Whether nothing half gets into a function but by its arguments."""
    return (
        _is_plain(script, function)
        and _attributes_are_set_at_start(context.roles_of(script), function)
        and not _reads_what_is_set_later(context, function)
        and all(_is_full(context, script, name) for name in _free_names(script, function))
    )


def takes_copies(function: Function) -> bool:
    """Whether a function may be given cast arguments: it changes none, and reads nothing inside of one."""
    return not changes_arguments(function) and not reads_inside(function)


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
    if any(_is_container(b.value) for b in bindings) and not _is_filled_here(context, script, name):
        return False
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
            if other is not method:  # what it stores itself was computed in fp32
                (started if other.name in _STARTS else later).update(stored)
            later.update(_containers(other))
            names = [n.args[0].value for n in ast.walk(other) if _registers(n)]  # type: ignore[attr-defined]
            started.update(n for n in names if isinstance(n, str))
        elif isinstance(other, ast.Assign | ast.AnnAssign):
            targets = other.targets if isinstance(other, ast.Assign) else [other.target]
            started.update(t.id for t in targets if isinstance(t, ast.Name))
    return not read & later and read <= started


def _is_container(value: ast.AST | None) -> bool:
    """`[]`, `{}`, `deque(maxlen=4)`: what is put into it later, in whatever dtype."""
    if isinstance(value, ast.List):
        return not value.elts
    if isinstance(value, ast.Dict):
        return not value.keys
    names = ("list", "dict", "deque", "defaultdict", "OrderedDict")
    return isinstance(value, ast.Call) and ast.unparse(value.func).split(".")[-1] in names


def _is_filled_here(context: Context, script: Script, name: ast.Name) -> bool:
    """Whether a table of the module is filled by the function that reads it alone, and so in fp32."""
    function = script.function(name)
    for other in [context.script, *context.project.values()]:
        for n in (n for n in other.nodes if isinstance(n, ast.Name) and n.id == name.id):
            above = other.parents.get(n)
            stores = isinstance(above, ast.Subscript) and not isinstance(above.ctx, ast.Load)
            if (stores or (isinstance(above, ast.Attribute) and above.attr in _GROWS)) and (
                other is not script or other.function(n) is not function
            ):
                return False
    return True


def _reads_what_is_set_later(context: Context, function: Function) -> bool:
    """`self.memory.last`, or an attribute that other code sets on the object: `net.state = features`."""
    own: set[str] = set()
    other: set[str] = set()
    called = {n.func for n in ast.walk(function) if isinstance(n, ast.Call)}
    for n in ast.walk(function):
        if isinstance(n, ast.Attribute) and _is_load(n) and n not in called and n.attr not in _OF_A_TENSOR:
            (own if isinstance(n.value, ast.Name) and n.value.id == "self" else other).add(n.attr)
    for script in [context.script, *context.project.values()]:
        for n in script.nodes:
            if not isinstance(n, ast.Attribute) or _is_load(n) or n.attr not in own | other:
                continue
            above = script.parents.get(n)
            plain = isinstance(above, ast.Assign) and isinstance(above.value, ast.Constant)
            if plain or getattr(script.function(n), "name", "") in _STARTS:
                continue
            if n.attr in other or ast.unparse(n.value) != "self":
                return True
    return False


def _containers(function: Function) -> set[str]:
    """The attributes that a function sets to a container with nothing in it."""
    sets = [n for n in ast.walk(function) if isinstance(n, ast.Assign) and _is_container(n.value)]
    return {t.attr for n in sets for t in n.targets if isinstance(t, ast.Attribute)}


def _registers(node: ast.AST) -> bool:
    named = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    kinds = ("register_buffer", "register_parameter")
    return named and node.func.attr in kinds and bool(node.args) and isinstance(node.args[0], ast.Constant)  # type: ignore[attr-defined]


def _is_load(node: ast.Attribute) -> bool:
    return isinstance(node.ctx, ast.Load)


def _parameters(function: Function) -> set[str]:
    arguments = function.args
    return {a.arg for a in [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]} - {"self", "cls"}


def reads_inside(function: Function) -> bool:
    """`batch.x`: what an object carries is not cast with the arguments."""
    given = _parameters(function)
    calls = [n for n in ast.walk(function) if isinstance(n, ast.Call)]
    called = {n.func for n in calls if n.args or n.keywords or getattr(n.func, "attr", "") in _OF_TENSORS}
    called -= {n.func for n in calls if getattr(n.func, "attr", "") in _OF_A_DISTRIBUTION}
    looked_up = any(getattr(c.func, "id", "") in ("getattr", "vars") for c in calls)
    handed = any(isinstance(c.func, ast.Name) and c.func.id in given and not c.args for c in calls)
    return (
        handed
        or any(
            isinstance(n, ast.Attribute)
            and isinstance(n.value, ast.Name)
            and n.value.id in given
            and n not in called
            and n.attr not in _OF_A_TENSOR
            for n in ast.walk(function)
        )
        or (looked_up and bool(given))
    )


def changes_arguments(function: Function, *, but: int = 0) -> bool:
    """Whether a function changes in place what it is given, but the first: the caller would not see it on a copy."""
    given = _parameters(function) - {a.arg for a in function.args.args[:but]}
    for assign in (n for n in ast.walk(function) if isinstance(n, ast.Assign)):
        value = assign.value
        while isinstance(
            value, ast.Subscript | ast.Attribute | ast.Call
        ):  # another name for it, or a view of it
            value = value.func if isinstance(value, ast.Call) else value.value
        if isinstance(value, ast.Name) and value.id in given and not _is_new(assign.value):
            given |= {t.id for t in assign.targets if isinstance(t, ast.Name)}

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
        if isinstance(node, ast.Call) and _works_in_place(node) and any(map(is_given, node.args)):
            return True
    return False


def _is_new(value: ast.expr) -> bool:
    """What a method gives back is another tensor, but where it shows the same one in another shape."""
    views = (
        "view",
        "reshape",
        "squeeze",
        "unsqueeze",
        "transpose",
        "permute",
        "t",
        "detach",
        "contiguous",
        "expand",
    )
    return isinstance(value, ast.Call) and getattr(value.func, "attr", "") not in views


def _works_in_place(call: ast.Call) -> bool:
    """`F.relu(x, inplace=True)`, `torch.relu_(x)`."""
    last = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    asked = any(k.arg == "inplace" and ast.unparse(k.value) != "False" for k in call.keywords)
    dotted = path(call.func) or ""  # not the method of what a call gives: `torch.empty(n).uniform_(*span)`
    plain = isinstance(call.func, ast.Name) or dotted.split(".")[0] in ("torch", "nn", "F")
    return asked or (plain and last.endswith("_") and not last.endswith("__"))
