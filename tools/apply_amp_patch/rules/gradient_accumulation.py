"""Gradient accumulation: each batch is worked off in N micro-batches, and the step takes the same gradient.

    optimizer.zero_grad()                     micro_terms = loss_terms(target)
    output = model(data)                      for data, target in micro_batches(N, data, target):
    loss = criterion(output, target)     ->       output = model(data)
    loss.backward()                               loss = criterion(output, target)
    optimizer.step()                              micro_share = loss_terms(target) / micro_terms
                                                  (loss * micro_share).backward()
                                              optimizer.step()

The batch itself is split, so loaders, schedulers, logging and clipping still count optimizer steps, and the last,
smaller batch needs no special case. A mean over tokens is weighted by the tokens that are not ignored. With
`grow_batch` N of today's batches make one group. https://docs.pytorch.org/docs/stable/notes/amp_examples.html
"""

import ast

from ..._core.syntax import parse
from ..accumulation.helpers import GROUPS, SPLIT, TERMS
from ..accumulation.loop import BatchLoop, enumerates, find_loop, is_distributed, zeroes
from ..context import Context
from ..edits import Drop, Edit, Line, Span, Wrap, indent_unit
from ..flow import path, uses
from ..patch import Declined, Patch, Site
from ..prelude import free_name, header

REMEDY = "gradient_accumulation"
_DEFAULT_STEPS = 2


def propose(context: Context) -> Patch:
    """Micro-batches for the one loop that trains."""
    steps = context.wishes.accumulation_steps or _DEFAULT_STEPS
    try:
        present = _present(context, steps)
        if present is not None:
            return present
        if not context.training.backwards or not context.training.steps:
            return Patch(
                "nothing_to_do",
                [Site(1, REMEDY, "keep", "no_training_loop", "no optimizer steps in this file")],
            )
        found = find_loop(context)
        return _grow(context, found, steps) if context.wishes.grow_batch else _split(context, found, steps)
    except Declined as reason:
        return reason.as_patch(REMEDY)


def _present(context: Context, steps: int) -> Patch | None:
    """Our own helper: only the number changes."""
    for call in context.script.calls:
        if (
            isinstance(call.func, ast.Name)
            and call.func.id in ("micro_batches", "micro_groups")
            and call.args
        ):
            number = call.args[0]
            if isinstance(number, ast.Constant) and number.value == steps:
                return Patch(
                    "already",
                    [Site(call.lineno, REMEDY, "keep", "already", f"{steps} micro-batches per step")],
                )
            span = Span(context.script.start(number), context.script.end(number), str(steps))
            return Patch(
                "patched", [Site(call.lineno, REMEDY, "edit", "accumulation_number", f"{steps} now")], [span]
            )
    return None


def _split(context: Context, found: BatchLoop, steps: int) -> Patch:
    script = context.script
    first, last = found.body[0], found.body[-1]
    names = ", ".join(found.batch)
    indent, unit = script.indentation(first.lineno), indent_unit(script)
    whole = free_name(script, "micro_whole")
    edits: list[Edit] = []
    opening = [f"{whole} = ({names},)" if len(found.batch) == 1 else f"{whole} = ({names})"]
    target = names + ("," if len(found.batch) == 1 else "")
    opening += _hoisted(context, found.body, edits)
    share = _share(context, found, edits, opening)
    before, inside, after = _carried(context, found, share)
    closing = [f"{target} = {whole}", *after, *_moved(context, found, edits)]
    edits += [
        Line(first.lineno, indent, "\n".join([*opening, *before])),
        Wrap(
            first.lineno, last.end_lineno or last.lineno, f"for {target} in micro_batches({steps}, {names}):"
        ),
        Line(
            (last.end_lineno or last.lineno) + 1,
            indent,
            "\n".join([*(f"{unit}{line}" for line in inside), *closing]),
        ),
        _helpers(context, found, SPLIT),
    ]
    site = Site(
        first.lineno, REMEDY, "edit", "micro_batches", f"each batch in {steps} parts, same gradient per step"
    )
    return Patch("patched", [site], edits, _warnings(context, found))


def _hoisted(context: Context, statements: list[ast.stmt], edits: list[Edit]) -> list[str]:
    """`zero_grad()` between forward and backward moves in front of the micro-batches."""
    script = context.script
    moved = []
    for statement in statements:
        if zeroes(statement):
            moved.append(script.code(statement))
            line = statement.end_lineno or statement.lineno
            stop = script.line_starts[line] if line < len(script.line_starts) else len(script.text)
            around = script.text[script.line_starts[statement.lineno - 1] : script.start(statement)]
            if (around + script.text[script.end(statement) : stop]).strip():
                raise Declined(
                    statement.lineno, "shared_line", "zero_grad shares its line with something else"
                )
            edits.append(Drop(statement.lineno, line))
    return moved


