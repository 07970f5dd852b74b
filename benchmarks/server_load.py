"""64 light calls at once over stdio while a heavy job runs: p50, p95 and errors by kind of call.

    .venv/bin/python benchmarks/server_load.py [rounds]

Each round sends 64 requests in one go (tools/list, triage of a text of up to 2 KB, detect_hardware) and reads until all
are answered; a latency is from the first byte sent to the reply read. The heavy job is `measure_run` of a script that
keeps one core busy where that tool is there, else the script itself beside the server. The load of the machine is
printed with the figures: wall times on a busy machine say little, the server's CPU seconds per call say more.
"""

import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil

CONCURRENT = 64
BUSY = "import time\nend = time.time() + 600\nwhile time.time() < end:\n    sum(range(100_000))\n"
HELLO = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "load", "version": "1"}}
TEXTS = [
    "RuntimeError: CUDA out of memory. Tried to allocate 2.00 GiB (GPU 0; 15.78 GiB total capacity; 12.10 GiB already "
    "allocated; 1.20 GiB free; 13.10 GiB reserved in total by PyTorch)",
    "slurmstepd: error: Detected 1 oom-kill event(s). Some of the step tasks have been OOM Killed.",
    "training takes 3 days on one T4, nvidia-smi shows 12% utilisation",
    "DataLoader worker (pid 4242) is killed by signal: Bus error. It is possible that dataloader's workers are out of "
    "shared memory. Please try to raise your shared memory limit.",
]


class Pipe:
    """A server on standard input and output, spoken to in raw JSON lines; replies are read by a thread."""

    def __init__(self, folder: str, python: str = sys.executable) -> None:
        command = [python, "-P", "-m", "optimizing_resources", "serve", "--workspace", folder]
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        self.process = psutil.Process(self.child.pid)
        self.came: dict[int, tuple[float, dict[str, object]]] = {}
        self._any = threading.Condition()
        self._next = 0
        threading.Thread(target=self._read, daemon=True).start()
        self.wait(self.send([("initialize", HELLO)]))
        self.notify("notifications/initialized", {})

    def notify(self, method: str, params: dict[str, object]) -> None:
        """Say something that is not answered."""
        self._write(json.dumps({"jsonrpc": "2.0", "method": method, "params": params}) + "\n")

    def send(self, requests: list[tuple[str, dict[str, object]]]) -> list[int]:
        """Send all of them in one go; their ids."""
        ids = list(range(self._next, self._next + len(requests)))
        self._next += len(requests)
        lines = [
            json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params})
            for number, (method, params) in zip(ids, requests, strict=True)
        ]
        self._write("\n".join(lines) + "\n")
        return ids

    def wait(self, ids: list[int], seconds: float = 120) -> list[tuple[float, dict[str, object]]]:
        """When each was answered, and with what."""
        with self._any:
            assert self._any.wait_for(lambda: all(number in self.came for number in ids), seconds)
        return [self.came.pop(number) for number in ids]

    def close(self) -> None:
        """Hang up and wait for the end."""
        assert self.child.stdin
        self.child.stdin.close()
        self.child.wait(20)

    def _write(self, text: str) -> None:
        assert self.child.stdin
        data = text.encode()
        while data:
            data = data[self.child.stdin.write(data) or 0 :]

    def _read(self) -> None:
        assert self.child.stdout
        rest = b""
        while piece := os.read(self.child.stdout.fileno(), 1 << 16):
            *lines, rest = (rest + piece).split(b"\n")
            now = time.perf_counter()
            with self._any:
                for message in map(json.loads, lines):
                    if "id" in message and "method" not in message:
                        self.came[message["id"]] = (now, message)
                self._any.notify_all()


def call(name: str, **arguments: object) -> tuple[str, dict[str, object]]:
    """A tools/call request."""
    return "tools/call", {"name": name, "arguments": arguments}


def light(kind: str) -> tuple[str, dict[str, object]]:
    """One light request of that kind."""
    if kind == "tools/list":
        return kind, {}
    if kind == "detect_hardware":
        return call(kind)
    lines = [f"epoch {step} loss {random.random():.4f} lr 3e-4 {step} it/s" for step in range(45)]
    return call(kind, text="\n".join([*lines, random.choice(TEXTS)])[-2048:])


def is_error(reply: dict[str, object]) -> bool:
    """Whether a reply is an error of the protocol or of the tool."""
    result = reply.get("result")
    return not isinstance(result, dict) or bool(result.get("isError"))


def main(rounds: int) -> None:
    random.seed(0)
    kinds = [("tools/list", "triage_constraint", "detect_hardware")[i % 3] for i in range(CONCURRENT)]
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "busy.py").write_text(BUSY, encoding="utf-8")
        server = Pipe(folder)
        menu = json.dumps(server.wait(server.send([("tools/list", {})])))
        server.wait(server.send([light("detect_hardware"), light("triage_constraint")]))
        beside = None
        if "measure_run" in menu:
            heavy = server.send([call("measure_run", command=[sys.executable, "busy.py"], max_seconds=300)])
        else:
            beside, heavy = subprocess.Popen([sys.executable, f"{folder}/busy.py"]), []
        time.sleep(3)
        waits: dict[str, list[float]] = {kind: [] for kind in kinds}
        errors, cpu = 0, sum(server.process.cpu_times()[:2])
        for _ in range(rounds):
            order = random.sample(kinds, len(kinds))
            begin = time.perf_counter()
            replies = server.wait(server.send([light(kind) for kind in order]))
            for kind, (when, reply) in zip(order, replies, strict=True):
                waits[kind].append(when - begin)
                errors += is_error(reply)
            time.sleep(0.2)
        cpu = sum(server.process.cpu_times()[:2]) - cpu
        still = all(number not in server.came for number in heavy)
        if beside:
            beside.kill()
            beside.wait()
        server.close()
    every = [wait for found in waits.values() for wait in found]
    for kind, found in [*waits.items(), ("all", every)]:
        p95 = statistics.quantiles(found, n=20)[18]
        print(
            f"{kind:18} {len(found):5} calls  p50 {statistics.median(found) * 1e3:4.0f} ms  p95 {p95 * 1e3:4.0f} ms"
        )
    print(
        f"{errors} errors; {cpu / len(every) * 1e3:.1f} ms of the server's CPU a call; heavy job "
        f"{'in the server' if heavy else 'beside the server'}, {'still running' if still else 'over'}; "
        f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
