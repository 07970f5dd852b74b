"""The batch at hand is worked off in N parts."""

import ast

from ..context import Context
from ..edits import Drop, Edit, Line, Wrap, indent_unit
from ..flow import path, uses
from ..patch import Declined, Patch, Site
from ..prelude import free_name
from .axis import check_axis
from .divide import only_loader, reads_size
from .helpers import SPLIT
from .loop import BatchLoop
from .parts import after_loop, helpers, hoisted, inside_scale, share_edits, synced, warnings

REMEDY = "gradient_accumulation"


def split(context: Context, found: BatchLoop, steps: int) -> Patch:
    script = context.script
    loader = only_loader(context, found.loop)
    if loader is not None and reads_size(context, found, loader):
        note = f"{script.code(loader.batch_size)} is read inside the loop, and parts are smaller"
        raise Declined(found.loop.lineno, "batch_size_in_loop", note)
    check_axis(context, found)
    first, last = found.body[0], found.body[-1]
    names = ", ".join(found.batch)
    indent, unit = script.indentation(first.lineno), indent_unit(script, first.lineno, last.lineno)
    whole = free_name(script, "micro_whole")
    edits: list[Edit] = []
    opening = [f"{whole} = ({names},)" if len(found.batch) == 1 else f"{whole} = ({names})"]
    target = names + ("," if len(found.batch) == 1 else "")
    opening += hoisted(context, found.body, edits)
    share = share_edits(context, found, edits, opening)
    before, inside, after = _carried(context, found, share)
    closing = [f"{target} = {whole}", *after, *_moved(context, found, edits)]
    parts = synced(context, found, f"micro_batches({steps}, {names})")
    edits += [
        Line(first.lineno, indent, "\n".join([*opening, *before])),
        Wrap(first.lineno, last.end_lineno or last.lineno, f"for {target} in {parts}:"),
        Line(
            (last.end_lineno or last.lineno) + 1,
            indent,
            "\n".join([*(f"{unit}{line}" for line in inside), *closing]),
        ),
        helpers(context, found, SPLIT),
    ]
    site = Site(
        first.lineno, REMEDY, "edit", "micro_batches", f"each batch in {steps} parts, same gradient per step"
    )
    return Patch("patched", [site], edits, warnings(context, found))


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


def _carried(context: Context, found: BatchLoop, share: str | None) -> tuple[list[str], list[str], list[str]]:
    """Lines that put together what later code reads: the loss as a sum, outputs as one tensor."""
    script, flow = context.script, context.training.flow
    loop = found.loop
    rest = [*found.between, *loop.body[loop.body.index(found.body[-1]) + 1 :]]
    later = {p for s in rest for p in uses(s)} | after_loop(context, loop)
    made = [
        d for s in found.body if s not in found.between for d in sorted(flow.defs(s)) if d not in found.batch
    ]
    before, inside, after = [], [], []
    loss = path(inside_scale(context, found.backward.loss))
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
