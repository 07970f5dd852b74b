"""Where `amp_scaler.update()` goes: once per cycle, after the last step, never between a backward and its step."""

import ast

from ..context import Context
from ..loops import Step, Training
from ..patch import Declined
from ..project import importing_scripts


def update_places(training: Training) -> list[ast.stmt]:
    """The statements to be followed by an update."""
    groups: dict[tuple[int, int], list[Step]] = {}
    for step in training.steps:
        function, loop = training.script.function(step.call), training.script.loop(step.call)
        while loop is not None and "backward" not in training.effect(loop):
            loop = training.script.loop(loop)  # a loop over optimizers is one place of the cycle
        groups.setdefault((id(function), id(loop)), []).append(step)
    return [place for steps in groups.values() for place in _places(training, steps)]


def left_behind(training: Training) -> Step | None:
    """A step whose gradients are zeroed behind it, so that a later backward's may wait for it across an update().

    The scale may change there, and a sum of gradients of two scales is one of neither.
    """
    script = training.script
    zeroed = [(ast.unparse(c.func.value), c) for c in script.method_calls("zero_grad")]  # type: ignore[attr-defined]
    for step in training.steps:
        loop = script.loop(step.call)
        inside = [(name, c.lineno) for name, c in zeroed if script.loop(c) is loop and loop is not None]
        backwards = [b.call.lineno for b in training.backwards if script.loop(b.call) is loop]
        own = [line for name, line in inside if name == step.path or name not in training.step_paths]
        last = max(own, default=0)
        if own and min(own) > step.call.lineno and any(line > last for line in backwards):
            return step
    return None


def never_cleared(context: Context) -> Step | None:
    """A step of a script that clears no gradients, nor do the files that it imports and that import it."""
    callers = importing_scripts(context.path, context.root).values()
    scripts = [context.script, *context.project.values(), *callers]
    if any(_clears(node) for script in scripts for node in script.nodes):
        return None
    return next((s for s in context.training.steps if context.script.loop(s.call) is not None), None)


def _clears(node: ast.AST) -> bool:
    """`optimizer.zero_grad()`, `p.grad.zero_()`, `p.grad = None`."""
    match node:
        case ast.Attribute(attr="zero_grad") | ast.Attribute(attr="grad", ctx=ast.Store() | ast.Del()):
            return True
        case ast.Attribute(attr="zero_", value=value):
            return any(isinstance(n, ast.Attribute) and n.attr == "grad" for n in ast.walk(value))
    return False


def _places(training: Training, steps: list[Step]) -> list[ast.stmt]:
    if len(steps) == 1:
        return [_whole_loop(training, steps[0].statement)]
    block, tops = _common_block(training, steps)
    distinct = sorted({id(t): t for t in tops.values()}.values(), key=lambda t: t.lineno)
    if len(distinct) == 1:
        return _per_branch(training, steps, distinct[0])
    repeated = len({s.path for s in steps}) < len(steps)
    always = any(tops[s] is s.statement for s in steps)
    if always and not repeated and not _leaves_early(distinct, block):
        return [distinct[-1]]
    return _after_each(training, steps, distinct, tops)


def _whole_loop(training: Training, statement: ast.stmt) -> ast.stmt:
    """The statement itself, or the loop over optimizers that it stands in."""
    loop = training.script.loop(statement)
    while loop is not None and "backward" not in training.effect(loop):
        statement, loop = loop, training.script.loop(loop)
    return statement


def _common_block(training: Training, steps: list[Step]) -> tuple[list[ast.stmt], dict[Step, ast.stmt]]:
    """The innermost block that holds every step, and the statement of it that each step stands in."""
    script = training.script
    chains = [_chain(training, s.statement) for s in steps]
    for block, _ in reversed(chains[0]):
        tops = {}
        for step, chain in zip(steps, chains, strict=True):
            here = [top for other, top in chain if other is block]
            if here:
                tops[step] = here[0]
        if len(tops) == len(steps):
            return block, tops
    whole = script.tree.body
    return whole, {s: s.statement for s in steps}


def _chain(training: Training, statement: ast.stmt) -> list[tuple[list[ast.stmt], ast.stmt]]:
    found = []
    at: ast.stmt | None = statement
    while at is not None:
        found.append((training.script.block(at), at))
        at = training.script.outer(at)
    return found[::-1]


def _per_branch(training: Training, steps: list[Step], top: ast.stmt) -> list[ast.stmt]:
    """Steps that exclude each other (branches of one if) are cycles of their own."""
    branches: dict[int, list[Step]] = {}
    for step in steps:
        at = step.statement
        while training.script.outer(at) is not top:
            above = training.script.outer(at)
            assert above is not None
            at = above
        branches.setdefault(id(training.script.block(at)), []).append(step)
    if len(branches) == 1:
        raise Declined(top.lineno, "update_undecidable", "the steps of this block cannot be put in order")
    return [place for group in branches.values() for place in _places(training, group)]


def _leaves_early(distinct: list[ast.stmt], block: list[ast.stmt]) -> bool:
    between = block[block.index(distinct[0]) : block.index(distinct[-1]) + 1]
    return any(isinstance(n, ast.Continue | ast.Break | ast.Return) for s in between for n in ast.walk(s))


def _after_each(
    training: Training, steps: list[Step], distinct: list[ast.stmt], tops: dict[Step, ast.stmt]
) -> list[ast.stmt]:
    """An update after every step is right where each step has its own backward since the one before."""
    lines = sorted(b.statement.lineno for b in training.backwards)
    previous = 0
    for top in distinct:
        inside = [s for s in steps if tops[s] is top]
        end = top.end_lineno or top.lineno
        if previous and not any(previous < line <= end for line in lines):
            raise Declined(
                top.lineno,
                "update_undecidable",
                "several optimizers step under separate conditions after one backward, so no place for "
                "update() is reached exactly once per iteration",
            )
        previous = max(s.statement.lineno for s in inside)
    return [place for top in distinct for place in _places(training, [s for s in steps if tops[s] is top])]
