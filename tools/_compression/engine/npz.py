"""The caller's .npz: its headers, its first rows, or all of it; nothing in it is unpickled.

Two megabytes of an archive may unpack to gigabytes. The headers tell shapes and types before any row is unpacked, so
what does not fit the model is refused at once.
"""

import contextlib
import os
import struct
import zipfile
import zlib

import numpy as np

from .refusal import Refused, first_line

# A file that is cut, encrypted, packed in an unknown way, or whose arrays are described wrongly.
_UNREADABLE = (
    ValueError, OSError, EOFError, KeyError, TypeError, RuntimeError, SyntaxError, MemoryError, struct.error,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip
_TRY = "np.savez(path, x=float32 rows, y=targets)"


def read(path):
    """All arrays by name."""
    with _opened(path) as archive:
        for name in archive.files:
            _header(archive, name)
        return {name: archive[name] for name in archive.files}


def outline(path):
    """Arrays of the shapes and types that the headers tell: all zeros, in no memory of their own."""
    with _opened(path) as archive:
        told = {name: _header(archive, name) for name in archive.files}
        return {name: np.broadcast_to(np.zeros((), kind), shape) for name, (shape, _, kind) in told.items()}


def head(path, count):
    """The first rows of each array; only an array that is stored column by column is unpacked whole for them."""
    with _opened(path) as archive:
        return {name: _first_rows(archive, name, count) for name in archive.files}


@contextlib.contextmanager
def _opened(path):
    """The archive; whatever fails while it is read is refused."""
    if not zipfile.is_zipfile(path):
        raise Refused("The data file is no whole .npz", os.path.basename(path), _TRY)
    try:
        with np.load(path, allow_pickle=False) as archive:
            yield archive
    except _UNREADABLE as error:
        raise Refused("The data file cannot be read", first_line(error), _TRY) from error


def _header(archive, name):
    with _at_rows(archive, name) as (_, *told):
        return told


def _first_rows(archive, name, count):
    with _at_rows(archive, name) as (stream, shape, by_columns, kind):
        if by_columns or not shape:
            return archive[name][:count] if shape else archive[name]
        few = (min(count, shape[0]), *shape[1:])
        content = bytearray(stream.read(int(np.prod(few)) * kind.itemsize))  # torch wants to be able to write
        return np.frombuffer(content, kind).reshape(few)


@contextlib.contextmanager
def _at_rows(archive, name):
    """Of one member: its stream behind the header, its shape, whether columns come first, and its type."""
    with archive.zip.open(name if name in archive.zip.NameToInfo else name + ".npy") as stream:
        try:
            version = np.lib.format.read_magic(stream)
        except ValueError as error:
            raise Refused("The data file holds more than arrays", name, _TRY) from error
        headers = {(1, 0): np.lib.format.read_array_header_1_0}
        shape, by_columns, kind = headers.get(version, np.lib.format.read_array_header_2_0)(stream)
        if kind.hasobject:
            raise Refused("The data file holds objects, which would run code on loading", name, _TRY)
        yield stream, shape, by_columns, kind
