"""The edits that make functions and calls run in fp32: here by a decorator, elsewhere by a setting of the script."""

import ast

from ..edits import Edit, Line, Span
from ..patch import Site
from ..script import Script
from .settings import Names
from .verdict import Verdict


def full_edits(script: Script, verdict: Verdict, name: str, remedy: str) -> tuple[list[Edit], list[Site]]:
    """Functions and calls that run in fp32, and values put by index into what is fp32; `name` is the decorator's."""
    edits: list[Edit] = []
    found: list[tuple[int, str]] = []
    for function, reason in verdict.full.functions.items():
        edits.append(Line(function.lineno, script.indentation(function.lineno), f"@{name}"))
        found.append((function.lineno, f"{function.name} runs in fp32: {reason.note}"))
    for call, reason in verdict.full.calls.items():
        start, end = script.start(call.func), script.end(call.func)
        edits += [Span(start, start, f"{name}("), Span(end, end, ")")]
        found.append((call.lineno, f"{ast.unparse(call.func)} runs in fp32: {reason.note}"))
    for reason, places in verdict.full.remote.values():
        names = ", ".join(where for _, where in places)
        if not names:  # it is given fp32
            continue
        found.append((reason.line, f"{names} runs in fp32: {reason.note}"))
    for put in verdict.puts:
        start, end = script.start(put.value), script.end(put.value)
        kept = script.code(put.targets[0].value)  # type: ignore[attr-defined]
        edits += [Span(start, start, "("), Span(end, end, f").to({kept}.dtype)")]
        found.append((put.lineno, f"what is put into {kept} takes its dtype"))
    return edits, [Site(line, remedy, "edit", "fp32_island", note) for line, note in found]


def remote_lines(verdict: Verdict, names: Names, wrapper: str, device: str) -> list[str]:
    """Lines of the settings that wrap functions of other files, and the autograd.Functions there."""
    found = [place for _, places in verdict.full.remote.values() for place in places]
    sets = [f"{where} = {wrapper}({where})" for _, where in dict.fromkeys(found)]
    for _, (text, where) in verdict.functions_elsewhere:
        found.append((text, where))
        for direction, options in (("forward", f", cast_inputs={names.torch}.float32"), ("backward", "")):
            decorator = f"{names.torch}.amp.custom_{direction[0]}wd"
            value = f"{decorator}({where}.{direction}, device_type={device}{options})"
            sets.append(f"{where}.{direction} = staticmethod({value})")
    return [*dict.fromkeys(text for text, _ in found if text), *sets]
