"""What was measured in a workspace: one SQLite file, appended to by any number of processes, never edited.

To read what a ledger id stands for, from any tool (`workspace` is `current_call().workspace`):

    with closing(open_ledger(ledger_path(workspace))) as ledger:
        run = read_run(ledger, "m1f3a5c7e9b")
    run.figure("step_seconds_p50")      # a Figure (value, unit, low, high, repeats, basis), or None
    run.report["causes"]                # the Report of the tool that measured, as JSON

One id is one run, or one set of repeats, with all its figures. Only `append` writes; triggers refuse to change or
delete a row. The file is in WAL mode, so readers and writers do not block each other and a killed writer leaves a
whole file behind; on a network file system, where SQLite's manual rules WAL out (sqlite.org/wal.html), it is in
rollback mode instead.
"""

import json
import secrets
import sqlite3
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
from pydantic import BaseModel, ConfigDict, Field

from .errors import ToolError
from .quantity import Basis
from .workspace import Workspace

__all__ = ["Figure", "Run", "append", "ledger_path", "new_id", "open_ledger", "read_run", "read_runs"]

_WAIT_SECONDS = 60.0  # for the turn to write, when many servers append at once
_NETWORK = {
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "9p",
    "afs",
    "lustre",
    "gpfs",
    "beegfs",
    "ceph",
    "fuse.sshfs",
}


class Figure(BaseModel):
    """One measured number: its unit, and its spread when it was repeated."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    metric: str = Field(description="With the unit in the name: step_seconds_p50, peak_rss_bytes.")
    value: float
    unit: str
    basis: Basis = "measured"
    repeats: int = 1
    low: float | None = Field(None, description="Smallest of the repeats.")
    high: float | None = Field(None, description="Largest of the repeats.")
    singles: list[float] = Field([], description="Every repeat, in the order taken; `value` is their median.")


class Run(BaseModel):
    """One row of the ledger with its figures."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    taken_at: str = Field(description="UTC, ISO 8601.")
    tool: str
    label: str = ""
    outcome: str
    device: str = Field(description="The processor and accelerators it ran on; other devices do not compare.")
    workload: str = Field(description="A hash; runs compare only when it is the same.")
    conditions: dict[str, Any] = Field(
        {}, description="Command, file hashes, versions, git commit, environment, seed, load of the machine."
    )
    report: dict[str, Any] = Field({}, description="The Report that was given, as JSON.")
    figures: list[Figure] = []

    def figure(self, metric: str) -> Figure | None:
        """The figure of that name, or None when this run has none."""
        return next((figure for figure in self.figures if figure.metric == metric), None)


def ledger_path(workspace: Workspace) -> Path:
    """Where this workspace keeps its ledger."""
    return workspace.artifacts() / "ledger.sqlite"


def new_id() -> str:
    """A fresh ledger id, short enough to be typed."""
    return f"m{secrets.token_hex(5)}"


