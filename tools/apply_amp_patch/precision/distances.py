"""Squared distances as small differences of large numbers, which half precision cannot tell apart.

|x|^2 - 2xy + |y|^2 of near points is far smaller than its terms. Autocast rounds xy to 8 or 11 bits, whatever dtype
its factors have: `x.float() @ y.float().t()` as well. So a product counts that is taken twice where squares are
summed, in whatever way either is written; and one that is taken from a number under a root, as unit vectors allow.
"""

import ast
from collections.abc import Iterator

from ..names import last_name
from ..once import once
from ..script import Script
from .coordinates import is_product
from .picks import is_number
from .squares import halves_squares, held, held_by_name, is_two, run_here, sums_squares

_MOST_STEPS = 4  # from a product to what it is called
_SAME_WORDS = (
    "squeeze unsqueeze view reshape t transpose permute contiguous clone float expand expand_as detach neg"
)
_SAME = frozenset(_SAME_WORDS.split())
_TIMES = ("mul", "mul_", "multiply", "multiply_")
_ADDS = ("add", "add_", "sub", "sub_", "subtract", "subtract_")
_CLOSE = ("torch.inner", "torch.tensordot", "torch.nn.functional.linear", "torch.chain_matmul")


def expands_distance(script: Script, node: ast.AST) -> bool:
    """`-2 * x @ y.T` in a function that sums squares: squared distances, as small differences of large numbers."""
    if node in _under_roots(script):
        return True
    function = script.function(node)
    if _doubles(script, node) or _takes_twice(script, node) or _doubles_sum(node):
        return sums_squares(script, function)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub):
        return halves_squares(script, function) and _is_product(script, node.right)
    return False


def _doubles(script: Script, node: ast.AST) -> bool:
    """`2 * xy`, `xy.mul_(-2)`, `xy *= 2`, `torch.sub(squares, xy, alpha=2)`, `torch.mm(2 * x, y)`."""
    match node:
        case ast.BinOp(op=ast.Mult()):
            values = list(_factors(node))
        case ast.AugAssign(op=ast.Mult(), target=ast.Name() as target, value=value):
            values = held_by_name(script, target.id, script.function(node))
            return any(map(is_two, _factors(value))) and any(_is_product(script, v) for v in values)
        case ast.Call() if last_name(node) in _TIMES:
            values = _given(script, node)
        case ast.Call() if last_name(node) in _ADDS:
            twice = any(k.arg == "alpha" and is_two(k) for k in node.keywords)
            return twice and any(_is_product(script, a) for a in node.args)
        case _ if _multiplies(script, node):
            return any(map(is_two, _scales(script, node)))
        case _:
            return False
    return any(map(is_two, values)) and any(_is_product(script, v) for v in values)


def _takes_twice(script: Script, node: ast.AST) -> bool:
    """`squares - xy - xy.t()`."""
    match node:
        case ast.BinOp(left=ast.BinOp(op=ast.Sub(), right=first), op=ast.Sub(), right=second):
            return _is_product(script, first) and _is_product(script, second)
    return False


def _doubles_sum(node: ast.AST) -> bool:
    """`xx - 2 * (x * y).sum(-1)`: products in the sum are rounded too.

    Not where that is divided before it is taken away, as in `1 - 2 * (p * t).sum() / n`.
    """
    match node:
        case ast.BinOp(left=left, op=ast.Sub(), right=ast.BinOp(op=ast.Mult()) as right):
            factors = list(_factors(right))
        case _:
            return False
    sums = [f for f in factors if last_name(f) == "sum"]
    inside = [n for s in sums for n in ast.walk(s) if isinstance(n, ast.BinOp) and isinstance(n.op, ast.Mult)]
    return bool(inside) and any(map(is_two, factors)) and not is_number(left)


