"""A further keyword for a call."""

import ast
import re

from .edits import Span
from .script import Script

# A comma and a comment that close the line of the last argument; a new line then goes below both.
_REST = re.compile(r",?[ \t]*#[^\r\n]*")


def further_argument(script: Script, call: ast.Call, text: str) -> Span:
    """A further keyword at the end of a call, in the style of its lines."""
    last = max(
        [*call.args, *(k.value for k in call.keywords)],
        key=lambda a: (a.end_lineno, a.end_col_offset),
        default=None,
    )
    if last is None:
        place = script.end(call) - 1
        return Span(place, place, text)
    end = script.end(last)
    holder = next((k for k in call.keywords if k.value is last), last)
    begin = script.line_starts[holder.lineno - 1]
    alone = not script.text[begin : script.start(holder)].strip()
    if alone and (rest := _REST.match(script.text, end)):
        line = f",{rest.group().removeprefix(',')}"
        return Span(end, rest.end(), f"{line}\n{script.indentation(holder.lineno)}{text},")
    separator = f",\n{script.indentation(holder.lineno)}" if alone else ", "
    while (
        script.text[end : script.end(call)].lstrip().startswith(")")
        and script.text[end:].index(")") + end < script.end(call) - 1
    ):
        end = script.text.index(")", end) + 1  # parentheses around the last argument
    return Span(end, end, separator + text)
