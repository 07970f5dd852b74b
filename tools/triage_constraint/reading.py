"""The text that is judged: what the caller pasted, and a log of any size in the memory of a small one."""

import re
from bisect import bisect_right
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import BinaryIO

from .._core.contract import current_call
from .._core.errors import COLOURS, ToolError
from .._core.quantity import MIB, human_bytes

_WHOLE_BYTES = 256 * 1024  # up to here every line is kept
_STREAM_BYTES = 100 * MIB  # above, only the head and the tail are read
_HEAD_BYTES, _TAIL_BYTES = 1 * MIB, 64 * MIB
_CHUNK_BYTES = 4 * MIB
_LINE_CHARACTERS = 4000
_HITS_PER_CHUNK = 100  # of one word; the last ones, since what ended a run stands at the end
_HEAD_LINES, _TAIL_LINES, _HIT_LINES = 40, 200, 3000

# A word this long is data (base64, a dump); searching it for messages would only take time.
_BLOB = re.compile(r"[!-~]{300,}")
_BLOB_CHARACTERS = 100  # of it that are kept

# A line without any of these cannot hold a message format (tests hold the catalogue of messages against this list).
WORDS = (
    b"memory", b"oom", b"error", b"alloc", b"exhaust", b"kill", b"signal", b"exit", b"nccl", b"cuda",
    b"space", b"quota", b"limit", b"time", b"nan", b"assert", b"gpu", b"mismatch", b"shm", b"driver",
    b"fail", b"torch", b"arena", b"region", b"kernel", b"cache", b"shape", b"slurm",
    b"errno", b"disk", b"worker", b"device", b"watchdog", b"capac", b"mmap", b"overflow", b"container", b"137",
    b"buffer",
    b"exceed",
    b"bottleneck",
    b"heap",
    b"jetson",
    b"tflite",
    b"cl_",
    b"deserial",
)  # fmt: skip


@dataclass(frozen=True)
class Line:
    """A line of what was read, and where it stands in the original."""

    source: str
    number: int
    text: str


@dataclass
class Material:
    """The lines to judge; `notes` says what was not read."""

    lines: list[Line] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.text = "\n".join(line.text for line in self.lines)
        self._starts = [0, *accumulate(len(line.text) + 1 for line in self.lines)]

    def __add__(self, other: "Material") -> "Material":
        return Material(self.lines + other.lines, self.notes + other.notes)

    def line_at(self, offset: int) -> tuple[Line, int]:
        """The line that holds `offset` of the text, and where in it."""
        index = min(bisect_right(self._starts, offset) - 1, len(self.lines) - 1)
        return self.lines[index], offset - self._starts[index]


def read_pasted(text: str) -> Material:
    """What the caller pasted into the request."""
    if len(text) <= _WHOLE_BYTES:
        return _material("text", enumerate(text.split("\n"), start=1))
    skim = _Skim()
    skim.take(text.encode("utf-8", "replace"))
    return _material(
        "text",
        skim.lines(),
        f"Of a text of {human_bytes(len(text))} the lines that name a problem were judged.",
    )


def read_log(path: Path) -> Material:
    """The lines of a log that can matter. Raises ToolError for a binary file."""
    size = path.stat().st_size
    with path.open("rb") as file:
        _refuse_binary(file.read(8192), path)
        file.seek(0)
        if size <= _WHOLE_BYTES:
            return _material(path.name, enumerate(_decode(file.read()).split("\n"), start=1))
        skim = _Skim()
        if size <= _STREAM_BYTES:
            _stream(file, skim, size)
            return _material(path.name, skim.lines())
        _stream(file, skim, _HEAD_BYTES)
        _count_lines(file, skim, size - _TAIL_BYTES)
        _stream(file, skim, size)
    read = f"the first {human_bytes(_HEAD_BYTES)} and the last {human_bytes(_TAIL_BYTES)}"
    return _material(path.name, skim.lines(), f"Of a log of {human_bytes(size)} {read} were read.")


def _material(source: str, lines: Iterable[tuple[int, str]], *notes: str) -> Material:
    return Material([Line(source, number, _clean(text)) for number, text in lines], list(notes))


class _Skim:
    """Keeps the first and last lines and those with a word that a message could hold."""

    def __init__(self) -> None:
        self.line = 1  # number of the next line
        self._head: list[tuple[int, str]] = []
        self._hits: deque[tuple[int, str]] = deque(maxlen=_HIT_LINES)
        self._tail: deque[tuple[int, str]] = deque(maxlen=_TAIL_LINES)

    def take(self, chunk: bytes) -> None:
        """Look at a chunk that ends at a line's end."""
        starts = sorted(_hit_lines(chunk))
        line, position = self.line, 0
        for start in starts:
            line += chunk.count(b"\n", position, start)
            position = start
            self._hits.append((line, _line_from(chunk, start)))
        if len(self._head) < _HEAD_LINES:
            self._head += list(enumerate(_decode(chunk[:20000]).split("\n")[:_HEAD_LINES], start=self.line))
        last = chunk[-100_000:].rstrip(b"\n").split(b"\n")[-_TAIL_LINES:]
        self.line += chunk.count(b"\n")
        first = self.line - len(last)
        self._tail.extend((first + n, _decode(text[:_LINE_CHARACTERS])) for n, text in enumerate(last))

    def lines(self) -> list[tuple[int, str]]:
        kept = dict([*self._head, *self._hits, *self._tail])
        return sorted(kept.items())


def _stream(file: BinaryIO, skim: _Skim, until: int) -> None:
    while file.tell() < until:
        current_call().check_cancelled()
        chunk = file.read(min(_CHUNK_BYTES, until - file.tell()))
        skim.take(chunk + file.readline(_CHUNK_BYTES))


def _count_lines(file: BinaryIO, skim: _Skim, until: int) -> None:
    while file.tell() < until:
        current_call().check_cancelled()
        skim.line += file.read(min(_CHUNK_BYTES, until - file.tell())).count(b"\n")
    skim.line += file.readline(_CHUNK_BYTES).count(b"\n")


def _hit_lines(chunk: bytes) -> set[int]:
    """Where the lines start that hold one of WORDS, for each word the last few of the chunk."""
    lowered = chunk.lower()
    starts: set[int] = set()
    for word in WORDS:
        end = len(lowered)
        for _ in range(_HITS_PER_CHUNK):
            found = lowered.rfind(word, 0, end)
            if found < 0:
                break
            end = lowered.rfind(b"\n", 0, found) + 1
            starts.add(end)
    return starts


def _line_from(chunk: bytes, start: int) -> str:
    end = chunk.find(b"\n", start)
    return _decode(chunk[start : min(end if end >= 0 else len(chunk), start + _LINE_CHARACTERS)])


def _decode(data: bytes) -> str:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", "replace")
    return data.decode("utf-8", "replace").removeprefix("\ufeff")


def _clean(line: str) -> str:
    """A line as a terminal would show it: colours gone, of an overwritten progress bar the last state, blobs cut."""
    shown = COLOURS.sub("", line).rstrip("\r").rsplit("\r", 1)[-1][:_LINE_CHARACTERS]
    return _BLOB.sub(lambda blob: blob[0][:_BLOB_CHARACTERS] + "...", shown)


def _refuse_binary(head: bytes, path: Path) -> None:
    if b"\x00" in head and head[:2] not in (b"\xff\xfe", b"\xfe\xff"):
        raise ToolError(
            "This is a binary file, not a log", saw=path.name, try_next="the text that the run printed"
        )
