"""Gradient accumulation: each batch is worked off in N micro-batches, and the step takes the same gradient.

    optimizer.zero_grad()                     micro_terms = loss_terms(target)
    output = model(data)                      for data, target in micro_batches(N, data, target):
    loss = criterion(output, target)     ->       output = model(data)
    loss.backward()                               loss = criterion(output, target)
    optimizer.step()                              micro_share = loss_terms(target) / micro_terms
                                                  (loss * micro_share).backward()
                                              optimizer.step()

Where the loader provably feeds this loop alone it hands out the parts itself; else the batch at hand is split. Either
way schedulers, logging and clipping still count optimizer steps, and a last, smaller batch needs no special case. A
mean over tokens is weighted by the tokens that are not ignored. With `grow_batch` N of today's batches make one group.
https://docs.pytorch.org/docs/stable/notes/amp_examples.html
"""

import ast

from ..accumulation.divide import divide
from ..accumulation.grow import grow
from ..accumulation.loop import find_loop
from ..accumulation.split import split
from ..context import Context
from ..edits import Edit, Span
from ..epochs import no_training
from ..framework_loops import accumulation_option
from ..patch import Declined, Patch, Site
from ..precision.engines import per_sample

REMEDY = "gradient_accumulation"
_DEFAULT_STEPS = 2


def propose(context: Context) -> Patch:
    """Micro-batches for the one loop that trains."""
    steps = context.wishes.accumulation_steps or _DEFAULT_STEPS
    try:
        found = _present(context, steps) or accumulation_option(context)
        if found is not None:
            return found
        if (nothing := no_training(context, REMEDY)) is not None:
            return nothing
        per_sample(context)
        loop = find_loop(context)
        if context.wishes.grow_batch:
            return grow(context, loop, steps)
        return divide(context, loop, steps) or split(context, loop, steps)
    except Declined as reason:
        return reason.as_patch(REMEDY)


def _present(context: Context, steps: int) -> Patch | None:
    """Our own helpers: only the number changes."""
    script = context.script
    places = {"micro_batches": 0, "micro_groups": 0, "micro_size": 1}
    numbers = [
        call.args[place]
        for call in script.calls
        if isinstance(call.func, ast.Name) and (place := places.get(call.func.id)) is not None
        if len(call.args) > place
    ]
    if not numbers:
        return None
    line = numbers[0].lineno
    if all(isinstance(n, ast.Constant) and n.value == steps for n in numbers):
        return Patch("already", [Site(line, REMEDY, "keep", "already", f"{steps} micro-batches per step")])
    sizes = [c.args[0] for c in script.calls if isinstance(c.func, ast.Name) and c.func.id == "micro_size"]
    for size in sizes:
        if isinstance(size, ast.Constant) and isinstance(size.value, int) and size.value % steps:
            note = f"a batch of {size.value} cannot be divided into {steps} equal parts"
            raise Declined(size.lineno, "batch_not_divisible", note)
    spans: list[Edit] = [Span(script.start(n), script.end(n), str(steps)) for n in numbers]
    return Patch("patched", [Site(line, REMEDY, "edit", "accumulation_number", f"{steps} now")], spans)
