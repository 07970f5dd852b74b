"""Binary cross entropy on probabilities has no half-precision kernel: its inputs become fp32, outside of autocast."""

import ast
from collections.abc import Callable

from ..context import Context
from ..edits import Edit, Line, Span, Wrap, indent_unit
from ..loops import Training
from ..patch import Declined
from ..prelude import free_name
from .device import Device

Code = Callable[[ast.AST], str]  # the text of a node, as other edits leave it


def islands(context: Context, calls: list[ast.Call], device: Device, code: Code) -> list[Edit]:
    """Edits that move each call into a block with autocast off."""
    by_statement: dict[ast.stmt, list[ast.Call]] = {}
    for call in sorted(set(calls), key=lambda c: (c.lineno, c.col_offset)):
        by_statement.setdefault(context.script.statement(call), []).append(call)
    return [
        e
        for statement, group in by_statement.items()
        for e in _island(context, statement, group, device, code)
    ]


def _island(
    context: Context, statement: ast.stmt, calls: list[ast.Call], device: Device, code: Code
) -> list[Edit]:
    script = context.script
    if not isinstance(statement, ast.Assign | ast.AugAssign | ast.Return | ast.AnnAssign | ast.Expr):
        raise Declined(
            statement.lineno,
            "bce_in_expression",
            "binary cross entropy stands inside a condition or loop head",
        )
    torch = script.torch_name() or "torch"
    header = f"with {torch}.autocast(device_type={device.at(statement)}, enabled=False):"
    if statement.value is calls[0] and len(calls) == 1:
        return _wrapped(context, statement, calls[0], header, code)
    _check_order(context, statement, calls)
    indent, unit = script.indentation(statement.lineno), indent_unit(script, statement.lineno)
    edits: list[Edit] = []
    lines: list[str] = []
    for number, call in enumerate(calls, 1):
        suffix = "" if len(calls) == 1 else f"_{number}"
        text = _call_text(context, call, lines, suffix, code)
        name = free_name(script, f"amp_bce{suffix}")
        lines += [header, f"{unit}{name} = {text}"]
        edits.append(Span(script.start(call), script.end(call), name))
    if script.text[script.line_starts[statement.lineno - 1] : script.start(statement)].strip():
        raise Declined(statement.lineno, "shared_line", "the statement shares its line with another one")
    edits.append(Line(statement.lineno, indent, "\n".join(lines), inside=True))
    return edits


def _wrapped(context: Context, statement: ast.stmt, call: ast.Call, header: str, code: Code) -> list[Edit]:
    """`loss = criterion(...)` itself goes into the island; model calls among its arguments go before it."""
    script = context.script
    edits: list[Edit] = [Wrap(statement.lineno, statement.end_lineno or statement.lineno, header)]
    hoisted: list[str] = []
    for place, value in enumerate(_tensors(call)):
        text = code(value)
        if context.training.flow.runs_layers(value):
            name = free_name(script, "amp_input" + (f"_{place}" if place else ""))
            hoisted.append(f"{name} = {_one_line(text)}")
            edits.append(Span(script.start(value), script.end(value), f"{name}.float()"))
        elif cast := _cast(text, value):
            if cast.startswith(")"):
                edits.append(Span(script.start(value), script.start(value), "("))
            edits.append(Span(script.end(value), script.end(value), cast))
    if hoisted:
        edits.append(
            Line(statement.lineno, script.indentation(statement.lineno), "\n".join(hoisted), inside=True)
        )
    return edits


def named_loss(context: Context, call: ast.Call, name: str, device: Device, code: Code) -> list[str]:
    """Lines, to stand under autocast, that give `name` the value of a binary cross entropy in fp32."""
    lines: list[str] = []
    text = _call_text(context, call, lines, "", code)
    torch = context.script.torch_name() or "torch"
    header = f"with {torch}.autocast(device_type={device.at(call)}, enabled=False):"
    return [*lines, header, f"{indent_unit(context.script, call.lineno)}{name} = {text}"]


def _call_text(context: Context, call: ast.Call, lines: list[str], suffix: str, code: Code) -> str:
    """The call on fp32 inputs; model calls among its arguments go to lines of their own before it."""
    script = context.script
    parts: list[str] = [code(call.func), "("]
    tensors = _tensors(call)
    shown: list[str] = []
    for place, value in enumerate([*call.args, *(k.value for k in call.keywords)]):
        text = code(value)
        if value in tensors and context.training.flow.runs_layers(value):
            name = free_name(script, f"amp_input{suffix}" + (f"_{place}" if place else ""))
            lines.append(f"{name} = {_one_line(text)}")
            text = f"{name}.float()"
        elif value in tensors and (cast := _cast(text, value)):
            text = f"({text}{cast}" if cast.startswith(")") else f"{text}{cast}"
        keyword = call.keywords[place - len(call.args)].arg if place >= len(call.args) else None
        shown.append(f"{keyword}={text}" if keyword else text)
    return "".join([*parts, ", ".join(shown), ")"])


def _one_line(text: str) -> str:
    return f"({text})" if "\n" in text else text


def _tensors(call: ast.Call) -> list[ast.expr]:
    if any(isinstance(a, ast.Starred) for a in call.args):
        raise Declined(call.lineno, "bce_in_expression", "the arguments of binary cross entropy are unpacked")
    return [*call.args[:2], *(k.value for k in call.keywords if k.arg in ("input", "target"))]


def _cast(text: str, node: ast.expr) -> str:
    if text.endswith(".float()"):
        return ""
    plain = isinstance(node, ast.Name | ast.Attribute | ast.Call | ast.Subscript)
    return ".float()" if plain else ").float()"


def _check_order(context: Context, statement: ast.stmt, calls: list[ast.Call]) -> None:
    """Moving a call in front of its statement must not move it in front of another layer."""
    training: Training = context.training
    inside = {id(n) for c in calls for n in ast.walk(c)}
    last = max((c.lineno, c.col_offset) for c in calls)
    for node in ast.walk(statement):
        if isinstance(node, ast.Call) and id(node) not in inside and (node.lineno, node.col_offset) < last:
            holds = any(c in ast.walk(node) for c in calls)
            if training.flow.runs_layers(node.func) or (not holds and training.flow.runs_layers(node)):
                raise Declined(
                    node.lineno,
                    "bce_in_expression",
                    "another layer is evaluated before the binary cross entropy",
                )
