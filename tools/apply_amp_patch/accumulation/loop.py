"""The one loop over batches that trains, and what a batch of it is made of."""

import ast
from dataclasses import dataclass

from ..context import Context
from ..flow import uses
from ..loops import Backward
from ..patch import Declined
from .losses import Reduction, reduction_of


@dataclass
class BatchLoop:
    """One loop to be split: statements `first` to the backward, over `batch` names."""

    backward: Backward
    loop: ast.For
    body: list[ast.stmt]
    between: list[ast.stmt]  # of the body: what stands between the loss and its backward, for logging say
    batch: list[str]
    reduction: Reduction


def find_loop(context: Context) -> BatchLoop:
    script, training = context.script, context.training
    first = training.backwards[0]
    if len(training.backwards) > 1 or len({s.path for s in training.steps}) > 1:
        raise Declined(first.call.lineno, "several_losses", "several losses or optimizers share the batches")
    if any((s.call.args or s.call.keywords) and not s.scaled for s in training.steps):
        raise Declined(
            training.steps[0].call.lineno, "closure", "a closure recomputes the loss inside the step"
        )
    for call in script.calls:
        if (script.called(call) or "").startswith(
            ("accelerate.", "deepspeed.", "lightning.", "pytorch_lightning.")
        ):
            raise Declined(
                call.lineno, "framework_option", "the framework accumulates by an option of its own"
            )
    if horovod := next((c for c in script.calls if (script.called(c) or "").startswith("horovod.")), None):
        note = "Horovod exchanges gradients at each backward: give its optimizer backward_passes_per_step"
        raise Declined(horovod.lineno, "horovod", note)
    loop = script.loop(first.call)
    if not isinstance(loop, ast.For):
        raise Declined(
            first.call.lineno, "no_batch_loop", "the loss is not inside a for loop over batches of this file"
        )
    if script.block(first.statement) is not loop.body:
        raise Declined(
            first.call.lineno, "no_batch_loop", "backward stands under a condition or a second loop"
        )
    region = next((r for r in reversed(training.regions) if r.first in loop.body), None)
    if region is None or not training.contributors[first]:
        raise Declined(
            first.call.lineno, "forward_not_found", "the forward pass is not in the loop that steps"
        )
    place = loop.body.index(region.first)
    body = loop.body[place : loop.body.index(first.statement) + 1]
    tail = loop.body.index(region.last) + 1
    between = [s for s in loop.body[tail : loop.body.index(first.statement)] if not zeroes(s)]
    for statement in between:
        if any(isinstance(n, ast.Continue | ast.Break) for n in ast.walk(statement)):
            raise Declined(
                statement.lineno, "state_across_batches", "a batch may be skipped before its backward"
            )
    batch = _batch_names(context, loop, body, between)
    return BatchLoop(first, loop, body, between, batch, reduction_of(context, first, body))


def zeroes(statement: ast.stmt) -> bool:
    call = statement.value if isinstance(statement, ast.Expr) else None
    return (
        isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "zero_grad"
    )


def _batch_names(context: Context, loop: ast.For, body: list[ast.stmt], between: list[ast.stmt]) -> list[str]:
    """What the forward pass reads of the current batch, in order of appearance."""
    flow = context.training.flow
    counters = _counters(context, loop)
    from_batch = set(flow.defs(loop.target))
    if enumerates(context, loop) and isinstance(loop.target, ast.Tuple):
        from_batch -= flow.defs(loop.target.elts[0])
    begun = _set_later(context, loop)  # also a list that is made for the batch and grows in the forward pass
    for statement in loop.body[: loop.body.index(body[0])]:
        begun |= flow.defs(statement)
        if uses(statement) & from_batch or flow.defs(statement) & from_batch:
            from_batch |= {d for d in flow.defs(statement) if uses(statement) & from_batch}
    set_inside = {d for s in body for d in flow.defs(s)}
    read_first: list[str] = []
    done: set[str] = set()
    for statement in unwrapped(body):
        moved = statement in between  # it runs once per batch still: `total += loss.item()`
        for name in sorted(uses(statement) - done) if not moved else ():
            if name in set_inside and name in from_batch | begun:
                raise Declined(
                    statement.lineno, "state_across_batches", f"{name} is carried from one batch to the next"
                )
            if name in from_batch and name not in read_first:
                read_first.append(name)
        done |= flow.defs(statement)
    names = [n for n in read_first if not any(n != o and n.startswith(f"{o}.") for o in read_first)]
    if not names or any("." in n or n in counters for n in names):
        raise Declined(
            body[0].lineno, "batch_not_found", "the tensors of a batch cannot be told from the rest"
        )
    return names


def unwrapped(body: list[ast.stmt]) -> list[ast.stmt]:
    """The statements in order, with those of an autocast block in place of the block."""
    found: list[ast.stmt] = []
    for statement in body:
        found += unwrapped(statement.body) if isinstance(statement, ast.With) else [statement]
    return found


def _counters(context: Context, loop: ast.For) -> set[str]:
    """The loop's names for numbers: the count of an enumerate, and what runs over a range."""
    flow, script = context.training.flow, context.script
    counters: set[str] = set()
    target, iterated = loop.target, loop.iter
    if enumerates(context, loop) and isinstance(target, ast.Tuple) and isinstance(iterated, ast.Call):
        counters = set(flow.defs(target.elts[0]))
        target, iterated = target.elts[-1], iterated.args[0]
    names = [n for n in ast.walk(iterated) if isinstance(n, ast.Call)]
    if any(script.called(n) in ("builtins.range", "tqdm.trange") for n in names[:2]):
        counters |= flow.defs(target)
    return counters


def _set_later(context: Context, loop: ast.For) -> set[str]:
    """Names that also get their value before the loop: a hidden state, say."""
    script = context.script
    names = {n.id for n in ast.walk(loop) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    inside = set(ast.walk(loop))
    return {n for n in names if any(b.node not in inside for b in script.bindings(n, loop))}


def enumerates(context: Context, loop: ast.For) -> bool:
    return context.script.called(loop.iter) == "builtins.enumerate"


def is_distributed(context: Context) -> bool:
    return any("DistributedDataParallel" in (context.script.called(c) or "") for c in context.script.calls)
