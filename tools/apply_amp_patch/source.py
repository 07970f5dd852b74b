"""A caller's file as text and back: encoding, byte order mark and line endings kept, notebooks cell by cell."""

import codecs
import io
import tokenize
from collections.abc import Callable
from dataclasses import dataclass

from .._core.errors import ToolError
from .notebook import Notebook

_LARGEST_BYTES = 4 * 1024**2  # 20,000 lines are about 1 MiB; nobody trains from a larger script
_LARGEST_NOTEBOOK_BYTES = 64 * 1024**2  # outputs included


@dataclass(frozen=True)
class Source:
    """The Python of a file, the way back to its bytes, and how a line of it is called."""

    text: str
    encode: Callable[[str], bytes]
    where: Callable[[int], str]


def read_source(raw: bytes, name: str) -> Source:
    """Raises ToolError for what cannot be read as Python text."""
    notebook = name.endswith(".ipynb")
    limit = _LARGEST_NOTEBOOK_BYTES if notebook else _LARGEST_BYTES
    if len(raw) > limit:
        raise ToolError(
            f"The file is larger than {limit // 1024**2} MiB, so it is no training script",
            saw=f"{name}, {len(raw) / 1024**2:.1f} MiB",
            try_next="the script that holds the training loop",
        )
    if notebook:
        cells = Notebook(raw, name)
        return Source(cells.text, cells.encode, cells.where)
    text, encoding = _decode(raw, name)
    return Source(text, lambda new: _encode(new, encoding), lambda line: f"line {line}")


def _decode(raw: bytes, name: str) -> tuple[str, str]:
    if b"\x00" in raw:
        raise ToolError("This is a binary file, not Python text", saw=name, try_next="a .py or .ipynb file")
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(raw).readline)
        text = raw.decode(encoding)
    except (SyntaxError, UnicodeDecodeError, LookupError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else str(error)
        raise ToolError(
            "The file's bytes are not in the encoding it names (UTF-8 where it names none)",
            saw=f"{name}: {reason}",
            try_next="saving it as UTF-8, or a coding line such as `# -*- coding: latin-1 -*-`",
        ) from error
    if _encode(text, encoding) != raw:
        raise ToolError(
            "The file's encoding does not round-trip", saw=encoding, try_next="saving it as UTF-8"
        )
    return text, encoding


def _encode(text: str, encoding: str) -> bytes:
    return codecs.encode(text, encoding)
