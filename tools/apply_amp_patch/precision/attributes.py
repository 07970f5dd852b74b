"""What the attributes of one file are set to, by how they are spelt."""

import ast

from ..once import once
from ..script import Script


def set_to(script: Script, attribute: ast.expr) -> list[ast.expr]:
    """The values that `self.xs = ...` and `self.register_buffer("xs", ...)` give an attribute."""
    return _values(script).get(ast.unparse(attribute), [])


@once
def _values(script: Script) -> dict[str, list[ast.expr]]:
    found: dict[str, list[ast.expr]] = {}
    for node in script.nodes:
        match node:
            case ast.Assign(targets=[ast.Attribute() as target], value=value):
                found.setdefault(ast.unparse(target), []).append(value)
            case ast.Assign(targets=[ast.Tuple(elts=targets)], value=ast.Tuple(elts=values)):
                for name, given in zip(targets, values, strict=False):
                    if isinstance(name, ast.Attribute):
                        found.setdefault(ast.unparse(name), []).append(given)
            case ast.Call(
                func=ast.Attribute(attr="register_buffer"),
                args=[ast.Constant(value=str() as buffer), value, *_],
            ):
                found.setdefault(f"self.{buffer}", []).append(value)
    return found