def _factors(node: ast.expr) -> Iterator[ast.expr]:
    """The factors of `-2 * gamma * xy`."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        yield from _factors(node.left)
        yield from _factors(node.right)
    else:
        yield node


def _scales(script: Script, product: ast.AST) -> Iterator[ast.AST]:
    """The numbers that a product's arguments are or are multiplied by: `addmm(d, x, y, alpha=-2)`, `(2 * x) @ y`."""
    values = [product.left, product.right] if isinstance(product, ast.BinOp) else []
    if isinstance(product, ast.Call):
        values = _given(script, product)
        yield from product.keywords
    for value in values:
        for one in [value, *_unshaped(value)]:
            for meant in [one, *held(script, one)]:
                yield from _factors(meant)


def _unshaped(value: ast.expr) -> Iterator[ast.expr]:
    """x of `x.t()` and `x[None]`."""
    match value:
        case ast.Call(func=ast.Attribute(value=inner, attr=name)) if name in _SAME:
            yield from [inner, *_unshaped(inner)]
        case ast.Subscript(value=inner) | ast.Attribute(value=inner, attr="T" | "mT"):
            yield from [inner, *_unshaped(inner)]


def _given(script: Script, call: ast.Call) -> list[ast.expr]:
    """What a function of torch, or a method of a tensor, takes."""
    owner = [call.func.value] if isinstance(call.func, ast.Attribute) and not script.called(call) else []
    return [*owner, *call.args]


@once
def _under_roots(script: Script) -> frozenset[ast.AST]:
    """What takes a product from a number, or doubles it, under a root: `torch.sqrt(2 - 2 * x @ y.T)` of unit vectors.

    A root's slope is infinite at 0, and 8 bits round a cosine of 0.998 to 1.
    """
    return frozenset(
        inner
        for node in script.nodes
        for value in _root_of(node)
        for inner in _behind(script, value)
        if _doubles(script, inner) or _leaves(script, inner)
    )


def _root_of(node: ast.AST) -> list[ast.expr]:
    match node:
        case ast.Call() if last_name(node) in ("sqrt", "sqrt_", "rsqrt", "rsqrt_"):
            return [node.func, *node.args]
        case ast.BinOp(left=value, op=ast.Pow(), right=ast.Constant(value=0.5)):
            return [value]
        case ast.Call(func=ast.Attribute(attr="pow"), args=[*_, ast.Constant(value=0.5)]):
            return [node.func, *node.args]
    return []


def _behind(script: Script, value: ast.AST) -> Iterator[ast.AST]:
    """The nodes of an expression and of what its names hold."""
    seen, level = {value}, [value]
    for _ in range(_MOST_STEPS):
        nodes = [n for v in level for n in ast.walk(v)]
        yield from nodes
        level = [v for v in dict.fromkeys(v for n in nodes for v in held(script, n)) if v not in seen]
        seen.update(level)


def _leaves(script: Script, node: ast.AST) -> bool:
    """`1 - x @ y.T`, `2 - 2 * cosines`."""
    if not (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub)):
        return False
    return is_number(node.left) and any(_is_product(script, f) for f in _factors(node.right))


def _multiplies(script: Script, node: ast.AST) -> bool:
    """A product, also by a function that is one less often."""
    return is_product(node) or script.called(node) in _CLOSE or last_name(node) == "inner"


@once
def _is_product(script: Script, node: ast.AST, steps: int = _MOST_STEPS) -> bool:
    """A product, in another shape, in part, under a name or from a function of this file: `2 * inner[mask]`."""
    if _multiplies(script, node) or not steps:
        return _multiplies(script, node)
    values: list[ast.AST | None] = [*held(script, node)]
    match node:
        case (
            ast.Subscript(value=value)
            | ast.UnaryOp(operand=value)
            | ast.Attribute(value=value, attr="T" | "mT")
        ):
            values = [value]
        case ast.Call(func=ast.Attribute(value=value, attr=name)) if name in _SAME:
            values = [value]
        case ast.Call():
            given = run_here(script, node)
            values = [n.value for f in given for n in ast.walk(f) if isinstance(n, ast.Return)]
    return any(_is_product(script, v, steps - 1) for v in values if v is not None)