def _moved(context: Context, found: BatchLoop, edits: list[Edit]) -> list[str]:
    """What stood between loss and backward is done once per batch still, behind the micro-batches."""
    script = context.script
    lines: list[str] = []
    for statement in found.between:
        base = script.indentation(statement.lineno)
        last = statement.end_lineno or statement.lineno
        text = script.text[script.line_starts[statement.lineno - 1] : script.end(statement)]
        if not text[: len(base)] == base or text[len(base) :] == "" or '"""' in text:
            raise Declined(
                statement.lineno, "shared_line", "the statement cannot be moved behind the micro-batches"
            )
        lines += [line.removeprefix(base).rstrip("\r\n") for line in text.splitlines()]
        edits.append(Drop(statement.lineno, last))
    return lines


def _share(context: Context, found: BatchLoop, edits: list[Edit], opening: list[str]) -> str | None:
    """Weigh the loss by its part of the batch; None where the loss is a sum."""
    script, reduction = context.script, found.reduction
    if reduction.target is None:
        return None
    terms, share = free_name(script, "micro_terms"), free_name(script, "micro_share")
    extra = f", ignore_index={reduction.ignore_index}" if reduction.ignore_index else ""
    opening.append(f"{terms} = max(1, loss_terms({reduction.target}{extra}))")
    last = found.backward.statement
    indent = script.indentation(last.lineno)
    text = f"{share} = loss_terms({reduction.target}{extra}) / {terms}"
    if reduction.can_ignore and not is_distributed(context):
        unit = indent_unit(script)
        text += f"\nif not {share}:\n{unit}continue  # every target here is ignored, and the mean of nothing is nan"
    edits.append(Line(last.lineno, indent, text, inside=True))
    loss = found.backward.loss
    inner = _inside_scale(context, loss)
    start, end = script.start(inner), script.end(inner)
    scaled = inner is not loss
    bare = isinstance(inner, ast.Name | ast.Call | ast.Attribute | ast.Subscript)
    left, right = (
        ("", f" * {share}") if scaled and bare else ("(", f" * {share})") if bare else ("((", f") * {share})")
    )
    edits += [Span(start, start, left), Span(end, end, right)] if left else [Span(end, end, right)]
    return share


def _inside_scale(context: Context, loss: ast.expr) -> ast.expr:
    """The loss itself inside `scaler.scale(loss)`."""
    if (
        isinstance(loss, ast.Call)
        and isinstance(loss.func, ast.Attribute)
        and loss.func.attr == "scale"
        and loss.args
    ):
        return loss.args[0]
    return loss


def _carried(context: Context, found: BatchLoop, share: str | None) -> tuple[list[str], list[str], list[str]]:
    """Lines that put together what later code reads: the loss as a sum, outputs as one tensor."""
    script, flow = context.script, context.training.flow
    loop = found.loop
    rest = [*found.between, *loop.body[loop.body.index(found.body[-1]) + 1 :]]
    later = {p for s in rest for p in uses(s)} | _after_loop(context, loop)
    made = [
        d for s in found.body if s not in found.between for d in sorted(flow.defs(s)) if d not in found.batch
    ]
    before, inside, after = [], [], []
    loss = path(_inside_scale(context, found.backward.loss))
    for name in dict.fromkeys(made):
        if name not in later or "." in name:
            if "." in name and name in later:
                raise Declined(
                    found.body[0].lineno, "output_read_later", f"{name} is read after the loop's step"
                )
            continue
        kept = free_name(script, f"micro_{name}")
        if name == loss:
            before.append(f"{kept} = 0.0")
            inside.append(f"{kept} = {kept} + {name}.detach()" + (f" * {share}" if share else ""))
            after.append(f"{name} = {kept}")
        elif _is_output(context, found, name):
            before.append(f"{kept} = []")
            inside.append(f"{kept}.append({name}.detach())")
            after.append(f"{name} = {script.torch_name() or 'torch'}.cat({kept})")
        else:
            raise Declined(
                found.body[0].lineno, "output_read_later", f"{name} is read after the micro-batches"
            )
    return before, inside, after


def _after_loop(context: Context, loop: ast.For) -> set[str]:
    """Names read behind the loop in its function."""
    script = context.script
    function = script.function(loop)
    nodes = ast.walk(function) if function is not None else script.nodes
    inside = set(ast.walk(loop))
    return {
        n.id
        for n in nodes
        if isinstance(n, ast.Name) and n not in inside and n.lineno > (loop.end_lineno or 0)
    }


def _is_output(context: Context, found: BatchLoop, name: str) -> bool:
    """Set once, to what one model call returns."""
    setters = [
        n
        for s in found.body
        for n in ast.walk(s)
        if isinstance(n, ast.Assign) and len(n.targets) == 1 and path(n.targets[0]) == name
    ]
    counted = [
        n
        for s in found.body
        for n in ast.walk(s)
        if isinstance(n, ast.Name) and n.id == name and isinstance(n.ctx, ast.Store)
    ]
    return (
        len(setters) == 1 == len(counted)
        and isinstance(setters[0].value, ast.Call)
        and context.training.flow.calls_model(setters[0].value)
    )


