"""Derivatives that no layer gives out: a critic's gradient penalty, and the inner step of meta-learning."""

import ast

from ..names import last_name
from ..script import Script
from .reaching import reaching

_NORMS = ("torch.norm", "torch.linalg.norm", "torch.linalg.vector_norm", "torch.square", "torch.abs")
_SQUARES = {"norm", "pow", "square", "abs"}
_WEIGHTS = ("param", "weight", "vars")  # `fast_weights`, `self.vars`, `net.params()`
_SHAPES = {"view", "reshape", "flatten", "contiguous"}
_FACTS = {"shape", "size", "device", "dtype"}


def is_inner_step(script: Script, derivative: ast.Call) -> bool:
    """Whether a derivative is taken by parameters, which a step then moves: `grad(loss, self.parameters())`."""
    inputs = [*derivative.args[1:2], *(k.value for k in derivative.keywords if k.arg == "inputs")]
    named = [b.value for i in inputs if isinstance(i, ast.Name) for b in script.bindings(i.id, i)]
    texts = [ast.unparse(value).lower() for value in [*inputs, *named] if value is not None]
    return any(word in text for text in texts for word in _WEIGHTS)


def is_penalty(script: Script, derivative: ast.Call) -> bool:
    """Whether nothing but the size of a derivative counts, which two digits serve as they do in any penalty."""
    return _measured(script, derivative, set())


def gives_out(script: Script, derivative: ast.Call) -> bool:
    """Whether the function around a derivative returns it, or what it makes of more than its size."""
    function = script.function(derivative)
    inside: set[ast.AST] = set() if function is None else {function}
    return not is_inner_step(script, derivative) and not _measured(script, derivative, inside)


def _measured(script: Script, node: ast.expr, seen: set[ast.AST]) -> bool:
    """Whether a value ends in a norm or a square, maybe under names, in another shape and where it is returned to."""
    above = script.parents[node]
    function = script.function(node)
    match above:
        case ast.Subscript(value=value) if value is node:
            return _measured(script, above, seen)
        case ast.Attribute(attr=attr):
            if attr in _SQUARES or attr in _FACTS:
                return True
            return attr in _SHAPES and _measured(script, script.parents[above], seen)  # type: ignore[arg-type]
        case ast.BinOp(left=left, op=ast.Pow()):
            return left is node
        case (
            ast.BinOp(left=left, op=ast.Mult(), right=right)
            | ast.Call(func=ast.Attribute(attr="mul"), args=[left, right])
        ):
            return ast.unparse(left) == ast.unparse(right)
        case ast.BinOp(left=left, op=ast.Div(), right=right):  # its direction
            return left is node and any(last_name(n) == "norm" for n in ast.walk(right))
        case ast.Call():
            return node in above.args[:1] and script.called(above) in _NORMS
        case (
            ast.Assign(targets=[ast.Name(id=name)], value=value)
            | ast.Assign(targets=[ast.Tuple(elts=[ast.Name(id=name)])], value=value)
        ):
            return value in seen or all(
                _measured(script, n, {*seen, value})
                for n in ast.walk(function or script.tree)
                if isinstance(n, ast.Name) and n.id == name and _holds(script, n, value)
            )
        case ast.Return() if function is not None and function not in seen:
            calls = [c for c in script.calls if last_name(c) == function.name]
            return bool(calls) and all(_measured(script, c, {*seen, function}) for c in calls)
    return False


def _holds(script: Script, use: ast.Name, value: ast.expr) -> bool:
    """Whether a name may be read here with a value that it was given."""
    if not isinstance(use.ctx, ast.Load):
        return False
    found = reaching(script, use)
    return found is None or any(definition.node is value for definition in found)
