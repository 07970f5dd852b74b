"""Gram matrices: the product of a picture's features with their own transpose, summed over all of its places.

The sum of 256 x 256 products of values near 1 is 65536, which fp16 does not hold. Bf16 holds it, with three digits, and
a style loss takes one such sum from another. Dividing afterwards mends neither.
"""

import ast
from collections.abc import Iterator

from ..names import Function, last_name
from ..patch import Declined
from ..script import Script
from .coordinates import factors, is_product

_TURNS = {"t", "transpose", "permute", "swapaxes", "transpose_"}
_SAME_SHAPE = {"contiguous", "float", "detach", "clone", "to", "cuda", "type_as"}
_CHANNELS, _FIRST_PLACE = 1, 2  # by PyTorch's order: picture, channels, places
_PICTURE = 4  # dimensions
_DEPTH = 4  # names made of names


class Better(Declined):
    """Declined where half precision loses much: it runs in fp32 where that can be shown to help, else in bf16."""


def refuse_gram(script: Script, node: ast.AST, line: int, where: str, left: set[ast.AST]) -> None:
    """Raise for a Gram matrix, unless it was left where it is."""
    if node not in left and gram_matrix(script, node):
        raise Better(line, "fp16_constant", f"{ast.unparse(node)}{where} sums over every pixel")


def gram_matrix(script: Script, node: ast.AST) -> bool:
    """`f.bmm(f.transpose(1, 2))`, where f is a picture's features, or what comes out is divided by their sizes."""
    if not is_product(node) or (script.called(node) or "").startswith("numpy."):
        return False
    if isinstance(node, ast.Call) and last_name(node) == "einsum":
        return _sums_places(script, node)
    multiplied = factors(script, node)
    turned = _turned(script, multiplied[1]) if len(multiplied) == 2 else None
    if turned is None or not _is_same(script, multiplied[0], turned) or _is_unit(script, multiplied[0]):
        return False
    function = script.function(node)
    divided = isinstance(function, Function) and any(_divides_by_sizes(n) for n in ast.walk(function))
    return divided or _ends_in_places(script, multiplied[0])


def _turned(script: Script, node: ast.expr, depth: int = 0) -> ast.expr | None:
    """What an expression, or what its name was set to, is the transpose of."""
    match node:
        case ast.Attribute(attr="T" | "mT", value=value):
            return value
        case ast.Call() if last_name(node) in _TURNS:
            return next(iter(factors(script, node)), None)
        case ast.Call() if last_name(node) in _SAME_SHAPE:
            return _turned(script, factors(script, node)[0], depth)
        case ast.Name() if depth < _DEPTH:
            found = (_turned(script, value, depth + 1) for value in _set_to(script, node))
            return next((value for value in found if value is not None), None)
    return None


def _is_same(script: Script, one: ast.expr, other: ast.expr) -> bool:
    """Whether two expressions are spelt alike, or what their names were set to is."""
    return not _spellings(script, one).isdisjoint(_spellings(script, other))


def _is_unit(script: Script, node: ast.expr) -> bool:
    """`F.normalize(z)`, `z / z.norm()`: no product of two such vectors is greater than 1."""
    for value in [node, *_set_to(script, node)]:
        if last_name(value) == "normalize":
            return True
        if isinstance(value, ast.BinOp) and isinstance(value.op, ast.Div):
            divisors = [value.right, *_set_to(script, value.right)]
            called = {last_name(n) for divisor in divisors for n in ast.walk(divisor)}
            if "norm" in called or {"sqrt", "sum"} <= called:
                return True
    return False


def _spellings(script: Script, node: ast.expr) -> set[str]:
    once_set = isinstance(node, ast.Name) and len(script.bindings(node.id, node)) == 1
    return {ast.unparse(value) for value in (node, *(_set_to(script, node) if once_set else ()))}


def _set_to(script: Script, node: ast.expr) -> list[ast.expr]:
    found = script.bindings(node.id, node) if isinstance(node, ast.Name) else []
    return [b.value for b in found if b.kind == "assign" and b.index is None and b.value is not None]


