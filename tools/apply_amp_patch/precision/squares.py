"""Sums of squares, as `|x|^2 - 2xy + |y|^2` holds them: written out, as a diagonal, as the square of a norm."""

import ast
from collections.abc import Iterator

from ..names import Binding, Function, last_name
from ..once import once
from ..script import Script
from .attributes import set_to
from .coordinates import factors, is_product

_MOST_VALUES = 60
_SUMS = ("sum", "nansum", "mean", "dot", "vdot")
_NORMS = ("norm", "vector_norm")
_POWERS = ("pow", "pow_", "square", "square_", "float_power")
_TIMES = ("mul", "mul_", "multiply", "multiply_", "dot", "vdot", "inner")


def held(script: Script, node: ast.AST) -> list[ast.expr]:
    """What a name of a function (or an attribute of its object) is set to there; nothing for another node."""
    if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "self":
        return set_to(script, node)
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
        return held_by_name(script, node.id, script.function(node))
    return []


def bindings_in(script: Script, name: str, scope: ast.AST) -> list[Binding]:
    """Every binding of a name as the body of a function, a lambda, a class or the module reads it."""
    body = scope.body  # type: ignore[attr-defined]
    return script.bindings(name, body[0] if isinstance(body, list) else body) if body else []


@once
def held_by_name(script: Script, name: str, function: Function | None) -> list[ast.expr]:
    """What a function (None: the module) sets a name to, but in place; as many values as one can follow at each use."""
    bindings = bindings_in(script, name, script.tree if function is None else function)
    values = [b.value for b in bindings if b.kind == "assign" and b.index is None]
    return [v for v in values if v is not None and script.function(v) is function][:_MOST_VALUES]


def run_here(script: Script, node: ast.AST) -> list[Function]:
    """The functions of this file that `norms(x)` or `self.norms(x)` runs."""
    match node:
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(value=ast.Name(id="self"), attr=name)):
            return _by_name(script).get(name, [])
    return []


@once
def _by_name(script: Script) -> dict[str, list[Function]]:
    found: dict[str, list[Function]] = {}
    for function in script.functions:
        found.setdefault(function.name, []).append(function)
    return found


@once
def sums_squares(script: Script, function: Function | None) -> bool:
    """Whether a function sums squares, by itself or by another of this file; None stands for the module's own lines."""
    for node in own_nodes(script, function):
        if _sums(script, node) or any(_sums(script, v) for v in held(script, node)):
            return True
        if any(_sums(script, n) for f in run_here(script, node) for n in _returned(script, f)):
            return True
    return False


@once
def halves_squares(script: Script, function: Function | None) -> bool:
    """Whether a function takes half of a sum of squares, so that `|x|^2 / 2 + |y|^2 / 2 - xy` needs no factor of 2."""
    for node in own_nodes(script, function):
        match node:
            case ast.BinOp(left=value, op=ast.Div(), right=ast.Constant(value=2 | 2.0)):
                values = [value]
            case ast.BinOp(left=left, op=ast.Mult(), right=right):
                half = [isinstance(s, ast.Constant) and s.value == 0.5 for s in (left, right)]
                values = [left, right] if any(half) else []
            case _:
                continue
        inside = [n for v in values for n in ast.walk(v)]
        inside += [n for name in inside for v in held(script, name) for n in ast.walk(v)]
        if any(_sums(script, n) for n in inside):
            return True
    return False


@once
def own_nodes(script: Script, function: Function | None) -> list[ast.AST]:
    """The nodes of a function, or of the module outside of every function."""
    if function is not None:
        return list(ast.walk(function))
    return [n for n in script.nodes if script.function(n) is None]


@once
def _returned(script: Script, function: Function) -> list[ast.AST]:
    return [n for r in ast.walk(function) if isinstance(r, ast.Return) for n in ast.walk(r)]


def _sums(script: Script, node: ast.AST) -> bool:
    """`(x ** 2).sum(1)`, `torch.norm(x) ** 2`, `gram.diagonal()`, `gram[:, i, i]`, `einsum("id,id->i", x, x)`."""
    match node:
        case ast.Subscript(value=value, slice=ast.Tuple(elts=[*_, first, second])):
            place = not isinstance(first, ast.Slice | ast.Constant)
            return place and ast.unparse(first) == ast.unparse(second) and _multiplies(script, value)
        case ast.Call() if last_name(node) in ("diag", "diagonal"):
            return True
        case ast.Call() if last_name(node) == "einsum":
            return _repeats(node)
        case ast.Call() if is_product(node) or last_name(node) in _TIMES:
            return _pairs_itself(script, node) or _weighs_squares(script, node)
        case ast.BinOp(op=ast.MatMult()):
            return _pairs_itself(script, node) or _weighs_squares(script, node)
        case ast.Call() if last_name(node) in _SUMS:
            return _sums_inside(script, node)
    base = base_of(node)
    bases = [] if base is None else [base, *held(script, base), *_unshaped(script, base)]
    return any(last_name(b) in _NORMS for b in bases)