def _helpers(context: Context, found: BatchLoop, first: list[str]) -> Line:
    script = context.script
    lines = [] if script.torch_name() else ["import torch", ""]
    unit = indent_unit(script)
    text = first + (["", "", *TERMS] if found.reduction.target is not None else [])
    torch = script.torch_name() or "torch"
    for name in ("micro_batches", "micro_groups", "loss_terms"):
        if name in script.spelled:
            raise Declined(found.loop.lineno, "name_taken", f"the script has a {name} of its own")
    lines += ["", *(line.replace("    ", unit).replace("torch.", f"{torch}.") for line in text)]
    return header(script, lines)


def _warnings(context: Context, found: BatchLoop) -> list[str]:
    names = {context.script.called(c) or "" for c in context.script.calls}
    notes = []
    if any("BatchNorm" in n for n in names):
        notes.append(
            "BatchNorm takes its statistics from each micro-batch, so results differ from the whole batch"
        )
    if is_distributed(context):
        notes.append(
            "DistributedDataParallel exchanges gradients per micro-batch: right, but slower than with no_sync()"
        )
    return notes


def _grow(context: Context, found: BatchLoop, steps: int) -> Patch:
    """N of today's batches make one group."""
    script, loop = context.script, found.loop
    for call in script.calls:
        if (
            script.called(call) == "builtins.len"
            and call.args
            and ast.unparse(call.args[0]) == ast.unparse(_loader(context, loop))
        ):
            above = [a for a in script.ancestors(call) if isinstance(a, ast.Call)]
            if any("lr_scheduler" in (script.called(a) or "") for a in above):
                raise Declined(call.lineno, "schedule_counts_batches", "the scheduler counts today's batches")
    raw = context.training.flow.defs(loop.target)
    reduction = found.reduction
    if reduction.target is not None and not {
        n.id for n in ast.walk(parse(reduction.target)) if isinstance(n, ast.Name)
    } <= (raw | {"torch"}):
        raise Declined(
            loop.lineno, "batch_not_found", "the size of a group is known only while it is worked off"
        )
    before_step = loop.body[: loop.body.index(found.backward.statement) + 1]
    after = loop.body[len(before_step) :]
    if any(isinstance(n, ast.Continue | ast.Break) for s in before_step for n in ast.walk(s)):
        raise Declined(loop.lineno, "state_across_batches", "the loop skips batches by continue or break")
    later = {p for s in after for p in uses(s)} & (
        {d for s in before_step for d in context.training.flow.defs(s)} - {"loss"}
    )
    loss = path(_inside_scale(context, found.backward.loss))
    made = {d for s in found.body for d in context.training.flow.defs(s)}
    if later - {loss} & made:
        raise Declined(loop.lineno, "output_read_later", f"{sorted(later)[0]} is read after the group")
    group = free_name(script, "micro_group")
    target = script.code(loop.target.elts[1] if enumerates(context, loop) else loop.target)  # type: ignore[attr-defined]
    loader = _loader(context, loop)
    edits: list[Edit] = []
    opening: list[str] = _hoisted(context, before_step, edits)
    share = _share(context, found, edits, [])
    indent, unit = script.indentation(before_step[0].lineno), indent_unit(script)
    if share:
        extra = f", ignore_index={reduction.ignore_index}" if reduction.ignore_index else ""
        terms = free_name(script, "micro_terms")
        opening.append(
            f"{terms} = max(1, sum(loss_terms({reduction.target}{extra}) for {target} in {group}))"
        )
    inside: list[str] = []
    closing: list[str] = []
    if loss and loss in {p for s in after for p in uses(s)} | _after_loop(context, loop):
        kept = free_name(script, f"micro_{loss}")
        opening.append(f"{kept} = 0.0")
        inside.append(f"{kept} = {kept} + {loss}.detach()" + (f" * {share}" if share else ""))
        closing.append(f"{loss} = {kept}")
    place = loop.target.elts[1] if enumerates(context, loop) else loop.target  # type: ignore[attr-defined]
    last = before_step[-1].end_lineno or before_step[-1].lineno
    edits += [
        Span(script.start(place), script.end(place), group),
        Span(script.start(loader), script.end(loader), f"micro_groups({steps}, {script.code(loader)})"),
        Wrap(before_step[0].lineno, last, f"for {target} in {group}:"),
        _helpers(context, found, GROUPS),
    ]
    if opening:
        edits.append(Line(before_step[0].lineno, indent, "\n".join(opening)))
    if inside or closing:
        edits.append(Line(last + 1, indent, "\n".join([*(f"{unit}{line}" for line in inside), *closing])))
    site = Site(loop.lineno, REMEDY, "edit", "grown_batch", f"{steps} of today's batches per optimizer step")
    return Patch("patched", [site], edits, _warnings(context, found))


def _loader(context: Context, loop: ast.For) -> ast.expr:
    return loop.iter.args[0] if enumerates(context, loop) else loop.iter  # type: ignore[attr-defined]
