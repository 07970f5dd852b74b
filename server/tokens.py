"""Bearer tokens: a file of their hashes, and the command that makes one."""

import hashlib
import hmac
import logging
import os
import secrets
import stat
import time
from pathlib import Path

from mcp.server.auth.provider import AccessToken
from pydantic import BaseModel, ConfigDict, ValidationError

from ..tools._core.contract import ToolError, advice
from .clients import FOLDER

log = logging.getLogger(__name__)

PREFIX = "ores_"  # so that a leaked token is recognised, by people and by secret scanners


class Entry(BaseModel):
    """One line of the file. A token of 256 random bits needs no salt and no slow hash."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    sha256: str
    folder: Path | None = None  # this client's part of the workspace; all of it where none is named
    expires_at: int | None = None  # seconds since 1970


def make(name: str, folder: Path | None, expires_at: int | None) -> tuple[str, Entry]:
    """A fresh token and the entry that recognises it."""
    token = PREFIX + secrets.token_urlsafe(32)
    return token, Entry(name=name, sha256=_digest(token), folder=folder, expires_at=expires_at)


def add(path: Path, entry: Entry) -> None:
    """Append an entry to the file, which only its owner may read."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(entry.model_dump_json(exclude_none=True) + "\n")


class TokenFile:
    """Verifies tokens against the file; it is read again when it changes, so that a removed line ends its token.

    `resource` is the address of this server, for which every token of its own file counts as issued.
    """

    def __init__(self, path: Path, resource: str) -> None:
        self._path, self._resource = path, resource
        self._seen, self._entries = _state(path), read_entries(path)

    async def verify_token(self, token: str) -> AccessToken | None:
        """Whose token that is; None where it is nobody's, or the file cannot be read any more."""
        digest, found = _digest(token), None
        for entry in self._current():  # all of them, so that the time taken tells nothing
            if hmac.compare_digest(entry.sha256, digest):
                found = entry
        if found is None or (found.expires_at and found.expires_at < time.time()):
            return None
        return AccessToken(
            token=token,
            client_id=found.name,
            scopes=[],
            expires_at=found.expires_at,
            resource=self._resource,
            claims={FOLDER: str(found.folder)} if found.folder else None,
        )

    def _current(self) -> tuple[Entry, ...]:
        try:
            if (state := _state(self._path)) != self._seen:
                self._entries, self._seen = read_entries(self._path), state
        except ToolError as error:
            log.error("no token is accepted: %s", error)
            return ()
        return self._entries


def read_entries(path: Path) -> tuple[Entry, ...]:
    """The entries of the file; ToolError names the line that is none, or says who else could write it."""
    _state(path)
    entries = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if line.strip():
            try:
                entries.append(Entry.model_validate_json(line))
            except ValidationError as error:
                raise ToolError(f"Line {number} of the token file is no token: {advice(error)}") from error
    return tuple(entries)


def _state(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except OSError as error:
        saw = f"{path}: {error.strerror}"
        raise ToolError(
            "The token file cannot be read",
            saw=saw,
            try_next=f"`optimizing-resources token NAME --file {path}`",
        ) from error
    if os.name == "posix" and found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ToolError("Others may write the token file", saw=str(path), try_next=f"chmod 600 {path}")
    return found.st_mtime_ns, found.st_size, found.st_ino


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