def now() -> str:
    """The time as the ledger writes it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def open_ledger(path: Path) -> sqlite3.Connection:
    """The ledger at `path`, made or brought to the current schema first. Raises ToolError when it is no ledger."""
    try:
        ledger = sqlite3.connect(path, timeout=_WAIT_SECONDS, isolation_level=None)
        ledger.execute("PRAGMA foreign_keys = ON")
        if ledger.execute("PRAGMA user_version").fetchone()[0] != len(_MIGRATIONS):
            _migrate(ledger, path)
    except sqlite3.DatabaseError as error:
        raise ToolError(
            "The ledger cannot be opened", saw=f"{path}: {error}", try_next="moving that file away"
        ) from error
    return ledger


def append(ledger: sqlite3.Connection, run: Run) -> None:
    """Add one run with all its figures: the whole of it, or nothing when the process dies in between."""
    columns = run.model_dump(exclude={"figures"})
    columns |= {name: json.dumps(columns[name]) for name in ("conditions", "report")}
    ledger.execute("BEGIN IMMEDIATE")
    with ledger:
        ledger.execute(
            "INSERT INTO run VALUES"
            " (:id, :taken_at, :tool, :label, :outcome, :device, :workload, :conditions, :report)",
            columns,
        )
        ledger.executemany(
            "INSERT INTO measurement VALUES"
            " (:run, :metric, :value, :unit, :basis, :repeats, :low, :high, :singles)",
            [
                {"run": run.id, **figure.model_dump(), "singles": json.dumps(figure.singles)}
                for figure in run.figures
            ],
        )


def read_run(ledger: sqlite3.Connection, run_id: str) -> Run:
    """The run with that id. Raises ToolError, naming the latest ids, when there is none."""
    found = _read(ledger, "WHERE id = ?", (run_id,))
    if not found:
        latest = [row[0] for row in ledger.execute("SELECT id FROM run ORDER BY rowid DESC LIMIT 3")]
        hint = (
            f"one of {', '.join(latest)}" if latest else "`measure_run` first: nothing was measured here yet"
        )
        raise ToolError("No such id in this workspace's ledger", saw=run_id, try_next=hint)
    return found[0]


def read_runs(ledger: sqlite3.Connection) -> list[Run]:
    """Every run of this ledger, in the order they were appended."""
    return _read(ledger, "", ())


def _read(ledger: sqlite3.Connection, where: str, values: tuple[str, ...]) -> list[Run]:
    with closing(ledger.cursor()) as cursor:
        cursor.row_factory = sqlite3.Row
        rows = cursor.execute(f"SELECT * FROM run {where} ORDER BY rowid", values).fetchall()
        figures: dict[str, list[dict[str, Any]]] = {}
        of_these = f"SELECT * FROM measurement WHERE run IN (SELECT id FROM run {where}) ORDER BY rowid"
        for row in cursor.execute(of_these, values).fetchall():
            figure = {**dict(row), "singles": json.loads(row["singles"])}
            figures.setdefault(figure.pop("run"), []).append(figure)
    return [
        Run.model_validate(
            {
                **dict(row),
                "conditions": json.loads(row["conditions"]),
                "report": json.loads(row["report"]),
                "figures": figures.get(row["id"], []),
            }
        )
        for row in rows
    ]


def _migrate(ledger: sqlite3.Connection, path: Path) -> None:
    """Bring the file to the newest schema, once, whoever comes first."""
    _choose_journal(ledger, "DELETE" if _on_a_network(path) else "WAL")
    ledger.execute("BEGIN IMMEDIATE")
    with ledger:
        version = ledger.execute("PRAGMA user_version").fetchone()[0]
        if version > len(_MIGRATIONS):
            raise ToolError(
                "The ledger was written by a newer optimizing-resources",
                saw=f"version {version}",
                try_next="an upgrade",
            )
        for statements in _MIGRATIONS[version:]:
            for statement in statements:
                ledger.execute(statement)
        ledger.execute(f"PRAGMA user_version = {len(_MIGRATIONS)}")


def _choose_journal(ledger: sqlite3.Connection, mode: str) -> None:
    """Set how the file is written; where several open a new ledger at once, SQLite's own wait does not cover this."""
    deadline = time.monotonic() + _WAIT_SECONDS
    while True:
        try:
            ledger.execute(f"PRAGMA journal_mode = {mode}")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _on_a_network(path: Path) -> bool:
    """Whether the file lies on a file system that other machines share."""
    here = path.resolve()
    mounts = [m for m in psutil.disk_partitions(all=True) if here.is_relative_to(m.mountpoint)]
    nearest = max(mounts, key=lambda mount: len(mount.mountpoint), default=None)
    return nearest is not None and nearest.fstype.lower() in _NETWORK


def _frozen(table: str) -> tuple[str, str]:
    """Triggers that keep a table's past as it was."""
    first, second = (
        f"CREATE TRIGGER {table}_no_{act} BEFORE {act} ON {table} BEGIN SELECT RAISE(ABORT, 'append only'); END"
        for act in ("update", "delete")
    )
    return first, second


# One tuple of statements a version; a released one is never edited, the next change is a new tuple.
_MIGRATIONS = (
    (
        "CREATE TABLE run (id TEXT PRIMARY KEY, taken_at TEXT NOT NULL, tool TEXT NOT NULL, label TEXT NOT NULL,"
        " outcome TEXT NOT NULL, device TEXT NOT NULL, workload TEXT NOT NULL, conditions TEXT NOT NULL,"
        " report TEXT NOT NULL) STRICT",
        "CREATE TABLE measurement (run TEXT NOT NULL REFERENCES run (id), metric TEXT NOT NULL, value REAL NOT NULL,"
        " unit TEXT NOT NULL, basis TEXT NOT NULL, repeats INTEGER NOT NULL, low REAL, high REAL,"
        " PRIMARY KEY (run, metric)) STRICT",
        *_frozen("run"),
        *_frozen("measurement"),
    ),
    ("ALTER TABLE measurement ADD COLUMN singles TEXT NOT NULL DEFAULT '[]'",),
)
