"""kill -9 of the server or of a child at random points of the writing tools: is anything of the user damaged?

    .venv/bin/python benchmarks/server_kill.py [kills] [tool ...]

Each time a fresh server gets a call of one of the tools that write, and dies, or its child does, after a random share
of the time that the call takes. Then: every file of the user is what it was, or for apply_amp_patch with `write` wholly
the patched one, and parses; the ledger passes SQLite's check and keeps its rows; no process is left; and the next start
leaves no temporary file, neither in the workspace nor in the temporary folder.
"""

import ast
import hashlib
import json
import os
import random
import shutil
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import psutil
from server_load import Pipe, call

ROOT = Path(__file__).resolve().parents[1]
CALLS = json.loads((ROOT / "tests/samples/calls.json").read_text(encoding="utf-8"))
READING = {"detect_hardware", "triage_constraint", "review_evidence"}
SETTLE_SECONDS = 2.2  # files younger than two seconds are left alone by the sweep


class Workspace:
    """The user's files and what they may become."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(ROOT / "examples/gpu_oom", folder)
        shutil.copytree(ROOT / "tests/samples", folder, dirs_exist_ok=True)
        self.whole = {file.name: {digest(file)} for file in folder.iterdir() if file.is_file()}
        self.rows = 0

    def damage(self) -> list[str]:
        """What is not as it should be."""
        found = [
            f"{name} changed"
            for name, good in self.whole.items()
            if not (self.folder / name).exists() or digest(self.folder / name) not in good
        ]
        ledger = self.folder / ".optimizing-resources/ledger.sqlite"
        if ledger.exists():
            with closing(sqlite3.connect(ledger)) as opened:
                if opened.execute("PRAGMA integrity_check").fetchone()[0] != "ok":
                    found.append("ledger damaged")
                rows = 0
                if opened.execute("SELECT 1 FROM sqlite_master WHERE name = 'run'").fetchone():
                    rows = opened.execute("SELECT count(*) FROM run").fetchone()[0]
                if rows < self.rows:
                    found.append("rows of the ledger lost")
                self.rows = rows
        return found

    def temporaries(self, scratch: Path) -> list[str]:
        """Files that nobody will ever ask for again."""
        strange = [
            path
            for path in self.folder.rglob("*")
            if path.is_file()
            and (path.name.startswith(("tmp", ".train.py.")) or path.parent.name == "pending")
        ]
        return [
            str(path)
            for path in [
                *strange,
                *(path for path in scratch.iterdir() if not path.name.startswith("torchinductor")),
            ]
        ]


def digest(file: Path) -> str:
    """The hash of a file."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def prepared(server: Pipe, name: str, workspace: Workspace) -> tuple[str, dict[str, object]]:
    """The call; for the patching tool one that really writes, and its result is allowed from here on."""
    if name != "apply_amp_patch":
        return call(name, **CALLS[name])
    shutil.copy(ROOT / "examples/gpu_oom/train.py", workspace.folder / "train.py")
    _, reply = server.wait(server.send([call(name, **CALLS[name])]))[0]
    report = reply["result"]["structuredContent"]  # type: ignore[index]
    after = report.get("patched_sha256") or report.get("result_sha256")
    if after:
        workspace.whole["train.py"].add(after)
    return call(name, **CALLS[name], write=True, expected_sha256=report["source_sha256"])


def one_kill(name: str, workspace: Workspace, seconds: float, victim: str) -> None:
    """Start a call and kill server or child after a random part of its usual time."""
    server = Pipe(str(workspace.folder))
    request = prepared(server, name, workspace)
    server.send([request])
    time.sleep(random.random() * seconds)
    family = server.process.children(recursive=True)
    prey = random.choice(family) if victim == "child" and family else server.process
    prey.kill()
    if prey is server.process:
        psutil.wait_procs(family, timeout=2)
        server.child.wait()
    else:
        time.sleep(0.3)
        server.close()
    alive = [process for process in family if process.is_running() and process.status() != "zombie"]
    for process in alive:
        process.kill()
        print(f"left alive: {process}")


def main(kills: int, chosen: list[str]) -> None:
    random.seed(0)
    problems: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder, "scratch")
        scratch.mkdir()
        os.environ["TMPDIR"] = str(scratch)
        workspace = Workspace(Path(folder, "workspace"))
        server = Pipe(str(workspace.folder))
        listed = server.wait(server.send([("tools/list", {})]))[0][1]["result"]["tools"]  # type: ignore[index]
        writing = [
            tool["name"]
            for tool in listed
            if tool["name"] not in READING and (not chosen or tool["name"] in chosen)
        ]
        usual = {}
        for name in writing:
            began = time.monotonic()
            server.wait(server.send([prepared(server, name, workspace)]), 300)
            usual[name] = min(time.monotonic() - began, 8.0)
        server.close()
        print("usual seconds:", {name: round(seconds, 1) for name, seconds in usual.items()})
        for number in range(kills):
            name = writing[number % len(writing)]
            one_kill(name, workspace, usual[name] * 1.1, random.choice(["server", "child"]))
            problems.update(workspace.damage())
            if number % 10 == 9 or number == kills - 1:
                time.sleep(SETTLE_SECONDS)
                Pipe(str(workspace.folder)).close()
                left = workspace.temporaries(scratch)
                problems.update(f"left after the next start: {Path(path).name}" for path in left)
        for script in workspace.folder.glob("*.py"):
            ast.parse(script.read_text(encoding="utf-8"))
    print(f"{kills} kills over {', '.join(writing)}: {dict(problems) or 'nothing damaged, nothing left'}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200, sys.argv[2:])