def _sums_inside(script: Script, call: ast.Call) -> bool:
    """Whether what is summed is squares, or names some; a mean over everything is a loss and no distance."""
    if last_name(call) == "mean" and not call.args and not call.keywords:
        return False
    inside = list(ast.walk(call))
    return any(base_of(v) is not None for n in inside for v in [n, *held(script, n)])


def _multiplies(script: Script, node: ast.AST) -> bool:
    return is_product(node) or any(map(is_product, held(script, node)))


def _pairs_itself(script: Script, node: ast.AST) -> bool:
    """`torch.dot(x, x)`, `x[:, None] @ x[:, :, None]`, `x.unsqueeze(1).bmm(x.unsqueeze(2))`: a row with itself."""
    multiplied = factors(script, node)
    if len(multiplied) != 2:
        return False
    if last_name(node) in ("dot", "vdot"):
        return ast.unparse(multiplied[0]) == ast.unparse(multiplied[1])
    owners = [_unsqueezed(f) for f in multiplied]
    return None not in owners and owners[0] == owners[1]


def _unsqueezed(node: ast.expr) -> str | None:
    match node:
        case ast.Call(func=ast.Attribute(value=value, attr="unsqueeze")):
            return ast.unparse(value)
        case ast.Subscript(value=value, slice=ast.Tuple(elts=places)):
            added = any(isinstance(p, ast.Constant) and p.value is None for p in places)
            return ast.unparse(value) if added else None
    return None


def _weighs_squares(script: Script, node: ast.AST) -> bool:
    """`x ** 2 @ precision`: the square of a distance that has weights."""
    inside = [n for f in factors(script, node) for n in ast.walk(f)]
    return is_product(node) and any(base_of(v) is not None for n in inside for v in [n, *held(script, n)])


def _unshaped(script: Script, node: ast.expr) -> Iterator[ast.expr]:
    """What a norm was before it got another shape: `norms[:, None] ** 2`."""
    match node:
        case (
            ast.Subscript(value=value)
            | ast.Call(func=ast.Attribute(value=value, attr="unsqueeze" | "view" | "reshape" | "t"))
        ):
            yield from [value, *held(script, value)]


def _repeats(call: ast.Call) -> bool:
    """`einsum("id,id->i", x, x)` and `einsum("ii->i", x @ x.T)`: every row times itself, and no other."""
    if not call.args or not isinstance(call.args[0], ast.Constant) or not isinstance(call.args[0].value, str):
        return False
    given, _, wanted = call.args[0].value.replace(" ", "").partition("->")
    terms, tensors = given.split(","), call.args[1:]
    if len(terms) == 1:
        return any(given.count(letter) == 2 and letter in wanted for letter in given if letter.isalpha())
    alike = len(terms) == len(tensors) == 2 and ast.unparse(tensors[0]) == ast.unparse(tensors[1])
    return alike and terms[0] == terms[1]


def base_of(node: ast.AST) -> ast.expr | None:
    """What is squared: x of `x ** 2`, `x * x`, `x.square()`, `torch.pow(x, 2)`, `x.mul(x)`."""
    match node:
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            return left if is_two(right) else None
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            return left if ast.unparse(left) == ast.unparse(right) else None
        case ast.Call(func=ast.Attribute(attr="square" | "square_", value=owner), args=given):
            return given[0] if given else owner
        case ast.Call(func=ast.Attribute(attr=name, value=owner), args=[*first, second]) if name in _POWERS:
            return (first[0] if first else owner) if is_two(second) else None
        case ast.Call(func=ast.Attribute(attr=name, value=owner), args=[*first, second]) if name in _TIMES:
            base = first[0] if first else owner
            return base if ast.unparse(base) == ast.unparse(second) else None
    return None


def is_two(node: ast.AST) -> bool:
    """2 or -2, as a keyword's value too."""
    if isinstance(node, ast.UnaryOp):
        return is_two(node.operand)
    if isinstance(node, ast.keyword):
        return is_two(node.value)
    return isinstance(node, ast.Constant) and node.value in (2, 2.0)
