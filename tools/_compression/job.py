"""One folder of work per model, data and settings; its cache; and the engine's tasks as child processes."""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from .._core.contract import ToolError, current_call
from .._core.worker import TOO_SLOW, Limits, run
from .interpreters import ENGINE, Interpreter

MEMORY_SHARE = 0.8  # of what is free now; a candidate that wants more is a row in the report
_CHUNK = 1 << 20


class TimeOver(ToolError):
    """A task was not finished when the time of the whole job ended."""


def is_too_slow(error: ToolError) -> bool:
    """Whether a task was ended by a limit of time, its own or the job's."""
    return isinstance(error, TimeOver) or TOO_SLOW in str(error)


@dataclass
class Job:
    """Runs tasks of the engine in one folder, within one deadline that no task passes."""

    folder: Path
    threads: int
    max_seconds: float
    started: float = field(default_factory=time.monotonic)
    limit: str = "max_search_seconds"  # the argument that gives more time

    def left(self) -> float:
        """Seconds of the search time that remain."""
        return self.max_seconds - (time.monotonic() - self.started)

    def do(self, task: str, python: Interpreter, *, seconds: float, **request: Any) -> dict[str, Any]:
        """The reply of one task in a process of its own; raises TimeOver where the job's time ends it."""
        memory = int(psutil.virtual_memory().available * MEMORY_SHARE)
        payload = {"task": task, "folder": str(self.folder), "threads": self.threads, **request}
        limits = Limits(max(0.0, min(seconds, self.left())), memory)
        try:
            return run(ENGINE, payload, python=python.path, limits=limits)
        except ToolError as error:
            if limits.seconds < seconds and TOO_SLOW in str(error):
                raise TimeOver(
                    f"The time ended in the step {task!r}",
                    saw=f"{self.limit} {self.max_seconds:g}",
                    try_next="more time, or a machine that is less busy",
                ) from None
            raise

    def remember(self, name: str, row: dict[str, Any]) -> None:
        """Keep a finished row; written in one step, so a killed search leaves whole files."""
        handle, fresh = tempfile.mkstemp(dir=self.folder)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(row, file)
        os.replace(fresh, self.folder / f"row.{name}.json")

    def recall(self, name: str) -> dict[str, Any] | None:
        """A row that an earlier search finished, if its artifact is still there."""
        path = self.folder / f"row.{name}.json"
        if not path.exists():
            return None
        row: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        artifact = row.get("artifact")
        return row if artifact is None or Path(artifact["path"]).exists() else None


def digest(*files: Path) -> str:
    """sha256 of the files' bytes, read in pieces."""
    found = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                found.update(chunk)
    return found.hexdigest()


def work_folder() -> Path:
    """Where searches of this workspace keep their work."""
    folder = current_call().workspace.artifacts() / "compression"
    folder.mkdir(exist_ok=True)
    return folder


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder for the time of the call; what a killed process left behind is removed."""
    root = work_folder()
    for left in root.glob("export-*-*"):
        owner = left.name.split("-")[1]
        if owner.isdigit() and not psutil.pid_exists(int(owner)):
            shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"export-{os.getpid()}-", dir=root))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def cached(key: str) -> Iterator[Path]:
    """The folder of this key, held by one process at a time; a second search at once gets one of its own."""
    folder = work_folder() / key[:16]
    folder.mkdir(exist_ok=True)
    lock = folder / "held-by"
    if not _take(lock):
        with scratch() as alone:
            yield alone
        return
    try:
        yield folder
    except BaseException:
        _drop_unfinished(folder)
        raise
    finally:
        for rows in folder.glob("*.npy"):  # copies of the caller's data; each search makes them again
            rows.unlink(missing_ok=True)
        lock.unlink(missing_ok=True)


def _drop_unfinished(folder: Path) -> None:
    """What was refused or cancelled leaves its finished rows and their artifacts, nothing else."""
    kept = {path.name.removeprefix("row.").removesuffix(".json") for path in folder.glob("row.*.json")}
    if not kept:
        shutil.rmtree(folder, ignore_errors=True)
    for path in folder.glob("*/"):
        if path.name not in kept:
            shutil.rmtree(path, ignore_errors=True)


def _take(lock: Path) -> bool:
    for _ in range(2):
        try:
            handle = os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        except FileExistsError:
            with contextlib.suppress(ValueError, OSError):
                if psutil.pid_exists(int(lock.read_text(encoding="utf-8"))):
                    return False
            lock.unlink(missing_ok=True)  # its process died
            continue
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(str(os.getpid()))
        return True
    return False


def require_room(folder: Path, wanted: int) -> None:
    """Refuse before the disk is full."""
    free = psutil.disk_usage(str(folder)).free
    if free < wanted:
        raise ToolError(
            "The disk has too little room for the candidates",
            saw=f"{free} bytes free",
            try_next=f"{wanted} bytes, or --workspace on another disk",
        )