def _ends_in_places(script: Script, node: ast.expr, depth: int = 0) -> bool:
    """`x.view(b, c, h * w)`, `x.flatten(2)`: the last dimension runs over a picture's places."""
    match node:
        case ast.Name() if depth < _DEPTH:
            return any(_ends_in_places(script, value, depth + 1) for value in _set_to(script, node))
        case ast.BinOp(left=value, op=ast.Sub()):  # its mean taken off
            return _ends_in_places(script, value, depth)
        case ast.Call() if last_name(node) in _SAME_SHAPE:
            return _ends_in_places(script, factors(script, node)[0], depth)
        case ast.Call() if last_name(node) in ("view", "reshape"):
            return _keeps_channels(script, _shape(factors(script, node)[1:]))
        case ast.Call() if last_name(node) == "flatten":
            start = [*factors(script, node)[1:2], *(k.value for k in node.keywords if k.arg == "start_dim")]
            return [ast.unparse(s) for s in start] in (["2"], ["-2"])
        case ast.Call(args=[_, ast.Constant(value=str() as pattern)]) if last_name(node) == "rearrange":
            before, _, after = pattern.partition("->")
            return after.strip().endswith(f"({' '.join(before.split()[-2:])})")
    return False


def _shape(given: list[ast.expr]) -> list[ast.expr]:
    return list(given[0].elts) if len(given) == 1 and isinstance(given[0], ast.Tuple | ast.List) else given


def _keeps_channels(script: Script, shape: list[ast.expr]) -> bool:
    """Whether a shape is that of channels, with or without pictures, by all that is left of a picture."""
    if len(shape) < 2:
        return False
    kept = [place for size in shape[:-1] for place in _sizes(script, size)]
    rest = _sizes(script, shape[-1])
    whole = ast.unparse(shape[-1]) == "-1" or (len(rest) > 1 and min(rest) >= _FIRST_PLACE)
    return whole and _CHANNELS in kept and max(kept) == _CHANNELS and min(kept) >= 0


def _sizes(script: Script, node: ast.expr, depth: int = 0) -> list[int]:
    """Which dimensions of a picture a size is the product of, from 0; -1 for what is none of them."""
    match node:
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            return [*_sizes(script, left, depth), *_sizes(script, right, depth)]
        case ast.Call(func=ast.Attribute(attr="size"), args=[ast.Constant(value=int() as place)]):
            return [place]
        case ast.Subscript(value=value, slice=ast.Constant(value=int() as place)):
            values = [value, *_set_to(script, value)]
            return [place] if any(map(_is_shape, values)) else [-1]
        case ast.Name() if depth < _DEPTH:
            bindings = script.bindings(node.id, node)
            places = {place for b in bindings if b.value is not None for place in _unpacked(b.node, node.id)}
            if places:
                return [min(places)] if len(places) == 1 else [-1]
            values = _set_to(script, node)
            return _sizes(script, values[0], depth + 1) if len(values) == len(bindings) == 1 else [-1]
    return [-1]


def _unpacked(statement: ast.AST, name: str) -> Iterator[int]:
    """The place of a name in `b, c, h, w = x.shape`."""
    match statement:
        case ast.Assign(targets=[ast.Tuple(elts=names) | ast.List(elts=names)], value=value):
            if len(names) >= _PICTURE and _is_shape(value):
                yield from (i for i, n in enumerate(names) if isinstance(n, ast.Name) and n.id == name)


def _is_shape(node: ast.expr) -> bool:
    if isinstance(node, ast.Call):
        return last_name(node) == "size" and not node.args
    return isinstance(node, ast.Attribute) and node.attr == "shape"


def _sums_places(script: Script, call: ast.Call) -> bool:
    """`einsum("bchw,bdhw->bcd", f, f)`."""
    match factors(script, call):
        case [ast.Constant(value=str() as equation), one, other] if _is_same(script, one, other):
            terms, _, out = equation.replace(" ", "").partition("->")
            first, _, second = terms.partition(",")
            summed = {letter for letter in first if letter in second and letter not in out}
            whole = len(first) >= _PICTURE and len(summed) > 1
            last = summed == {first[-1:]} and _ends_in_places(script, one)
            return first != second and (whole or last)
    return False


def _divides_by_sizes(node: ast.AST) -> bool:
    divisors: list[ast.AST] = []
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        divisors = [node.right]
    elif isinstance(node, ast.Call) and last_name(node) in ("div", "div_"):
        divisors = [*node.args[-1:]]
    return any(isinstance(d, ast.BinOp) and isinstance(d.op, ast.Mult) for d in divisors)
