"""What leaves an evaluation: values that still carry gradients, and whether a training reads them."""

import ast

from .context import Context
from .index import returns
from .names import Function

_NUMBERS = ("numpy.", "math.", "sklearn.", "statistics.", "builtins.")
_ADDING = ("append", "extend", "add", "update", "insert")
_NUMBER_METHODS = {"item", "tolist", "numpy", "format", "join", "detach"}


def is_number(context: Context, node: ast.expr, depth: int = 0) -> bool:
    """A value that carries no gradient: a number, text or an array, also through names; not known is no."""
    if isinstance(node, ast.Constant | ast.JoinedStr | ast.Compare):
        return True
    if isinstance(node, ast.Tuple | ast.List):
        return all(is_number(context, e, depth) for e in node.elts)
    if isinstance(node, ast.Dict):
        return all(is_number(context, v, depth) for v in node.values)
    if isinstance(node, ast.BinOp):
        return is_number(context, node.left, depth) and is_number(context, node.right, depth)
    if isinstance(node, ast.Attribute):
        return node.attr in ("avg", "sum", "count")  # of a meter
    if isinstance(node, ast.Call):
        name = context.script.called(node) or ""
        if name.startswith(_NUMBERS) and name not in ("builtins.sum", "builtins.max", "builtins.min"):
            return name not in ("builtins.list", "builtins.tuple", "builtins.dict")
        if name.startswith("builtins."):
            return all(is_number(context, a, depth) for a in node.args)
        return isinstance(node.func, ast.Attribute) and node.func.attr in _NUMBER_METHODS
    if isinstance(node, ast.Name) and depth < 3:
        values = [b.value for b in context.script.bindings(node.id, node)]
        values += [a for c in _added(context, node) for a in c.args]
        return bool(values) and all(v is not None and is_number(context, v, depth + 1) for v in values)
    return False


def _added(context: Context, node: ast.Name) -> list[ast.Call]:
    """Calls that add to a list under this name, in its function."""
    calls = [c for name in _ADDING for c in context.script.method_calls(name)]
    function = context.script.function(node)
    return [
        c
        for c in calls
        if ast.unparse(c.func.value) == node.id  # type: ignore[attr-defined]
        and context.script.function(c) is function
    ]


def kept(context: Context, statement: ast.stmt) -> set[str]:
    """The names that a statement assigns or appends to, numbers excepted."""
    found: set[str] = set()
    for node in ast.walk(statement):
        if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign):
            if node.value is not None and not is_number(context, node.value):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                found |= {n for t in targets for n in _names(t)}
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in _ADDING
            and not all(is_number(context, a) for a in node.args)
        ):
            found |= _names(node.func.value)
    return found


def read_by_training(context: Context) -> set[str]:
    """The names that a training reads and that it has from outside its loop."""
    script, training = context.script, context.training
    found: set[str] = set()
    for statement in {s for feeding in training.contributors.values() for s in feeding}:
        loops = [a for a in script.ancestors(statement) if isinstance(a, ast.For | ast.While)]
        own = _names(statement, ast.Load)
        for loop in loops:
            own |= _names(loop.iter, ast.Load) if isinstance(loop, ast.For) else set()
        found |= own - {n for loop in loops for n in _names(loop, ast.Store)}
    for call in script.calls:
        functions = [f for f in context.roles.callees(call) if isinstance(f, Function)]
        if any(training.effect(f) for f in functions):
            found |= {n for a in [*call.args, *call.keywords] for n in _names(a, ast.Load)}
    return found


def read_by_caller(context: Context, statement: ast.stmt) -> set[str]:
    """The names behind what the function around a statement returns, numbers excepted."""
    function = context.script.function(statement)
    values = returns(context.script, function) if function is not None else []
    return {n for v in values if not is_number(context, v) for n in _names(v)}


def _names(node: ast.AST, context: type[ast.expr_context] | None = None) -> set[str]:
    """Names, and what is kept under attributes of self."""
    return {
        n.id if isinstance(n, ast.Name) else n.attr
        for n in ast.walk(node)
        if (isinstance(n, ast.Name) and n.id != "self")
        or (isinstance(n, ast.Attribute) and isinstance(n.value, ast.Name) and n.value.id == "self")
        if context is None or isinstance(n.ctx, context)
    }
