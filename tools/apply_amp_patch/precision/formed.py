"""Whether what loses most by rounding is computed in the function that is about to run in fp32."""

import ast

from ..context import Context
from ..flow import LAYER_FUNCTIONS
from ..names import Function
from ..script import Script
from .complements import taken_from_one
from .constants import bounded_below_one
from .coordinates import is_product
from .operations import probabilities_of
from .reaching import reaching

# Whose argument's rounding does not show in what is left of 1; and drawn anew.
_BOUNDED = {"tanh", "sigmoid", "softmax", "softsign", "exp", "exp_", "uniform_", "rand", "rand_like"}
_HANDS_ON = tuple(f"torch.nn.{name}" for name in ("Dropout", "Flatten", "Unflatten", "Identity"))


def is_formed_inside(
    context: Context, script: Script, node: ast.AST, given: frozenset[str] = frozenset()
) -> bool:
    """Whether a distribution's probabilities, or what is taken from 1, are computed in their function.

    That is by what bounds them, or by a layer; what the function is given by these names is computed well already.
    """
    taken = [*taken_from_one(script, node), *bounded_below_one(script, node), *probabilities_of(script, node)]
    function = script.function(node)
    return bool(taken) and all(_is_formed(context, script, function, v, set(given)) for v in taken)


def formed_by_callers(
    context: Context, home: Script, function: Function, sites: list[tuple[Script, ast.Call]]
) -> frozenset[str]:
    """The parameters of a function for which each of its calls passes what the caller computes."""
    roles, found = context.roles_of(home), set()
    for name in (a.arg for a in [*function.args.args, *function.args.kwonlyargs]):
        passed = [(s, c, roles.argument(c, function, name)) for s, c in sites]
        if all(v is None or _is_formed(context, s, s.function(c), v, set()) for s, c, v in passed):
            found.add(name)
    return frozenset(found)


def _is_formed(
    context: Context, script: Script, function: Function | None, value: ast.expr, names: set[str]
) -> bool:
    """`names` are those looked at already: `p = p.clamp(0, 1)` is formed where p was before."""
    parts = [v for v in ast.iter_child_nodes(value) if isinstance(v, ast.expr)]
    match value:
        case ast.Constant():
            return True
        case ast.BinOp(op=ast.MatMult()):
            return True
        case ast.Attribute(value=ast.Name(id="self")) | ast.Attribute(attr="shape" | "ndim"):
            return True  # a weight, a setting
        case ast.Name(id=name):
            bindings = script.bindings(name, value)
            parts = [b.value for b in bindings if b.kind == "assign" and b.value is not None]
            given = len(parts) < len(bindings)
            place = f"{value.lineno}:{value.col_offset}" if given else name
            if name in names or place in names:
                return True
            names.add(place)
            if given:  # `p = p.sigmoid()` of a parameter: what it is here
                found = reaching(script, value) or []
                parts = [d.node for d in found if isinstance(d.node, ast.expr) and d.index is None]
                if not found or len(parts) < len(found):
                    return False
            places = [script.function(v) for v in parts]  # what the module computes is no half, see closed.py
            if not all(f is function or f is None for f in places):
                return False
        case ast.Call(func=func):
            last = func.attr if isinstance(func, ast.Attribute) else getattr(func, "id", "")
            if last in ("size", "len", "dim", "numel"):
                return True
            if last in _BOUNDED or is_product(value) or _forms(context, script, value):
                return True
            owner = [func.value] if isinstance(func, ast.Attribute) and not script.qualified(func) else []
            parts = [*owner, *value.args]
    return all(_is_formed(context, script, function, part, names) for part in parts)


def _forms(context: Context, script: Script, call: ast.Call) -> bool:
    """Whether a call runs a layer or bounds what it is given; one that reshapes or drops hands on what was rounded."""
    if name := script.called(call):
        nodes = [n for _, n in context.named_elsewhere(name)]
        last = {n.func.attr for n in nodes if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute)}
        return name in LAYER_FUNCTIONS or bool(last & _BOUNDED) or any(map(is_product, nodes))
    made = [o.name for o in context.roles_of(script).origins(call.func) if o.kind == "call"]
    return context.flow_of(script).calls_model(call) and not any(n.startswith(_HANDS_ON) for n in made)


def is_conditioned(context: Context, script: Script, node: ast.AST) -> bool:
    """Whether a matrix is computed in the function that decomposes it: one that was rounded may have no inverse."""
    above = script.parents.get(node)
    call = above if isinstance(above, ast.Call) and above.func is node else node
    if not isinstance(call, ast.Call):
        return False
    owner = [call.func.value] if isinstance(call.func, ast.Attribute) and not script.called(call) else []
    values = [*owner, *call.args, *(k.value for k in call.keywords)]
    return all(_is_formed(context, script, script.function(call), value, set()) for value in values)
