"""N batches of the loader make one group."""

import ast

from ..._core.syntax import parse
from ..context import Context
from ..edits import Edit, Line, Span, Wrap, indent_unit
from ..flow import path, uses
from ..names import Function
from ..patch import Declined, Patch, Site
from ..prelude import free_name
from .helpers import GROUPS
from .loop import BatchLoop, enumerates
from .parts import after_loop, helpers, hoisted, inside_scale, share_edits, synced, warnings

REMEDY = "gradient_accumulation"
_REUSES_MEMORY = ("ffcv.", "nvidia.dali.")
_DEPTH = 3  # names made of names made of the loader's length


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
    counted = _still_counted(context, loop, steps) if drop_last is None else []
    return Patch("patched", [site], edits, [*warnings(context, found), *counted])


def _still_counted(context: Context, loop: ast.For, steps: int) -> list[str]:
    return [
        f"{ast.unparse(length)} still counts today's batches: a mean over it becomes {steps} times smaller"
        for length in _lengths(context, loop)[:1]
    ]


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
    _check_memory(context, loop)
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


def _check_memory(context: Context, loop: ast.For) -> None:
    """Batches are collected before they are worked off, which needs a loader that makes each anew."""
    for script in (context.script, *context.project.values()):
        if any((script.called(c) or "").startswith(_REUSES_MEMORY) for c in script.calls):
            note = "the loader may write its next batches over those that a group collects"
            raise Declined(loop.lineno, "state_across_batches", note)


def _check_schedule(context: Context, loop: ast.For) -> None:
    """The length of a schedule, or a rate that is set by hand, must not be made of the number of batches."""
    script, flow, roles = context.script, context.training.flow, context.roles
    lengths, counted = set(_lengths(context, loop)), set[str]()

    def counts(node: ast.AST) -> bool:
        return not lengths.isdisjoint(ast.walk(node)) or bool(uses(node) & counted)

    sets = [n for n in script.nodes if isinstance(n, ast.Assign | ast.AugAssign | ast.AnnAssign) and n.value]
    for _ in range(_DEPTH):
        counted |= {d for n in sets if counts(n.value) for d in flow.defs(n)}  # type: ignore[arg-type]
    note = "the rate depends on the number of today's batches: divide it by the group size"
    for call in script.calls:
        given = [*call.args, *(k.value for k in call.keywords)]
        handed = any(ast.unparse(a) in context.training.step_paths for a in given)
        sets_rate = handed or roles.stepper(call) in ("optimizer", "scheduler")
        sets_rate = sets_rate or (isinstance(call.func, ast.Attribute) and call.func.attr == "step")
        if sets_rate and any(counts(a) for a in given):
            raise Declined(call.lineno, "schedule_counts_batches", note)


def _lengths(context: Context, loop: ast.For) -> list[ast.Call]:
    """`len(loader)` of the loop's loader, by its name here and where the loop's function is called."""
    script, roles = context.script, context.roles
    node, function = loader_of(context, loop), script.function(loop)
    while isinstance(node, ast.Call) and node.args:
        node = node.args[0]
    names = {ast.unparse(node)}
    for call in roles.call_sites(function) if isinstance(function, Function) else []:
        value = roles.argument(call, function, ast.unparse(node))  # type: ignore[arg-type]
        names |= {ast.unparse(value)} if value is not None else set()
    calls = (c for c in script.calls if c.args and script.called(c) == "builtins.len")
    return [c for c in calls if ast.unparse(c.args[0]) in names]


def loader_of(context: Context, loop: ast.For) -> ast.expr:
    return loop.iter.args[0] if enumerates(context, loop) else loop.iter  # type: ignore[attr-defined]
