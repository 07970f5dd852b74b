"""From what a log takes back to each `1 - p` in it, over names, arithmetic and what keeps the numbers of a tensor."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, replace

from ..names import Function, last_name
from ..once import once
from ..script import Script
from .literals import number
from .squares import bindings_in, held, held_by_name

_MOST_STEPS = 400
_MOST_CALLERS = 8
_TURNS = ("neg", "neg_", "negative", "abs", "abs_", "absolute")
_TIMES = ("mul", "mul_", "multiply")
_KEEPS_WORDS = (
    "where stack cat concat hstack vstack add add_ sub sub_ subtract div div_ divide pow pow_ lerp maximum minimum "
    "max min clamp clamp_ clip clamp_min clamp_max gather index_select masked_select masked_fill select narrow "
    "view reshape flatten squeeze unsqueeze transpose permute t contiguous clone detach expand expand_as repeat "
    "to float cuda prod cumprod chunk split unbind zip"
)
_KEEPS = frozenset(_KEEPS_WORDS.split())


@dataclass(frozen=True)
class Step:
    """A value on the way: whether its sign has turned, and whether other values are multiplied or divided by it."""

    node: ast.expr
    turned: bool = False
    weighs: bool = False
    divides: bool = False


def left_of_one(script: Script, values: list[ast.expr]) -> tuple[list[Step], set[str]]:
    """Each p whose `1 - p` some values are computed from, and the names that they are computed from as they are."""
    found: list[Step] = []
    plain: set[str] = set()
    queue, seen = [Step(v) for v in values], set[Step]()
    while queue and len(seen) < _MOST_STEPS:
        step = queue.pop()
        if step in seen:
            continue
        seen.add(step)
        if (p := _complement(script, step)) is not None:
            apart = _apart(script, p)
            plain |= {n.id for n in apart if isinstance(n, ast.Name)}
            found += [replace(step, node=n) for n in apart or [p]]
            continue
        if isinstance(step.node, ast.Name):
            plain.add(step.node.id)
        queue += _behind(script, step)
    return found, plain


def _apart(script: Script, p: ast.expr) -> list[ast.expr]:
    """a and b of a p that is `(a - b).abs()`."""
    for value in [p, *held(script, p)]:
        if isinstance(value, ast.Call) and last_name(value) in ("abs", "absolute"):
            for taken in _tensors(script, value):
                for meant in [taken, *held(script, taken)]:
                    if isinstance(meant, ast.BinOp) and isinstance(meant.op, ast.Sub):
                        return [meant.left, meant.right]
    return []


def _complement(script: Script, step: Step) -> ast.expr | None:
    """p of `1 - p`, `-p + 1`, `torch.sub(1, p)`, `torch.rsub(p, 1)`, `torch.ones_like(p) - p`; of `-(p - 1)` too."""
    node = step.node
    match node:
        case ast.BinOp(left=left, op=ast.Sub(), right=right):
            if _is_one(script, left):
                return right
            return left if step.turned and _is_one(script, right) else None
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            sides = [left, right]
        case ast.Call() if last_name(node) in ("add", "add_", "sub", "sub_", "subtract", "rsub"):
            sides = _tensors(script, node)
            if len(sides) != 2:
                return None
            if last_name(node) == "rsub":
                return sides[0] if _is_one(script, sides[1]) else None
            if last_name(node).startswith("sub"):
                if _is_one(script, sides[0]):
                    return sides[1]
                return sides[0] if step.turned and _is_one(script, sides[1]) else None
        case _:
            return None
    for one, other in (sides, sides[::-1]):
        if step.turned and number(one) == -1:
            return other
        if _is_one(script, one) and (p := negated(script, other)) is not None:
            return p
    return None


def negated(script: Script, node: ast.expr) -> ast.expr | None:
    """p of `-p`, `p.neg()`, `-1 * p`, `-p * w`."""
    match node:
        case ast.UnaryOp(op=ast.USub(), operand=value):
            return None if number(value) is not None else value
        case ast.Call() if last_name(node) in ("neg", "negative"):
            return next(iter(_tensors(script, node)), None)
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            for one, other in ((left, right), (right, left)):
                if number(one) == -1:
                    return other
                if number(one) is None and (p := negated(script, one)) is not None:
                    return p
    return None


def _is_one(script: Script, node: ast.expr) -> bool:
    values = [node, *held(script, node)]
    return any(number(v) == 1 or last_name(v) in ("ones", "ones_like", "new_ones") for v in values)


def _behind(script: Script, step: Step) -> Iterator[Step]:
    """What a value is computed from, element by element."""
    node = step.node
    match node:
        case ast.Name():
            yield from (replace(step, node=v) for v in _meant(script, node))
        case ast.UnaryOp(op=ast.USub(), operand=value):
            yield replace(step, node=value, turned=True)
        case ast.Subscript(value=value) | ast.Starred(value=value):
            yield replace(step, node=value)
        case ast.IfExp(body=first, orelse=second):
            yield from (replace(step, node=v) for v in (first, second))
        case ast.Tuple(elts=values) | ast.List(elts=values) | ast.Dict(values=values):
            yield from (replace(step, node=v) for v in values)
        case ast.ListComp(elt=value) | ast.GeneratorExp(elt=value):
            yield replace(step, node=value)
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            yield from _multiplied(step, [left, right])
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub() | ast.Div() | ast.Pow() as sign, right=right):
            yield replace(step, node=left)
            yield replace(step, node=right, divides=step.divides or isinstance(sign, ast.Div))
        case ast.Call() if last_name(node) in _TIMES:
            yield from _multiplied(step, _tensors(script, node))
        case ast.Call() if last_name(node) in _TURNS:
            yield from (replace(step, node=v, turned=True) for v in _tensors(script, node))
        case ast.Call() if last_name(node) in _KEEPS:
            chosen = last_name(node) == "where" and script.called(node) is not None
            yield from (replace(step, node=v) for v in _tensors(script, node)[chosen:])


def _multiplied(step: Step, factors: list[ast.expr]) -> Iterator[Step]:
    numbers = [n for f in factors if (n := number(f)) is not None]
    turned = step.turned or any(n < 0 for n in numbers)
    for factor in (f for f in factors if number(f) is None):
        yield Step(factor, turned, step.weighs or not numbers, step.divides)


def _tensors(script: Script, call: ast.Call) -> list[ast.expr]:
    owner = [call.func.value] if isinstance(call.func, ast.Attribute) and not script.called(call) else []
    return [*owner, *call.args, *(k.value for k in call.keywords if k.arg in ("input", "other"))]


def _meant(script: Script, name: ast.Name) -> list[ast.expr]:
    """What a name holds: what it is set to, in part too, what a loop takes it from, what callers in this file pass."""
    return _meant_by_name(script, name.id, script.scope(name).node)


@once
def _meant_by_name(script: Script, name: str, scope: ast.AST) -> list[ast.expr]:
    function = scope if isinstance(scope, Function) else None
    bindings = bindings_in(script, name, scope)
    given = [b.value for b in bindings if b.value is not None and (b.kind == "loop" or b.index is not None)]
    passed = [v for b in bindings if b.kind == "parameter" for v in _passed(script, b.node)]
    put = _put(script).get((name, function), [])
    return [*held_by_name(script, name, function), *(given + put + passed)[:_MOST_STEPS]]


@once
def _put(script: Script) -> dict[tuple[str, Function | None], list[ast.expr]]:
    """What is put into a part of a name: `pt[negative] = 1 - p`."""
    found: dict[tuple[str, Function | None], list[ast.expr]] = {}
    for node in script.nodes:
        match node:
            case ast.Assign(targets=[ast.Subscript(value=ast.Name(id=name))], value=value):
                found.setdefault((name, script.function(node)), []).append(value)
    return found


@once
def _passed(script: Script, parameter: ast.AST) -> list[ast.expr]:
    """What the calls of this file pass for a parameter of one of its functions."""
    arguments = script.parents.get(parameter)
    function = script.parents.get(arguments) if arguments is not None else None
    if not isinstance(function, Function) or not isinstance(arguments, ast.arguments):
        return []
    place = [*arguments.posonlyargs, *arguments.args].index(parameter) if parameter in arguments.args else -1
    place -= script.method_class(function) is not None and bool(place > 0)
    found = []
    for call in _calls_by_name(script).get(function.name, [])[:_MOST_CALLERS]:
        named = [k.value for k in call.keywords if k.arg == getattr(parameter, "arg", "")]
        found += named or (call.args[place : place + 1] if place >= 0 else [])
    return [v for v in found if not isinstance(v, ast.Starred)]


@once
def _calls_by_name(script: Script) -> dict[str, list[ast.Call]]:
    found: dict[str, list[ast.Call]] = {}
    for call in script.calls:
        found.setdefault(last_name(call), []).append(call)
    return found
