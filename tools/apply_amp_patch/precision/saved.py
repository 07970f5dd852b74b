"""What a script pickles: states, numbers and tensors, or perhaps a whole module and all that hangs on it."""

import ast
from collections.abc import Iterator

from ..context import Context
from ..index import returns
from ..models import makes_model
from ..names import Binding, Function
from ..roles import Roles
from ..script import Script

_SAVES = ("torch.save", "pickle.dump", "joblib.dump", "dill.dump", "cloudpickle.dump", "mlflow.pytorch.")
_LOAD = "torch.load"
_PLAIN_PACKAGES = (
    "torch.",
    "numpy.",
    "math.",
    "time.",
    "datetime.",
    "yaml.",
    "json.",
    "argparse.",
    "random.",
    "os.",
)
_HOLDERS = {"dict", "list", "tuple", "next", "iter", "OrderedDict", "defaultdict"}
_NUMBERS = {"int", "float", "str", "len", "vars", "round", "range", "enumerate"}
_OF_STATES = {"state_dict", "item", "numpy", "tolist", "detach", "view", "reshape", "parse_args", "format"}
_OF_ENTRIES = {"items", "values", "keys", "get", "copy"}
_FILLING = {"append", "update", "extend", "setdefault", "insert", "add"}
_OF_METERS = {"avg", "sum", "count", "val"}


def saves_modules(context: Context, hooked: list[ast.expr]) -> str | None:
    """The call that may pickle a hooked module, here or in what the script runs of its project; None if none does."""
    saved = _Saved(context, hooked)
    for script in saved.scripts:
        for call in script.calls:
            if not (script.called(call) or "").startswith(_SAVES):
                continue
            function = script.function(call)
            runs = (
                script is context.script
                or not isinstance(function, Function)
                or context.reached.holds(function)
            )
            if runs and not (call.args and saved.is_state(script, call.args[0])):
                return ast.unparse(ast.Call(call.func, call.args[:1], []))
    return None


class _Saved:
    """Follows what is saved to states, numbers and tensors; what it cannot follow may be a module."""

    def __init__(self, context: Context, hooked: list[ast.expr]) -> None:
        self.context = context
        self.scripts = [context.script, *context.project.values()]
        origins = {o for module in hooked for o in context.roles.origins(module)}
        self._loads_hooked = any(o.kind in ("parameter", "unknown") or o.name == _LOAD for o in origins)
        self._hooked = {name for module in hooked for name in _names_of(context.script, module)}
        self._known: dict[ast.expr, bool] = {}

    def _roles(self, script: Script) -> Roles:
        return self.context.roles if script is self.context.script else self.context.roles_of(script)

    def is_state(self, script: Script, node: ast.expr | None) -> bool:
        if node is None or ast.unparse(node) in self._hooked:
            return False
        if node not in self._known:
            self._known[node] = True  # what is asked in a circle: the other values decide
            self._known[node] = self._is_state(script, node)
        return self._known[node]

    def _is_state(self, script: Script, node: ast.expr) -> bool:
        match node:
            case ast.Constant() | ast.JoinedStr() | ast.Compare() | ast.BinOp() | ast.UnaryOp():
                return True
            case ast.Name():
                bindings = script.bindings(node.id, node)
                filled = all(self.is_state(script, v) for v in _added(script, node))
                return bool(bindings) and filled and all(self._bound(script, node, b) for b in bindings)
            case ast.Attribute():
                return self._attribute(script, node)
            case ast.Call():
                return self._call(script, node)
            case ast.Subscript(slice=ast.Constant(value=str())):
                if any(o.name == _LOAD for o in self._roles(script).origins(node.value)):
                    return True  # an entry of a checkpoint, which no hook was set on
        parts = _parts(node)
        return parts is not None and all(self.is_state(script, p) for p in parts)

    def _call(self, script: Script, call: ast.Call) -> bool:
        name = script.called(call) or ""
        method = call.func.attr if isinstance(call.func, ast.Attribute) and not name else ""
        package, _, plain = name.rpartition(".")
        builtin = plain if package in ("builtins", "collections") else ""
        if builtin in _HOLDERS:
            return all(self.is_state(script, v) for v in [*call.args, *(k.value for k in call.keywords)])
        if name == _LOAD:
            return not self._loads_hooked
        if builtin in _NUMBERS or method in _OF_STATES:
            return True
        if name.startswith(_PLAIN_PACKAGES):
            return not (name.startswith(("torch.jit.", "torch.hub.")) or makes_model(name))
        if method in _OF_ENTRIES:
            return self.is_state(script, call.func.value)  # type: ignore[attr-defined]
        last = method or plain
        own = [(script, f) for f in self._roles(script).callees(call)]
        runs = own or [(s, f) for s in self.scripts for f in s.functions if f.name == last]
        given = [(s, v) for s, f in runs for v in returns(s, f)]
        return bool(given) and all(self.is_state(s, v) for s, v in given)

    def _bound(self, script: Script, node: ast.Name, binding: Binding) -> bool:
        if binding.kind == "parameter":
            return self._parameter(node.id, script, binding.node)
        followed = binding.kind in ("assign", "loop") or isinstance(binding.node, ast.AugAssign)
        return followed and self.is_state(script, binding.value)

    def _parameter(self, name: str, script: Script, argument: ast.AST) -> bool:
        """By what is passed for it, wherever something of the function's name is called."""
        function = script.parents[script.parents[argument]]
        if not isinstance(function, Function):
            return False
        holder = script.method_class(function)
        called = holder.name if holder is not None and function.name == "__init__" else function.name
        values = [
            (other, self._roles(script).argument(call, function, name))
            for other in self.scripts
            for call in other.calls
            if ast.unparse(call.func).split(".")[-1] == called
        ]
        return bool(values) and all(self.is_state(other, value) for other, value in values)

    def _attribute(self, script: Script, node: ast.Attribute) -> bool:
        if script.qualified(node) or node.attr in _OF_METERS:
            return node.attr in _OF_METERS
        assigned = [value for _, value, _ in self._roles(script).assigned(node)]
        values = [*assigned, *_added(script, node)]
        return (
            all(self.is_state(script, v) for v in values) if assigned else self.is_state(script, node.value)
        )


