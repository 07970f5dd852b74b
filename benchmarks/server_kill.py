"""kill -9 of the server or of a child at random points of everything that writes: is anything of the user damaged?

    .venv/bin/python benchmarks/server_kill.py [kills] [name ...]

Each time a fresh server gets a call of one of the tools that write, and dies, or its child does, after a random share
of the time that the call takes; `undo` and `prices` (a refresh from an endpoint on this machine) are commands and die
in the same way. Then: every file of the user is what it was, or for apply_amp_patch with `write` wholly
the patched one, and parses; the ledger passes SQLite's check and keeps its rows; no process is left; and the next start
leaves no temporary file, neither in the workspace nor in the temporary folder.
"""

import ast
import contextlib
import hashlib
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
from server_load import Pipe, call, is_error

ROOT = Path(__file__).resolve().parents[1]
CALLS = json.loads((ROOT / "tests/samples/calls.json").read_text(encoding="utf-8"))
MODEL = {"model": "net.py:make", "weights": "net.pt", "data": "rows.npz", "threads": 1}
TRAINED = {**MODEL, "train_data": "rows.npz", "max_metric_drop": "50%", "max_train_seconds": 3}
CALLS |= {
    "quantize_model": {**MODEL, "batch_sizes": [1], "max_search_seconds": 10},
    "prune_model": {**TRAINED, "sparsity": [0.5]},
    "distill_model": {**TRAINED, "student": "net.py:small", "seeds": 1},
}
NET = """
from torch import nn

def make():
    return nn.Sequential(nn.Linear(8, 128), nn.ReLU(), nn.Linear(128, 3))

def small():
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
"""
WORLD = """
import numpy, torch, net

x = torch.randn(900, 8, generator=torch.Generator().manual_seed(0))
numpy.savez("rows.npz", x=x.numpy(), y=x[:, :3].argmax(1).numpy())
torch.save(net.make().state_dict(), "net.pt")
"""
PRICES = (
    "Region,Price,InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,GpuInfo,SpotPrice\n"
    + "".join(f"r{n},2.95,h{n},H100,1,16,200,,1\n" for n in range(3000))
)
COMMANDS = ("undo", "prices")
READING = {"detect_hardware", "triage_constraint", "review_evidence"}
SETTLE_SECONDS = 2.2  # files younger than two seconds are left alone by the sweep


class Workspace:
    """The user's files and what they may become."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(ROOT / "examples/gpu_oom", folder)
        shutil.copytree(ROOT / "tests/samples", folder, dirs_exist_ok=True)
        (folder / "net.py").write_text(NET, encoding="utf-8")
        subprocess.run(
            [sys.executable, "-c", WORLD], cwd=folder, check=True, env={**os.environ, "PYTHONPATH": "."}
        )
        shutil.rmtree(folder / "__pycache__", ignore_errors=True)
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
            and path.name != ".gitignore"
            and (
                path.name.startswith(("tmp", "."))
                or path.suffix in (".tmp", ".fresh", ".part")
                or path.parent.name == "pending"
            )
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
    """Start a call or command and kill it, its server or its child after a random part of its usual time."""
    server = None if name in COMMANDS else Pipe(str(workspace.folder))
    if server:
        server.send([prepared(server, name, workspace)])
        process = server.process
    else:
        process = psutil.Process(started(name, workspace).pid)
    time.sleep(random.random() * seconds)
    family = process.children(recursive=True)
    prey = random.choice(family) if victim == "child" and family else process
    with contextlib.suppress(psutil.NoSuchProcess):  # done already
        prey.kill()
    if prey is process or not server:
        psutil.wait_procs(family, timeout=2)
        process.wait(20)
    else:
        time.sleep(0.3)
        server.close()
    alive = [process for process in family if process.is_running() and process.status() != "zombie"]
    for process in alive:
        process.kill()
        print(f"left alive: {process}")


def started(name: str, workspace: Workspace) -> subprocess.Popen[bytes]:
    """The command; undo gets a file that was patched just now."""
    program = [sys.executable, "-P", "-m", "optimizing_resources"]
    words = ["prices", "refresh", "nebius", "--endpoint", ENDPOINT]
    if name == "undo":
        server = Pipe(str(workspace.folder))
        server.wait(server.send([prepared(server, "apply_amp_patch", workspace)]))
        server.close()
        words = ["undo", "train.py"]
    return subprocess.Popen([*program, *words], cwd=workspace.folder, stdout=subprocess.DEVNULL)


class Endpoint(BaseHTTPRequestHandler):
    """A provider with prices."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(PRICES.encode())

    def log_message(self, *arguments: object) -> None:
        pass


SERVED = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
ENDPOINT = f"http://127.0.0.1:{SERVED.server_port}/vms.csv"
threading.Thread(target=SERVED.serve_forever, daemon=True).start()


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
            ((_, reply),) = server.wait(server.send([prepared(server, name, workspace)]), 600)
            assert not is_error(reply), reply
            usual[name] = min(time.monotonic() - began, 20.0)
        server.close()
        for name in COMMANDS:
            if not chosen or name in chosen:
                began = time.monotonic()
                assert started(name, workspace).wait(60) == 0
                usual[name] = min(time.monotonic() - began, 20.0)
        writing = list(usual)
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
                print(f"{number + 1} kills: {dict(problems)}", flush=True)
        for script in workspace.folder.glob("*.py"):
            ast.parse(script.read_text(encoding="utf-8"))
    print(f"{kills} kills over {', '.join(writing)}: {dict(problems) or 'nothing damaged, nothing left'}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200, sys.argv[2:])
