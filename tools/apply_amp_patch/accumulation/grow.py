"""N batches of the loader make one group."""

import ast

from ..._core.syntax import parse
from ..context import Context
from ..edits import Edit, Line, Span, Wrap, indent_unit
from ..flow import path, uses
from ..patch import Declined, Patch, Site
from ..prelude import free_name
from .helpers import GROUPS
from .loop import BatchLoop, enumerates
from .parts import after_loop, helpers, hoisted, inside_scale, share_edits, synced, warnings

REMEDY = "gradient_accumulation"


def grow(context: Context, found: BatchLoop, steps: int, drop_last: bool | None = None) -> Patch:
    """N of the loader's batches make one group; with `drop_last` given, they are parts of today's batches."""
    script, loop, reduction = context.script, found.loop, found.reduction
    before_step = loop.body[: loop.body.index(found.backward.statement) + 1]
    after = loop.body[len(before_step) :]
    loss = path(inside_scale(context, found.backward.loss))
    read = {p for s in after for p in uses(s)} | after_loop(context, loop)
    _check(context, found, before_step, read - {loss})
    group = free_name(script, "micro_group")
    target = script.code(loop_target(context, loop))
    loader = loader_of(context, loop)
    edits: list[Edit] = []
    opening: list[str] = hoisted(context, before_step, edits)
    share = share_edits(context, found, edits, [])
    indent, unit = script.indentation(before_step[0].lineno), indent_unit(script, before_step[0].lineno)
    if share:
        extra = f", ignore_index={reduction.ignore_index}" if reduction.ignore_index else ""
        terms = free_name(script, "micro_terms")
        opening.append(
            f"{terms} = max(1, sum(loss_terms({reduction.target}{extra}) for {target} in {group}))"
        )
    inside: list[str] = []
    closing: list[str] = []
    if loss and loss in read:
        kept = free_name(script, f"micro_{loss}")
        opening.append(f"{kept} = 0.0")
        inside.append(f"{kept} = {kept} + {loss}.detach()" + (f" * {share}" if share else ""))
        closing.append(f"{loss} = {kept}")
    place = loop_target(context, loop)
    last = before_step[-1].end_lineno or before_step[-1].lineno
    whole = ", whole=True" if drop_last else ""
    header = f"for {target} in {synced(context, found, group)}:"
    edits += [
        Span(script.start(place), script.end(place), group),
        Span(
            script.start(loader), script.end(loader), f"micro_groups({steps}, {script.code(loader)}{whole})"
        ),
        Wrap(before_step[0].lineno, last, header),
        helpers(context, found, GROUPS),
    ]
    if opening:
        edits.append(Line(before_step[0].lineno, indent, "\n".join(opening)))
    if inside or closing:
        edits.append(Line(last + 1, indent, "\n".join([*(f"{unit}{line}" for line in inside), *closing])))
    site = Site(loop.lineno, REMEDY, "edit", *_reason(steps, drop_last))
    return Patch("patched", [site], edits, warnings(context, found))


def _reason(steps: int, drop_last: bool | None) -> tuple[str, str]:
    """Code and note of what was done to the loop."""
    if drop_last is None:
        return "grown_batch", f"{steps} of today's batches per optimizer step"
    return "micro_batches", f"the loader hands out {steps} parts of each batch, same gradient per step"


def loop_target(context: Context, loop: ast.For) -> ast.expr:
    """What the loop calls its batch."""
    return loop.target.elts[1] if enumerates(context, loop) else loop.target  # type: ignore[attr-defined]


def _check(context: Context, found: BatchLoop, before_step: list[ast.stmt], read: set[str]) -> None:
    """Decline what a group would change: `read` is what is read behind the step, without the loss."""
    loop, reduction, flow = found.loop, found.reduction, context.training.flow
    _check_schedule(context, loop)
    if reduction.target is not None and not {
        n.id for n in ast.walk(parse(reduction.target)) if isinstance(n, ast.Name)
    } <= (flow.defs(loop.target) | {"torch"}):
        raise Declined(
            loop.lineno, "batch_not_found", "the size of a group is known only while it is worked off"
        )
    if any(isinstance(n, ast.Continue | ast.Break) for s in before_step for n in ast.walk(s)):
        raise Declined(loop.lineno, "state_across_batches", "the loop skips batches by continue or break")
    per_batch = {d for s in [loop_target(context, loop), *before_step] for d in flow.defs(s)}
    if later := read & per_batch:
        raise Declined(loop.lineno, "output_read_later", f"{sorted(later)[0]} is read after the group")


def _check_schedule(context: Context, loop: ast.For) -> None:
    script = context.script
    for call in script.calls:
        if (
            script.called(call) == "builtins.len"
            and call.args
            and ast.unparse(call.args[0]) == ast.unparse(loader_of(context, loop))
        ):
            above = [a for a in script.ancestors(call) if isinstance(a, ast.Call)]
            if any("lr_scheduler" in (script.called(a) or "") for a in above):
                raise Declined(call.lineno, "schedule_counts_batches", "the scheduler counts today's batches")


def loader_of(context: Context, loop: ast.For) -> ast.expr:
    return loop.iter.args[0] if enumerates(context, loop) else loop.iter  # type: ignore[attr-defined]
