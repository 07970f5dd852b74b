"""The code cells of a Jupyter notebook as one text, and back; everything else of the notebook stays as it is."""

import json
import re
from typing import Any

from .._core.errors import ToolError
from .._core.syntax import parse
from .names import CELL_LINE

_CELL = "# ---- cell {} ----"
_MASK = "pass  # notebook-magic {}"
_MASKED = re.compile(r"pass  # notebook-magic (\d+)")
_MAGIC = re.compile(r"\s*(%[%A-Za-z]|[!?]|\w[\w.]*\?{1,2}\s*$|[\w, ]+=\s*[%!])")
_KEPT_CELL_MAGICS = ("%%time", "%%timeit", "%%capture", "%%prun")


class Notebook:
    """Cells that are no Python (`%%bash`, broken code) are left out; magics are masked while the code is read."""

    def __init__(self, raw: bytes, name: str) -> None:
        try:
            self.tree: dict[str, Any] = json.loads(raw)
            self.cells: list[dict[str, Any]] = self.tree["cells"]
        except (ValueError, KeyError, TypeError) as error:
            raise ToolError(
                "This is no notebook of format 4",
                saw=f"{name}: {error}",
                try_next="saving it again with Jupyter",
            ) from error
        if (language := self._language()) != "python":
            raise ToolError(
                "This notebook runs no Python", saw=f"{name}: {language}", try_next="a Python notebook"
            )
        self.raw = raw
        self.magics: list[str] = []
        self.texts: dict[int, str] = {}
        parts = []
        for number, cell in enumerate(self.cells):
            text = self._source(cell)
            masked = self._readable(text) if self._is_python(cell) else None
            if masked is not None and _parses(masked):
                self.texts[number] = text
                parts.append(f"{_CELL.format(number)}\n{masked}\n")
            elif masked is not None and self._version().startswith("2"):
                raise ToolError(
                    "This notebook runs Python 2",
                    saw=f"{name}: cell {number}",
                    try_next="2to3, then a new kernel",
                )
        self.text = "".join(parts)
        self._marks = [(m.start(), int(m.group(1))) for m in CELL_LINE.finditer(self.text)]

    def encode(self, text: str) -> bytes:
        """The notebook's bytes with the code of `text`; unchanged bytes for unchanged code."""
        if text == self.text:
            return self.raw
        pieces = CELL_LINE.split(text)
        for number, body in zip(pieces[1::2], pieces[2::2], strict=True):
            new = _MASKED.sub(
                lambda m: self.magics[int(m.group(1))], body.removeprefix("\n").removesuffix("\n")
            )
            if new != self.texts[int(number)]:
                cell = self.cells[int(number)]
                whole = isinstance(cell["source"], str)
                cell["source"] = new if whole else new.splitlines(keepends=True)
        return self._dump()

    def where(self, line: int) -> str:
        """`cell 3, line 2` for a line of the text."""
        lines = self.text.split("\n")[:line]
        for back, content in enumerate(reversed(lines)):
            if match := CELL_LINE.match(content):
                return f"cell {match.group(1)}, line {back}"
        return f"line {line}"

    def _language(self) -> str:
        """What its kernel runs; Python where the notebook does not say."""
        about = self.tree.get("metadata")
        about = about if isinstance(about, dict) else {}
        for place, key in (("language_info", "name"), ("kernelspec", "language")):
            described = about.get(place)
            if isinstance(described, dict) and described.get(key):
                return str(described[key]).lower()
        return "python"

    def _version(self) -> str:
        """The version of its language, where the notebook says."""
        about = self.tree.get("metadata")
        described = about.get("language_info") if isinstance(about, dict) else None
        return str(described.get("version", "")) if isinstance(described, dict) else ""

    def _dump(self) -> bytes:
        """JSON in the style of the file: the indentation and escaping that reproduce it."""
        original = json.loads(self.raw)
        tail = b"\n" if self.raw.endswith(b"\n") else b""
        styles: list[dict[str, Any]] = [
            {"indent": indent, "ensure_ascii": escaped, "separators": (",", ": ") if indent else None}
            for indent in (1, 2, 4, None)
            for escaped in (False, True)
        ]
        same = [s for s in styles if json.dumps(original, **s).encode() + tail == self.raw]
        return json.dumps(self.tree, **(same or styles)[0]).encode() + tail

    def _source(self, cell: dict[str, Any]) -> str:
        source = cell.get("source", "")
        return source if isinstance(source, str) else "".join(source)

    def _is_python(self, cell: dict[str, Any]) -> bool:
        text = self._source(cell).lstrip()
        return cell.get("cell_type") == "code" and (
            not text.startswith("%%") or text.startswith(_KEPT_CELL_MAGICS)
        )

    def _readable(self, text: str) -> str:
        """The text itself where it is Python: a line that goes on with `% (epoch, loss)` is no magic."""
        return text if _parses(text) else self._masked(text)

    def _masked(self, text: str) -> str:
        lines: list[str] = []
        goes_on = False
        for line in text.split("\n"):
            if goes_on or _MAGIC.match(line):
                goes_on = line.rstrip().endswith("\\")
                lead = line[: len(line) - len(line.lstrip())]
                lines.append(lead + _MASK.format(len(self.magics)))
                self.magics.append(line.lstrip())
            else:
                lines.append(line)
        return "\n".join(lines)


def _parses(text: str) -> bool:
    try:
        parse(text)
    except (SyntaxError, ValueError):
        return False
    return True
