"""The statements behind a loss: definitions followed backwards through blocks, loops and callers."""

import ast
from typing import TYPE_CHECKING

from .flow import DETACHED, NUMBERS, path, uses
from .index import returns
from .names import Function
from .script import Loop

if TYPE_CHECKING:
    from .loops import Backward, Training

_DEEPEST = 4  # names and functions that a number comes through
_PLAIN = {"builtins.int", "builtins.float", "builtins.bool", "builtins.len"}
_SHAPES = {"reshape", "squeeze", "flatten", "astype", "clip", "copy"}
_NO_GRAD = {"torch.no_grad", "torch.inference_mode"}


def differentiated(training: "Training", backward: "Backward") -> set[ast.stmt]:
    """The statements behind one loss whose results a gradient reaches: those that only make targets left out."""
    return behind(training, backward, DETACHED)[0]


def behind(
    training: "Training", backward: "Backward", cuts: frozenset[str] = NUMBERS
) -> tuple[set[ast.stmt], set[str]]:
    """The statements behind one loss, up through blocks and callers; and the parameters that nothing here passes."""
    script = training.script
    found: set[ast.stmt] = set()
    seen: set[tuple[ast.stmt, frozenset[str]]] = set()
    work: list[tuple[ast.stmt, set[str]]] = [(backward.statement, uses(backward.loss, script, cuts))]
    missing: set[str] = set()
    while work:
        statement, needed = work.pop()
        if (statement, frozenset(needed)) in seen:
            continue
        seen.add((statement, frozenset(needed)))
        needed = _climb(training, statement, needed, found, cuts)
        function = training.script.function(statement)
        if function is None or not needed or training.script.loop(statement) is not None:
            continue  # what a loop gets from outside is made once, before the training
        for call in training.roles.call_sites(function):
            handed = _at_call(training, call, function, needed, cuts)
            if handed:
                work.append((training.script.statement(call), handed))
        parameters = {
            a.arg for a in function.args.posonlyargs + function.args.args + function.args.kwonlyargs
        }
        if not training.roles.call_sites(function):
            missing |= needed & parameters
    return found, missing


def _climb(
    training: "Training", statement: ast.stmt, needed: set[str], found: set[ast.stmt], cuts: frozenset[str]
) -> set[str]:
    """Follow definitions backwards through this block and the ones around it; what is still needed on entry."""
    script = training.script
    at: ast.stmt | None = statement
    while at is not None:
        block = script.block(at)
        for earlier in reversed(block[: block.index(at)]):
            needed = _take(training, earlier, needed, found, cuts)
        at = script.outer(at)
        if isinstance(at, ast.For | ast.AsyncFor):
            needed = needed - training.flow.defs(at.target)
        if isinstance(at, Loop) and script.loop(at) is None:
            break  # what stands before the outermost loop is set up once
    return needed


