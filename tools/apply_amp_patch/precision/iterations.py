"""Loops that end once an error is small: half precision may never reach it."""

import ast

from ..names import default_of
from ..script import Script
from .coordinates import is_product

_REACHED = 2**-8  # what bf16 can still tell from 1


def iterates_to_tolerance(script: Script, node: ast.AST) -> bool:
    """`for _ in range(n): q = q @ ...; if error <= 1e-6: break`, where what is iterated is a product."""
    if not isinstance(node, ast.For | ast.While) or not any(is_product(n) for n in ast.walk(node)):
        return False
    tests = [n.test for n in ast.walk(node) if isinstance(n, ast.If) and _breaks(n)]
    tests += [node.test] if isinstance(node, ast.While) else []
    compared = [n for test in tests for n in ast.walk(test) if isinstance(n, ast.Compare)]
    sides = [side for n in compared for side in (n.left, *n.comparators)]
    return any(0 < size < _REACHED for side in sides if (size := _number(script, side)) is not None)


def _breaks(statement: ast.If) -> bool:
    return any(isinstance(s, ast.Break) for s in statement.body)


def _number(script: Script, node: ast.expr) -> float | None:
    """A number as it is written, or the smallest that a name or an attribute of this file is set to."""
    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            return float(value)
        case ast.Name(id=name):
            bindings = script.bindings(name, node)
            values = [b.value for b in bindings if b.kind == "assign"]
            given = [b.node for b in bindings if b.kind == "parameter"]
            values += [d for n in given if (d := default_of(script.parents[n], n)) is not None]
        case ast.Attribute():
            text = ast.unparse(node)
            sets = [n for n in script.nodes if isinstance(n, ast.Assign)]
            values = [n.value for n in sets if ast.unparse(n.targets[0]) == text]
        case _:
            return None
    numbers = [v.value for v in values if isinstance(v, ast.Constant) and isinstance(v.value, int | float)]
    return float(min(numbers)) if numbers and len(numbers) == len(values) else None
