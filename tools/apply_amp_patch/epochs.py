"""The loop over epochs around a training, and what is known of its length."""

import ast
from dataclasses import dataclass

from .context import Context
from .loops import Step
from .names import Function
from .patch import Declined


@dataclass(frozen=True)
class Epochs:
    """`loop` runs once per epoch; `count` is source text of how many; `step` is the step it leads to."""

    loop: ast.For
    count: str
    step: Step
    batches: ast.For | None  # the loop over batches, where it stands inside the epoch loop itself


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
    for _ in range(6):
        loop = script.loop(at)
        while loop is not None:
            if isinstance(loop, ast.For) and (count := _count(context, loop)):
                return Epochs(loop, count, step, inner)
            inner = loop if isinstance(loop, ast.For) and inner is None else inner
            loop = script.loop(loop)
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
        return f"({code(last)}) - ({code(first)})"
    return None