def _take(
    training: "Training", statement: ast.stmt, needed: set[str], found: set[ast.stmt], cuts: frozenset[str]
) -> set[str]:
    if isinstance(statement, Function | ast.ClassDef | ast.Import | ast.ImportFrom):
        return needed
    if not training.flow.defs(statement) & needed:
        return needed
    if is_no_grad(training, statement):
        return needed  # nothing is differentiated in there, so it keeps its precision
    if _stores_number(training, statement):
        return needed  # `log["score"] = score.item()`: whatever else goes into that table, no gradient goes by this
    if blocks := _blocks(statement):
        inside: set[ast.stmt] = set()
        wanted, head = _through(training, statement, blocks, needed, inside, cuts), _head(statement)
        if cuts is DETACHED or training.is_barrier(statement):
            found |= inside
            return wanted
        if not inside and not any(training.flow.defs(part) & needed for part in head):
            return needed
        found.add(statement)
        return wanted.union(*(uses(part, training.script, cuts) for part in head))
    if not training.is_barrier(statement):
        found.add(statement)
    if isinstance(statement, ast.Assign | ast.AnnAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        plain = {
            p
            for t in targets
            for e in ast.walk(t)
            if isinstance(e, ast.Name | ast.Attribute) and (p := path(e))
        }
        needed = needed - plain
    return needed if gives_numbers(training, statement) else needed | uses(statement, training.script, cuts)


def gives_numbers(training: "Training", statement: ast.stmt) -> bool:
    """`action = agent.choose_action(state)`: no gradient passes what a statement gives, and no half precision."""
    if not isinstance(statement, ast.Assign) or not _is_number(training, statement.value):
        return False
    return not any(isinstance(n, ast.Subscript) for t in statement.targets for n in ast.walk(t))


def _is_number(training: "Training", value: ast.expr, depth: int = 0) -> bool:
    """Plain numbers or arrays of them, maybe out of a function of this file."""
    if depth > _DEEPEST:
        return False
    match value:
        case ast.Constant():
            return True
        case ast.Subscript(value=inner) | ast.Attribute(value=inner, attr="T"):
            return _is_number(training, inner, depth)
        case ast.Tuple(elts=[_, *_] as parts):
            return all(_is_number(training, part, depth) for part in parts)
        case ast.IfExp(body=body, orelse=orelse):
            return _is_number(training, body, depth) and _is_number(training, orelse, depth)
        case ast.Name(id=name) if depth:
            found = training.script.bindings(name, value)
            values = [b.value for b in found if b.kind == "assign" and b.value is not None]
            return 0 < len(found) == len(values) and all(_is_number(training, v, depth + 1) for v in values)
        case ast.Call():
            called = training.script.called(value) or ""
            method = value.func.attr if isinstance(value.func, ast.Attribute) else ""
            if called in _PLAIN or called.startswith(("numpy.", "random.")) or method in NUMBERS:
                return True
            if method in _SHAPES and isinstance(value.func, ast.Attribute):
                return _is_number(training, value.func.value, depth)
            functions = training.roles.callees(value)
            given = [returned for f in functions for returned in returns(training.script, f)]
            return bool(given) and all(_is_number(training, r, depth + 1) for r in given)
    return False


def _stores_number(training: "Training", statement: ast.stmt) -> bool:
    """Whether an assignment only puts numbers into a table."""
    if not isinstance(statement, ast.Assign) or not _is_number(training, statement.value):
        return False
    return all(isinstance(target, ast.Subscript) for target in statement.targets)


def _through(
    training: "Training",
    statement: ast.stmt,
    blocks: list[list[ast.stmt]],
    needed: set[str],
    found: set[ast.stmt],
    cuts: frozenset[str],
) -> set[str]:
    """What is needed on entry of a statement with blocks in it, by those of its statements that anything leads to."""
    wanted, before = set(needed), set[str]()
    while wanted != before:  # around a loop, what a statement needs may be set below it
        before = set(wanted)
        for block in blocks:
            for inner in reversed(block):
                wanted |= _take(training, inner, wanted, found, cuts)
        if isinstance(statement, ast.For | ast.AsyncFor) and training.flow.defs(statement.target) & wanted:
            wanted |= uses(statement.iter, training.script, cuts)
    return wanted


def _head(statement: ast.stmt) -> list[ast.AST]:
    """What a statement reads besides its blocks: a condition, what a loop runs over, what `with` enters."""
    inside = (ast.stmt, ast.ExceptHandler, ast.match_case)
    return [part for part in ast.iter_child_nodes(statement) if not isinstance(part, inside)]


def _blocks(statement: ast.stmt) -> list[list[ast.stmt]]:
    found = [getattr(statement, name, None) for name in ("body", "orelse", "finalbody")]
    found += [branch.body for name in ("handlers", "cases") for branch in getattr(statement, name, [])]
    return [block for block in found if block]


def is_no_grad(training: "Training", statement: ast.stmt) -> bool:
    return isinstance(statement, ast.With) and any(
        training.script.called(item.context_expr) in _NO_GRAD for item in statement.items
    )


def _at_call(
    training: "Training", call: ast.Call, function: Function, needed: set[str], cuts: frozenset[str]
) -> set[str]:
    """What a caller has to supply for the paths a function still needs on entry."""
    handed: set[str] = set()
    owner = path(call.func.value) if isinstance(call.func, ast.Attribute) else None
    me = function.args.args[0].arg if function.args.args else None
    for need in needed:
        head, _, rest = need.partition(".")
        if training.script.method_class(function) is not None and head == me and rest and owner:
            handed.add(f"{owner}.{rest}")
            continue
        value = training.roles.argument(call, function, head)
        if value is not None:
            handed |= uses(value, training.script, cuts)
    return handed
