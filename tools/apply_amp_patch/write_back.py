"""The one door through which a file of the caller is replaced: in one step, with a backup, and back again."""

import hashlib
import os
import shutil
from pathlib import Path

from .._core.contract import current_call
from .._core.errors import ToolError
from .._core.leftovers import announced


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def replace(path: Path, content: bytes, *, expected_sha256: str) -> Path:
    """Swap the file in one step; return the backup that was kept. A link stays a link."""
    path = path.resolve()
    seen = path.read_bytes()
    if digest(seen) != expected_sha256:
        raise ToolError(
            "The script is not the one the dry run saw",
            saw=digest(seen),
            try_next="a new dry run, then its source_sha256 as expected_sha256",
        )
    if not os.access(path, os.W_OK):
        raise ToolError(
            "The file may not be written by this user", saw=str(path), try_next="other permissions"
        )
    backup = path.with_name(f"{path.name}.{digest(seen)[:12]}.{digest(content)[:12]}.bak")
    _put(backup, seen, like=path)
    _put(path, content, like=path)
    return backup


def undo(path: Path) -> Path:
    """Bring back what the last patch replaced; return the backup it came from, which is gone then."""
    path = path.resolve()
    now = digest(path.read_bytes())
    backups = sorted(path.parent.glob(f"{_literal(path.name)}.*.bak"), key=lambda p: p.stat().st_mtime_ns)
    ours = [p for p in backups if p.name.split(".")[-2] == now[:12]]
    if not ours:
        what = "has changed since it was patched" if backups else "has no backup beside it"
        hint = f"comparing it with {backups[-1].name} by hand" if backups else "version control"
        raise ToolError(f"Nothing was undone: the file {what}", saw=str(path), try_next=hint)
    backup = ours[-1]
    content = backup.read_bytes()
    if digest(content)[:12] != backup.name.split(".")[-3]:
        raise ToolError("The backup itself was changed", saw=backup.name, try_next="version control")
    _put(path, content, like=backup)
    backup.unlink()
    return backup


def _put(path: Path, content: bytes, *, like: Path) -> None:
    """Write a file so that at any moment it is the old one or the new one, whole."""
    with announced(path, current_call().workspace) as fresh:
        try:
            file = fresh.open("xb")
        except OSError as error:
            raise ToolError(
                "The folder of the file cannot be written",
                saw=f"{path.parent}: {error.strerror}",
                try_next="other permissions",
            ) from error
        with file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        shutil.copymode(like, fresh)
        os.replace(fresh, path)  # same folder, so the swap is one rename


def _literal(name: str) -> str:
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)
