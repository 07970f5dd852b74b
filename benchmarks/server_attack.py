"""A thousand half-open connections, then a thousand sessions that nobody uses: is the server up for others?

    .venv/bin/python benchmarks/server_attack.py [count]

Starts a server with two tokens. First COUNT connections send half a request line and wait, then one client opens COUNT
sessions and drops them. During both another client lists the tools, and after both memory and descriptors are read.
"""

import asyncio
import json
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import httpx2
import psutil
from optimizing_resources.server.token import TokenRequest, token

HELLO = {
    "jsonrpc": "2.0",
    "id": 0,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "x", "version": "1"},
    },
}
JSON = {"content-type": "application/json", "accept": "application/json, text/event-stream"}


class Served:
    """A server in a process of its own, and the two clients' headers."""

    def __init__(self, folder: Path) -> None:
        made = [token.run(TokenRequest(name=name, file=folder / "tokens.jsonl")) for name in ("good", "bad")]
        self.good, self.bad = ({**JSON, "authorization": f"Bearer {one.token}"} for one in made)  # type: ignore[attr-defined]
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        (folder / "workspace").mkdir()
        options = ["--http", "--port", str(self.port), "--tokens", str(folder / "tokens.jsonl")]
        command = [sys.executable, "-P", "-m", "optimizing_resources", "serve", *options]
        self.log = folder / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, cwd=folder / "workspace", stderr=log)
        self.url = f"http://127.0.0.1:{self.port}/mcp"
        while b"serving" not in self.log.read_bytes() or not self.listens():
            time.sleep(0.1)

    def listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def standing(self) -> str:
        process = psutil.Process(self.process.pid)
        return f"{process.memory_info().rss / 2**20:.0f} MiB, {process.num_fds()} descriptors"


async def others(served: Served, until: asyncio.Event) -> list[float]:
    """How long another client's initialize takes meanwhile; every one must be answered."""
    took = []
    async with httpx2.AsyncClient(headers=served.good, timeout=30) as client:
        while not until.is_set():
            began = time.perf_counter()
            answer = await client.post(served.url, json=HELLO)
            assert answer.status_code == 200, answer.status_code
            await client.delete(served.url, headers={"mcp-session-id": answer.headers["mcp-session-id"]})
            took.append(time.perf_counter() - began)
            await asyncio.sleep(0.1)
    return took


async def half_open(served: Served, count: int) -> str:
    """Connections that never finish their first line; says how many the server hung up on."""
    opened = [await asyncio.open_connection("127.0.0.1", served.port) for _ in range(count)]
    for _, writer in opened:
        writer.write(b"POST /mcp HT")
    ends = await asyncio.wait_for(asyncio.gather(*(reader.read() for reader, _ in opened)), 60)
    for _, writer in opened:
        writer.close()
    return f"{len(ends)} of {count} hung up on"


async def sessions(served: Served, count: int) -> str:
    """Sessions opened and left alone; says with which status each was answered."""
    statuses: Counter[int] = Counter()
    async with httpx2.AsyncClient(headers=served.bad, timeout=60) as client:
        for _ in range(count // 20):
            answers = await asyncio.gather(*(client.post(served.url, json=HELLO) for _ in range(20)))
            statuses.update(answer.status_code for answer in answers)
    return f"answers by status: {dict(statuses)}"


async def main(count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        served = Served(Path(folder))
        print(f"at first: {served.standing()}")
        for attack in (half_open, sessions):
            over = asyncio.Event()
            watching = asyncio.create_task(others(served, over))
            said = await attack(served, count)
            over.set()
            took = await watching
            print(
                f"{attack.__name__}: {said}; another client meanwhile: {len(took)} times, none refused, median "
                f"{statistics.median(took) * 1e3:.0f} ms, longest {max(took) * 1e3:.0f} ms; now {served.standing()}"
            )
        served.process.terminate()
        served.process.wait(20)
        lines = [line for line in served.log.read_text(encoding="utf-8").splitlines() if line.startswith("{")]
        refused = Counter(json.loads(line).get("status") for line in lines)
        print(
            f"log: {len(lines)} lines, refusals {refused[429]}, tokens in it: {len(re.findall('ores_', str(lines)))}"
        )


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000))
