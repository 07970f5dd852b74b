"""Derivatives that no layer gives out: a critic's gradient penalty, and the inner step of meta-learning."""

import ast

from ..script import Script

_NORMS = ("torch.norm", "torch.linalg.norm", "torch.linalg.vector_norm")
_SQUARES = {"norm", "pow", "square"}
_SHAPES = {"view", "reshape", "flatten", "contiguous"}
_FACTS = {"shape", "size", "device", "dtype"}


def is_inner_step(script: Script, derivative: ast.Call) -> bool:
    """Whether a derivative is taken by parameters, which a step then moves: `grad(loss, self.parameters())`."""
    inputs = [*derivative.args[1:2], *(k.value for k in derivative.keywords if k.arg == "inputs")]
    named = [b.value for i in inputs if isinstance(i, ast.Name) for b in script.bindings(i.id, i)]
    return any(
        isinstance(n, ast.Attribute) and n.attr in ("parameters", "named_parameters")
        for value in [*inputs, *named]
        if value is not None
        for n in ast.walk(value)
    )


def is_penalty(script: Script, derivative: ast.Call) -> bool:
    """Whether nothing but the size of a derivative counts, which two digits serve as they do in any penalty."""
    function = script.function(derivative)
    return function is not None and _measured(script, function, derivative, set())


def _measured(script: Script, function: ast.AST, node: ast.expr, names: set[str]) -> bool:
    """Whether a value ends in a norm or a square, maybe under names and in another shape."""
    above = script.parents[node]
    match above:
        case ast.Subscript(value=value) if value is node:
            return _measured(script, function, above, names)
        case ast.Attribute(attr=attr):
            if attr in _SQUARES or attr in _FACTS:
                return True
            return attr in _SHAPES and _measured(script, function, script.parents[above], names)  # type: ignore[arg-type]
        case ast.BinOp(left=left, op=ast.Pow()):
            return left is node
        case ast.Call():
            return node in above.args[:1] and script.called(above) in _NORMS
        case ast.Assign(targets=[ast.Name(id=name)]):
            return name in names or all(
                _measured(script, function, n, {*names, name})
                for n in ast.walk(function)
                if isinstance(n, ast.Name) and n.id == name and isinstance(n.ctx, ast.Load)
            )
    return False
