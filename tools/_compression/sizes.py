"""What would be too large to read, told before it is read; and the files that an ONNX model refers to."""

import mmap
import re
import zipfile
from pathlib import Path

import psutil

from .._core.contract import ToolError
from .._core.quantity import human_bytes

LARGEST_BYTES = 2 * 1024**3  # a protobuf holds no more, and the quantizers write one
ROWS_SHARE = 0.4  # of the memory that is free: reading, checking and splitting hold the rows twice
# How protobuf writes the entry "location" of an external tensor: key, then the length and bytes of the name.
_LOCATION = re.compile(rb"\n\x08location\x12([\x80-\xff]?[\x00-\x7f])", re.DOTALL)


def refuse_large_model(*files: Path) -> None:
    """Before a file is read: hashing or unpacking many gigabytes takes minutes."""
    size = sum(path.stat().st_size for path in files)
    if size > LARGEST_BYTES:
        raise ToolError(
            "The model is larger than 2 GiB",
            saw=human_bytes(size),
            try_next="a smaller model; this search is for small ones",
        )


def external_files(path: Path) -> list[Path]:
    """The files in an ONNX model's own folder that hold its weights, as far as they exist."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        names = {_name_after(content, found) for found in _LOCATION.finditer(content)}
    home = path.parent.resolve()
    beside = [(home / name).resolve() for name in sorted(names) if name and "\0" not in name]
    return [p for p in beside if p.is_relative_to(home) and p.is_file()]


def _name_after(content: mmap.mmap, found: re.Match[bytes]) -> str:
    low, *high = found.group(1)
    length = (low & 127) + 128 * (high[0] if high else 0)
    return content[found.end() : found.end() + length].decode("utf-8", "replace")


def refuse_large_rows(path: Path) -> None:
    """A file that is no .npz, and rows that would not fit into memory once they are unpacked."""
    if not zipfile.is_zipfile(path):
        raise ToolError(
            "The data file is no whole .npz", saw=path.name, try_next="np.savez(path, x=..., y=...)"
        )
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise ToolError("The data file cannot be read", saw=error, try_next="a whole copy") from error
    room = int(psutil.virtual_memory().available * ROWS_SHARE)
    if size > room:
        raise ToolError(
            "The data does not fit into memory",
            saw=f"{human_bytes(size)} unpacked, room for {human_bytes(room)}",
            try_next="fewer rows: 25000 at most are used",
        )
