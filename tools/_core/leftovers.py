"""Temporary files of a process that was killed: found by the next one, which can tell them from those in use.

`announced(path)` names a temporary file beside `path` and notes it in the workspace before it exists. `own_scratch()`
gives this process a folder for all its other temporary files and holds a lock on it, which the kernel drops when the
process ends, however it ends. `sweep(workspace)` removes what nobody holds or has open. The last two are for servers
and commands; without such locks (on Windows) they do nothing.
"""

import atexit
import contextlib
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from .workspace import ARTIFACT_FOLDER, Workspace

_PREFIX = "optimizing-resources-process-"
_PENDING, _FRESH = "pending", ".fresh"
_HALF_WRITTEN = "tmp" + 8 * "[a-z0-9_]"  # as tempfile names them; a whole artifact has its hash and suffix
_YOUNG_SECONDS = 2.0  # what was made just now may not be locked or open yet


def own_scratch() -> Path | None:
    """Let every temporary file that this process makes from here on lie in one locked folder, removed at the end."""
    if os.name != "posix":
        return None
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    _lock(folder)  # the descriptor stays open as long as this process lives
    tempfile.tempdir = str(folder)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@contextlib.contextmanager
def announced(path: Path, workspace: Workspace) -> Iterator[Path]:
    """The name of a temporary file beside `path`; if we are killed inside the block, the next start removes it."""
    mark = secrets.token_hex(8)
    fresh = path.with_name(f".{path.name}.{mark}{_FRESH}")
    note = None
    if not workspace.refusal:
        folder = workspace.artifacts() / _PENDING
        folder.mkdir(exist_ok=True)
        note = folder / mark
        note.write_text(str(fresh), encoding="utf-8")
    try:
        yield fresh
    finally:
        fresh.unlink(missing_ok=True)
        if note:
            note.unlink(missing_ok=True)


def shared_temporary() -> Path:
    """The folder for temporary files that all processes share."""
    folder = Path(tempfile.gettempdir())
    return folder.parent if folder.name.startswith(_PREFIX) else folder


def sweep(workspace: Workspace) -> list[Path]:
    """Remove what killed processes left in the temporary folder and among the artifacts; returns what that was."""
    if os.name != "posix":
        return []
    left = [folder for folder in shared_temporary().glob(f"{_PREFIX}*") if _is_orphan(folder)]
    for folder in left:
        shutil.rmtree(folder, ignore_errors=True)
    artifacts = [] if workspace.refusal else workspace.root.joinpath(ARTIFACT_FOLDER).rglob(_HALF_WRITTEN)
    half_written = [file for file in artifacts if file.is_file() and not _is_young(file)]
    notes = [] if workspace.refusal else _old_notes(workspace)
    pending = [fresh for note in notes if (fresh := _noted(note, workspace))]
    in_use = _open_files() if half_written or pending else set()
    for note in notes:
        note.unlink(missing_ok=True)
    for file in [*half_written, *pending]:
        if str(file) not in in_use:
            file.unlink(missing_ok=True)
            left.append(file)
    return left


def _old_notes(workspace: Workspace) -> list[Path]:
    return [
        note for note in workspace.root.joinpath(ARTIFACT_FOLDER, _PENDING).glob("*") if not _is_young(note)
    ]


def _noted(note: Path, workspace: Workspace) -> Path | None:
    """The file that a note names; only one that `announced` can have named, since others may write notes too."""
    fresh = Path(note.read_text(encoding="utf-8", errors="replace"))
    ours = fresh.name.startswith(".") and fresh.name.endswith(f".{note.name}{_FRESH}")
    within = any(fresh.is_relative_to(folder) for folder in (workspace.root, *workspace.allowed))
    return fresh if ours and within and ".." not in fresh.parts and fresh.is_file() else None


def _lock(folder: Path) -> int | None:
    """A descriptor that holds the folder's lock; None where another process holds it."""
    import fcntl  # not on Windows

    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        return None
    return handle


def _is_orphan(folder: Path) -> bool:
    with contextlib.suppress(OSError):  # gone meanwhile, or another user's
        if folder.stat().st_uid != os.getuid() or _is_young(folder):
            return False
        if (handle := _lock(folder)) is not None:
            os.close(handle)
            return True
    return False


def _is_young(path: Path) -> bool:
    with contextlib.suppress(OSError):
        return time.time() - path.stat().st_mtime < _YOUNG_SECONDS
    return True


def _open_files() -> set[str]:
    found = set()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            found |= {file.path for file in process.open_files()}
    return found
