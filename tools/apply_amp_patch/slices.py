"""The statements behind a loss: definitions followed backwards through blocks, loops and callers."""

import ast
from typing import TYPE_CHECKING

from .flow import DETACHED, NUMBERS, path, uses
from .names import Function
from .script import Loop

if TYPE_CHECKING:
    from .loops import Backward, Training

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
    inner_blocks = _blocks(statement)
    if inner_blocks and (cuts is DETACHED or training.is_barrier(statement)):
        wanted, before = set(needed), set[str]()
        while wanted != before:  # around a loop, what a statement needs may be set below it
            before = set(wanted)
            for block in inner_blocks:
                for inner in reversed(block):
                    wanted |= _take(training, inner, wanted, found, cuts)
        return wanted
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
    return needed | uses(statement, training.script, cuts)


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
