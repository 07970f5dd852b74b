"""The files of the caller that a tool may read and write, and the folder where artifacts go."""

import difflib
import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from .errors import ToolError

ARTIFACT_FOLDER = ".optimizing-resources"


@dataclass(frozen=True)
class Workspace:
    """A root folder, further allowed folders, and whether paths beyond them are refused.

    `confined` is False on the command line and for Python callers: a path that the user types is allowed.
    `refusal` says why this workspace holds no files at all (a server that was started in `/`, say).
    """

    root: Path
    allowed: tuple[Path, ...] = ()
    confined: bool = True
    refusal: str | None = None

    @classmethod
    def of_the_caller(cls, root: Path | None = None, allowed: tuple[Path, ...] = ()) -> "Workspace":
        """For the command line and Python: the current folder, trusting the paths that the user names."""
        return cls((root or _here()).resolve(), tuple(p.resolve() for p in allowed), confined=False)

    @classmethod
    def of_a_server(cls, root: Path | None, allowed: tuple[Path, ...] = ()) -> "Workspace":
        """For a server: the named folder, else the current one unless that is no project folder."""
        here = (root or _here()).resolve()
        refusal = None
        home = Path(os.path.expanduser("~"))  # stays `~` for a user without one
        if root is None and (here in (Path(here.anchor), home) or not os.access(here, os.W_OK)):
            refusal = "The server was started outside a project folder, so it reads and writes no files"
        return cls(here, tuple(p.resolve() for p in allowed), confined=True, refusal=refusal)

    def narrowed(self, roots: tuple[Path, ...]) -> "Workspace":
        """This workspace, limited to the folders that the client names as its roots.

        Roots inside the workspace take its place; roots that do not touch it leave no file of it within reach.
        Folders that the server's own flag --allow added stay: whoever started it named each of them.
        """
        resolved = [root.resolve() for root in roots]
        if not self.refusal and any(self.root.is_relative_to(root) for root in resolved):
            return self
        inside = [root for root in resolved if self._covers(root)]
        if inside:
            return Workspace(inside[0], (*inside[1:], *self.allowed), self.confined)
        refusal = self.refusal or "The client's roots do not overlap the server's workspace"
        return Workspace(self.root, self.allowed, self.confined, refusal)

    def file(self, path: Path) -> Path:
        """The resolved path of an existing, readable file inside the workspace."""
        found = self._inside(path)
        if not found.exists():
            near = difflib.get_close_matches(found.name, _names(found.parent), n=3)
            hint = f"{' or '.join(near)} there, or " if near else ""
            raise ToolError("No such file", saw=str(path), try_next=f"{hint}a path relative to {self.root}")
        if found.is_dir():
            some = ", ".join(sorted(_names(found))[:5]) or "nothing"
            raise ToolError(
                "A file is wanted, this is a folder", saw=str(path), try_next=f"a file in it, such as {some}"
            )
        if not found.is_file():
            raise ToolError(
                "This is no regular file", saw=str(path), try_next="a copy of its content in a file"
            )
        if not os.access(found, os.R_OK):
            raise ToolError(
                "The file cannot be read by this user", saw=str(path), try_next="other permissions"
            )
        return found

    def store(self, name: str, content: bytes) -> Path:
        """Keep `content` as an artifact named by its hash; written once, atomically. Returns its path."""
        folder = self.artifacts() / "artifacts"
        folder.mkdir(exist_ok=True)
        stem, suffix = os.path.splitext(Path(name).name)
        target = folder / f"{stem}-{hashlib.sha256(content).hexdigest()[:12]}{suffix}"
        if not target.exists():
            handle, fresh = tempfile.mkstemp(dir=folder)
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            os.replace(fresh, target)
        return target

    def artifacts(self) -> Path:
        """The artifact folder of this workspace, made on first use; it ignores itself for git."""
        if self.refusal:
            raise self._refused()
        folder = self.root / ARTIFACT_FOLDER
        try:
            folder.mkdir(exist_ok=True)
            ignore = folder / ".gitignore"
            if not ignore.exists():
                ignore.write_text("*\n", encoding="utf-8")
        except OSError as error:
            raise ToolError(
                "The workspace cannot be written", saw=str(folder), try_next="--workspace DIR"
            ) from error
        return folder

    def _inside(self, path: Path) -> Path:
        try:
            found = (self.root / path.expanduser()).resolve()
            found.exists()
        except (OSError, RuntimeError, ValueError) as error:  # too long, a loop, no such user, a NUL byte
            saw = f"{path}: {getattr(error, 'strerror', None) or error}"
            raise ToolError("The path cannot be used", saw=saw, try_next="another path") from error
        if self.confined and not self._covers(found):
            if self.refusal:
                raise self._refused()
            raise ToolError(
                f"The path lies outside the workspace {self.root}",
                saw=str(path),
                try_next="a copy inside it, or the server's flags --workspace DIR or --allow DIR",
            )
        return found

    def _covers(self, path: Path) -> bool:
        folders = self.allowed if self.refusal else (self.root, *self.allowed)
        return any(path.is_relative_to(folder) for folder in folders)

    def _refused(self) -> ToolError:
        return ToolError(
            self.refusal or "",
            saw=str(self.root),
            try_next="the server's flags --workspace DIR or --allow DIR",
        )


def _here() -> Path:
    try:
        return Path.cwd()
    except OSError as error:
        raise ToolError(
            "The current folder is gone", try_next="--workspace DIR, or another folder"
        ) from error


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []
