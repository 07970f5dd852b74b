"""The loop over epochs around a training, and what is known of its length."""

import ast
from collections.abc import Callable
from dataclasses import dataclass

from .context import Context
from .loops import Step
from .names import Function
from .patch import Declined, Patch, Site


@dataclass(frozen=True)
class Epochs:
    """`loop` runs once per epoch; `count` is source text of how many; `step` is the step it leads to."""

    loop: ast.For
    count: str
    step: Step
    batches: ast.For | None  # the loop over batches, where it stands inside the epoch loop itself
    training: ast.stmt  # the statement of the epoch loop that leads to the step
    looped: bool  # further loops repeat the step within an epoch
    conditional: bool  # a condition decides on the step


def no_training(context: Context, remedy: str) -> Patch | None:
    """What to say of a file in which no optimizer steps, or none that is known as one; None where one does."""
    training = context.training
    if training.backwards and training.steps:
        return None
    steps = [c for c in context.script.method_calls("step") if not c.args and not c.keywords]
    if training.backwards and steps:
        note = "a loss is differentiated here, but which object that steps is the optimizer is not known"
        return Declined(steps[0].lineno, "optimizer_unknown", note).as_patch(remedy)
    note = "no optimizer steps in this file"
    return Patch("nothing_to_do", [Site(1, remedy, "keep", "no_training_loop", note)])


def find_epochs(context: Context) -> Epochs:
    """Raises Declined where the loops cannot be told."""
    training = context.training
    if len({s.path for s in training.steps}) != 1:
        line = training.backwards[0].call.lineno
        raise Declined(line, "several_losses", "not exactly one optimizer steps in this file")
    found = [_epochs_of(context, step) for step in training.steps]
    if len({epochs.loop for epochs in found}) != 1:
        line = found[-1].loop.lineno
        raise Declined(line, "several_losses", "more than one loop over epochs trains in this file")
    return found[0]


def _epochs_of(context: Context, step: Step) -> Epochs:
    script = context.script
    at: ast.AST = step.call
    inner = None
    looped = conditional = False
    for _ in range(6):
        below = at
        for above in script.ancestors(at):
            if isinstance(above, ast.For) and below in above.body and (count := _count(context, above)):
                assert isinstance(below, ast.stmt)
                return Epochs(above, count, step, inner, below, looped, conditional)
            if isinstance(above, Function | ast.ClassDef):
                break
            if isinstance(above, ast.For | ast.While | ast.AsyncFor):
                looped = True
                inner = above if isinstance(above, ast.For) and inner is None else inner
            conditional = conditional or isinstance(above, ast.If | ast.IfExp | ast.Try)
            below = above
        function = script.function(at)
        sites = context.roles.call_sites(function) if isinstance(function, Function) else []
        if len(sites) != 1:
            break
        at, inner = sites[0], None
    raise Declined(step.call.lineno, "epochs_not_found", "no loop over range(...) epochs leads to this step")


def _count(context: Context, loop: ast.For) -> str | None:
    """How often `for epoch in range(a, b)` runs."""
    call = loop.iter
    if isinstance(call, ast.Call) and (context.script.called(call) or "").startswith("tqdm") and call.args:
        call = call.args[0]
    if not isinstance(call, ast.Call) or context.script.called(call) not in ("builtins.range", "tqdm.trange"):
        return None
    code = context.script.code
    if len(call.args) == 1:
        return code(call.args[0])
    if len(call.args) == 2:
        first, last = call.args
        if isinstance(first, ast.Constant) and first.value == 0:
            return code(last)
        if (
            (
                isinstance(first, ast.Constant)
                and first.value == 1
                and isinstance(last, ast.BinOp)
                and isinstance(last.op, ast.Add)
            )
            and isinstance(last.right, ast.Constant)
            and last.right.value == 1
        ):
            return code(last.left)
        return _difference(last, first, code)
    return None


def _difference(last: ast.expr, first: ast.expr, code: Callable[[ast.expr], str]) -> str:
    """How many numbers lie between; at least one, as a run that resumes at its end still builds a schedule."""
    if isinstance(last, ast.Constant) and isinstance(first, ast.Constant):
        return str(last.value - first.value)  # type: ignore[operator]
    plain = ast.Name | ast.Attribute | ast.Constant
    ends = [code(n) if isinstance(n, plain) else f"({code(n)})" for n in (last, first)]
    return f"max(1, {ends[0]} - {ends[1]})"
