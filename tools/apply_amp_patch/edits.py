"""Changes of a text as values: put in, replace, wrap. `apply` carries them all out at once."""

import io
import re
import tokenize
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import accumulate

from .script import Script


@dataclass(frozen=True)
class Span:
    """Characters `start` to `end` become `text`; an insertion when they are equal."""

    start: int
    end: int
    text: str


@dataclass(frozen=True)
class Line:
    """A line put before line `before`, at the indentation given.

    `inside` puts it into the outermost wrap that begins there, in front of any other. `settings` moves up to stand
    before everything else that is edited.
    """

    before: int
    indent: str
    text: str
    inside: bool = False
    settings: bool = False


@dataclass(frozen=True)
class Wrap:
    """Lines `first` to `last` go under `header`, one level deeper."""

    first: int
    last: int
    header: str


@dataclass(frozen=True)
class Drop:
    """Lines `first` to `last` go."""

    first: int
    last: int


class EditsCollide(Exception):
    """Two edits change the same characters."""

    def __init__(self, line: int) -> None:
        super().__init__(f"two edits meet in line {line}")
        self.line = line


Edit = Span | Line | Wrap | Drop


def apply(script: Script, edits: list[Edit]) -> str:
    """The text after every edit; lines inside multi-line strings keep their indentation."""
    return _carry_out(script.text, _changes(script, edits))


def lines_before(script: Script, edits: list[Edit]) -> list[int]:
    """For every line after the edits (and one past the end) the line it was, or a new one's predecessor was."""
    text, found, known = script.text, [], 1
    here: int | None = None  # the line before of the first character kept in this line
    for kept, piece, start in _pieces(text, _changes(script, edits)):
        at = 0
        for end in [*(m.end() for m in re.finditer(r"\r\n|\n|\r", piece)), len(piece)]:
            if kept and here is None and at < len(piece):
                here = bisect_right(script.line_starts, start + at)
            if end > at and piece[end - 1] in "\r\n":
                known = here or known
                found.append(known)
                here = None
            at = end
    return [*found, here or known]


def compose(later: list[int], earlier: list[int]) -> list[int]:
    """The lines before two changes, one after the other."""
    return [earlier[min(line, len(earlier)) - 1] for line in later]


def _changes(script: Script, edits: list[Edit]) -> list[tuple[int, int, int, str]]:
    """Start, order at that place, end and new text of each change."""
    if not edits:
        return []
    newline = newline_of(script.text)
    edits = [_moved_up(script, e, edits) if isinstance(e, Line) and e.settings else e for e in edits]
    wraps = sorted({e for e in edits if isinstance(e, Wrap)}, key=_outermost_first)
    unit = _Units(script, wraps)
    changes = [
        (e.start, 50, e.end, re.sub(r"(?<!\r)\n", newline, e.text)) for e in edits if isinstance(e, Span)
    ]
    count = len(script.line_starts)
    starts, depths = Counter(w.first for w in wraps), _depths(wraps, count)
    for line in (e for e in edits if isinstance(e, Line)):
        begins = line.before in starts
        around = depths[line.before] - starts[line.before]
        depth = around + (line.inside and _begins_region(wraps, line.before))
        text = "".join(
            f"{line.indent}{unit.at(line.before) * depth}{part}".rstrip() + newline
            for part in line.text.split("\n")
        )
        place = script.line_starts[line.before - 1] if line.before <= count else len(script.text)
        if place == len(script.text) and script.text and not script.text.endswith(("\n", "\r")):
            text = newline + text.removesuffix(newline)
        changes.append((place, 20 if line.inside and begins else 0, place, text))
    for number, wrap in enumerate(wraps):
        depth = sum(_holds(outer, wrap) for outer in wraps[:number])
        place = script.line_starts[wrap.first - 1]
        header = f"{script.indentation(wrap.first)}{unit.at(wrap.first) * depth}{wrap.header}{newline}"
        outer = not any(w.first == wrap.first for w in wraps[:number])
        changes.append((place, 10 if outer and _begins_region(wraps, wrap.first) else 30, place, header))
    gone = {n for e in edits if isinstance(e, Drop) for n in range(e.first, e.last + 1)}
    for number in gone:
        end = script.line_starts[number] if number < count else len(script.text)
        changes.append((script.line_starts[number - 1], 50, end, ""))
    if wraps:
        fixed = _inside_strings(script.text) | gone | _replaced(script, edits)
        for line_number in sorted({n for w in wraps for n in range(w.first, w.last + 1)} - fixed):
            start = script.line_starts[line_number - 1]
            if script.text[start : start + 1] in ("\n", "\r", ""):
                continue
            changes.append((start, 40, start, unit.at(line_number) * depths[line_number]))
    return changes


