"""Which definitions of a name reach a use of it, statement by statement; None where one cannot be followed."""

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ..names import Function
from ..once import once
from ..script import Loop, Script


@dataclass(frozen=True)
class Definition:
    """A value, and the position in it where it is unpacked; or a parameter."""

    node: ast.expr | ast.arg
    index: int | None = None


def reaching(script: Script, use: ast.Name) -> list[Definition] | None:
    """What the name may hold where it is used."""
    if any(isinstance(above, ast.Lambda) for above in script.ancestors(use)) or _set_aside(script, use):
        return None
    found: list[Definition] = []
    at: ast.stmt = script.statement(use)
    while True:
        block = script.block(at)
        more, settled = _leaving(block[: block.index(at)], use.id)
        if more is None:
            return None
        found += more
        if settled:
            return found
        above = script.parents[at]
        if isinstance(above, Function | ast.Module):
            return _on_entry(script, above, use, found)
        outer = script.outer(at)
        if outer is None:
            return None
        if isinstance(outer, ast.With | ast.AsyncWith) and any(map(_binder(use.id), outer.items)):
            return None
        if isinstance(outer, Loop | ast.Try):  # around the loop, or where the block failed
            inside, _ = _leaving_any(outer, use.id)
            if inside is None:
                return None
            found += inside
        at = outer


def _set_aside(script: Script, use: ast.Name) -> bool:
    """Set by `:=`, by a function that calls it global, or by a comprehension around the use: not in order."""
    nodes = (
        n for c in ast.walk(script.statement(use)) if isinstance(c, ast.comprehension) for n in ast.walk(c)
    )
    return use.id in _out_of_order(script) or any(_stores(n, use.id) for n in nodes)


@once
def _out_of_order(script: Script) -> frozenset[str]:
    found = {n.target.id for n in script.nodes if isinstance(n, ast.NamedExpr)}
    found.update(name for n in script.nodes if isinstance(n, ast.Global | ast.Nonlocal) for name in n.names)
    return frozenset(found)


def _on_entry(
    script: Script, scope: ast.AST, use: ast.Name, found: list[Definition]
) -> list[Definition] | None:
    """With what a function is given, or the module defines once and for all."""
    if not isinstance(scope, Function):
        return found or None
    arguments = [*scope.args.posonlyargs, *scope.args.args, *scope.args.kwonlyargs]
    given = [Definition(a) for a in arguments if a.arg == use.id]
    if given or found:
        return [*found, *given]
    bindings = script.bindings(use.id, use)
    if not bindings or any(b.kind != "assign" or b.value is None for b in bindings):
        return None
    return [Definition(b.value, b.index) for b in bindings if b.value is not None]


def _leaving(block: list[ast.stmt], name: str) -> tuple[list[Definition] | None, bool]:
    """The definitions a block may leave behind, and whether it leaves no earlier one (or is left for good)."""
    found: list[Definition] = []
    for statement in reversed(block):
        if isinstance(statement, ast.Return | ast.Raise | ast.Continue | ast.Break):
            return [], True
        more, settled = _of_statement(statement, name)
        if more is None:
            return None, True
        found += more
        if settled:
            return found, True
    return found, False


def _of_statement(statement: ast.stmt, name: str) -> tuple[list[Definition] | None, bool]:
    match statement:
        case ast.Assign() | ast.AnnAssign():
            found = list(_assigned(statement, name))
            return (None, True) if None in found else ([d for d in found if d is not None], bool(found))
        case ast.AugAssign(value=ast.Constant()):
            return [], False  # in place, by a number
        case ast.If():
            kept, left = _leaving(statement.body, name), _leaving(statement.orelse, name)
            if kept[0] is None or left[0] is None:
                return None, True
            return [*kept[0], *left[0]], kept[1] and left[1]
        case ast.With():
            return (
                (None, True) if any(map(_binder(name), statement.items)) else _leaving(statement.body, name)
            )
        case ast.For() | ast.While() | ast.Try():
            return _leaving_any(statement, name)
    return (None, True) if _binds(statement, name) else ([], False)


def _leaving_any(statement: ast.stmt, name: str) -> tuple[list[Definition] | None, bool]:
    """Every definition inside of a loop or a try, of which any or none may have run."""
    simple = [n for n in ast.walk(statement) if isinstance(n, ast.Assign | ast.AnnAssign)]
    known = {n for s in simple for t in _targets(s) for n in ast.walk(t)}
    if any(_stores(n, name) and n not in known for n in ast.walk(statement)):
        return None, True
    found = [d for s in simple for d in _assigned(s, name)]
    return (None, True) if None in found else ([d for d in found if d is not None], False)


def _targets(statement: ast.Assign | ast.AnnAssign) -> list[ast.expr]:
    return statement.targets if isinstance(statement, ast.Assign) else [statement.target]


def _assigned(statement: ast.Assign | ast.AnnAssign, name: str) -> Iterator[Definition | None]:
    """The definitions of a name in one assignment; None for one into a part of it, or with a star."""
    if statement.value is None:
        return
    for target in _targets(statement):
        match target:
            case ast.Name(id=bound):
                if bound == name:
                    yield Definition(statement.value)
            case ast.Tuple(elts=elements) | ast.List(elts=elements):
                for place, element in enumerate(elements):
                    if isinstance(element, ast.Name) and element.id == name:
                        starred = any(isinstance(e, ast.Starred) for e in elements)
                        yield None if starred else Definition(statement.value, place)
                    elif not isinstance(element, ast.Name) and _binds(element, name):
                        yield None
            case _ if _binds(target, name):
                yield None


def _binder(name: str) -> Callable[[ast.AST], bool]:
    return lambda node: _binds(node, name)


def _binds(node: ast.AST, name: str) -> bool:
    """Whether a name, or a part of what it holds, is set inside of a node."""
    return any(_stores(n, name) for n in ast.walk(node))


def _stores(node: ast.AST, name: str) -> bool:
    match node:
        case ast.Name(id=bound, ctx=ast.Store() | ast.Del()):
            return bound == name
        case ast.Subscript(value=ast.Name(id=bound), ctx=ast.Store()):
            return bound == name
        case ast.FunctionDef(name=bound) | ast.ClassDef(name=bound) | ast.AsyncFunctionDef(name=bound):
            return bound == name
        case ast.alias():
            return (node.asname or node.name.split(".")[0]) == name
    return False