def _parts(node: ast.expr) -> list[ast.expr] | None:
    """What a display holds, what a choice may give; None for anything else."""
    match node:
        case ast.Dict() | ast.BoolOp():
            return list(node.values)
        case ast.List() | ast.Tuple() | ast.Set():
            return list(node.elts)
        case ast.ListComp() | ast.GeneratorExp():
            return [node.elt]
        case ast.DictComp() | ast.Starred() | ast.Subscript() | ast.NamedExpr():
            return [node.value]
        case ast.IfExp():
            return [node.body, node.orelse]
        case ast.Lambda():
            return [node.body]
    return None


def _names_of(script: Script, module: ast.expr) -> Iterator[str]:
    """The names of a hooked module, and of what it is wrapped in."""
    yield ast.unparse(module)
    if isinstance(module, ast.Name):
        yield from (ast.unparse(b.value) for b in script.bindings(module.id, module) if b.value is not None)
    statement = script.statement(module)
    if isinstance(statement, ast.Assign):
        yield from (ast.unparse(t) for t in statement.targets)


def _added(script: Script, container: ast.Name | ast.Attribute) -> Iterator[ast.expr]:
    """What is put into a container: in the function that fills it, anywhere if more than that function sees it."""
    text, function = ast.unparse(container), script.function(container)
    own = isinstance(container, ast.Name) and any(
        script.function(b.node) is function for b in script.bindings(container.id, container)
    )
    for node in script.nodes:
        if own and script.function(node) is not function:
            continue
        match node:
            case ast.Assign():
                yield from (
                    node.value for t in node.targets if isinstance(t, ast.Subscript) and _root(t) == text
                )
            case ast.AugAssign() if _root(node.target) == text:
                yield node.value
            case ast.Call(func=ast.Attribute(attr=method, value=owner)) if method in _FILLING:
                if _root(owner) == text:
                    yield from [*node.args, *(k.value for k in node.keywords)]


def _root(node: ast.expr) -> str:
    """`state` of `state["a"][0]`."""
    while isinstance(node, ast.Subscript):
        node = node.value
    return ast.unparse(node)