def _outermost_first(wrap: Wrap) -> tuple[int, int, bool, str]:
    """Of two around the same lines, the island is the inner one."""
    return wrap.first, -wrap.last, _is_island(wrap), wrap.header


class _Units:
    """One level of indentation for each line: that of the outermost wrap around it, or the file's."""

    def __init__(self, script: Script, wraps: list[Wrap]) -> None:
        outer = [w for i, w in enumerate(wraps) if not any(_holds(o, w) for o in wraps[:i])]
        self._units = [(w.first, w.last + 1, indent_unit(script, w.first, w.last)) for w in outer]
        self._whole = script.indent_unit

    def at(self, line: int) -> str:
        return next((unit for first, last, unit in self._units if first <= line <= last), self._whole)


def _replaced(script: Script, edits: list[Edit]) -> set[int]:
    """The lines that begin inside of a text that gives way to another."""
    return {
        number
        for e in edits
        if isinstance(e, Span)
        for number in range(
            bisect_right(script.line_starts, e.start) + 1, bisect_left(script.line_starts, e.end) + 1
        )
    }


def _depths(wraps: list[Wrap], count: int) -> list[int]:
    """How many wraps hold each line, by line number."""
    steps = [0] * (count + 3)
    for wrap in wraps:
        steps[wrap.first] += 1
        steps[wrap.last + 1] -= 1
    return list(accumulate(steps))


def _moved_up(script: Script, header: Line, edits: list[Edit]) -> Line:
    """The settings above the first statement that may use them; with an import of torch where that comes later."""
    first = min((_first_line(script, e) for e in edits if e is not header), default=header.before)
    for statement in script.tree.body:
        if (statement.end_lineno or 0) < first:
            continue
        begin = min([statement.lineno, *(d.lineno for d in getattr(statement, "decorator_list", []))])
        if begin >= header.before:
            return header
        name = script.torch_name()
        late = name is not None and all(b.node.lineno >= begin for b in script.bindings(name, script.tree))  # type: ignore[attr-defined]
        needed = f"import torch{'' if name == 'torch' else f' as {name}'}\n\n" if late else ""
        return replace(header, before=begin, text=f"{needed}{header.text.lstrip()}\n")
    return header


def _first_line(script: Script, edit: Edit) -> int:
    if isinstance(edit, Span):
        return bisect_right(script.line_starts, edit.start)
    return edit.before if isinstance(edit, Line) else edit.first


def _begins_region(wraps: list[Wrap], line: int) -> bool:
    """Whether the outermost wrap that begins at a line is to take in what is put inside: an island alone is not."""
    here = [w for w in wraps if w.first == line]
    return bool(here) and not _is_island(here[0])


def _is_island(wrap: Wrap) -> bool:
    return "enabled=False" in wrap.header


def _holds(outer: Wrap, inner: Wrap) -> bool:
    return outer.first <= inner.first and inner.last <= outer.last


def _carry_out(text: str, changes: list[tuple[int, int, int, str]]) -> str:
    return "".join(piece for _, piece, _ in _pieces(text, changes))


def _pieces(text: str, changes: list[tuple[int, int, int, str]]) -> Iterator[tuple[bool, str, int]]:
    """What the new text is made of: whether it is kept, the characters, and where they were or are put."""
    done = 0
    for start, _, end, new in sorted(changes, key=lambda c: (c[0], c[1])):
        if start < done:
            raise EditsCollide(text.count("\n", 0, start) + 1)
        yield True, text[done:start], done
        yield False, new, start
        done = end
    yield True, text[done:], done


def newline_of(text: str) -> str:
    """The line ending that the text uses most."""
    crlf = text.count("\r\n")
    lf, cr = text.count("\n") - crlf, text.count("\r") - crlf
    return max((("\n", lf), ("\r\n", crlf), ("\r", cr)), key=lambda pair: pair[1])[0]


def indent_unit(script: Script, first: int = 0, last: int = 0) -> str:
    """One level of indentation as the file writes it, and as lines `first` to `last` do: tabs stay with tabs."""
    indents = [script.indentation(number) for number in range(first, max(first, last) + 1) if number]
    here = next((indent for indent in indents if indent), "")
    if not here or ("\t" in here) == ("\t" in script.indent_unit):
        return script.indent_unit
    return "\t" if "\t" in here else "    "


def _inside_strings(text: str) -> set[int]:
    """The lines that begin inside a string literal."""
    inside: set[int] = set()
    open_at: list[int] = []
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            name = tokenize.tok_name[token.type]
            if name in ("FSTRING_START", "TSTRING_START"):
                open_at.append(token.start[0])
            elif name in ("FSTRING_END", "TSTRING_END"):
                inside.update(range(open_at.pop() + 1, token.end[0] + 1))
            elif token.type == tokenize.STRING:
                inside.update(range(token.start[0] + 1, token.end[0] + 1))
    except tokenize.TokenError:
        pass
    return inside
