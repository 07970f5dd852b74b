"""The server over HTTP, attacked: who has no business there is refused and logged, and the others are served."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import anyio
import httpx2
import psutil
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from optimizing_resources.server.over_http import Door
from optimizing_resources.server.token import TokenRequest, token
from optimizing_resources.tools._core.contract import ToolError

TOY_SERVER = Path(__file__).with_name("toy_server.py")
JSON = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
HELLO = {
    "jsonrpc": "2.0",
    "id": 0,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "t", "version": "1"},
    },
}


class Served:
    """A toy server over HTTP in a process of its own, with the tokens of ann and bob."""

    def __init__(self, folder: Path) -> None:
        self.workspace = folder / "workspace"
        for name in ("ann", "bob"):
            (self.workspace / name).mkdir(parents=True)
            (self.workspace / name / "train.log").write_text("1\n2\n", encoding="utf-8")
        self.tokens = folder / "tokens.jsonl"
        self.ann, self.bob = (self.token(name) for name in ("ann", "bob"))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / "log"
        with self.log.open("wb") as log:
            command = [sys.executable, "-P", str(TOY_SERVER), str(self.port), str(self.tokens)]
            self.process = subprocess.Popen(command, cwd=self.workspace, stderr=log)
        deadline = time.monotonic() + 30
        while not self.healthy():
            assert time.monotonic() < deadline and self.process.poll() is None, self.log.read_text("utf-8")
            time.sleep(0.05)

    def token(self, name: str) -> str:
        request = TokenRequest(name=name, file=self.tokens, folder=self.workspace / name)
        return token.run(request).token

    def healthy(self) -> bool:
        with contextlib.suppress(httpx2.HTTPError):
            return httpx2.get(self.url + "/health").json() == {"status": "ok"}
        return False

    def post(self, headers: dict[str, str], **body: object) -> httpx2.Response:
        return httpx2.post(
            f"{self.url}/mcp", headers={**JSON, **headers}, timeout=30, **(body or {"json": HELLO})
        )

    def logs(self, count: int, **wanted: object) -> bool:
        """Whether that many such lines are written, which happens just after the answer."""
        deadline = time.monotonic() + 10
        while len(self.logged(**wanted)) < count and time.monotonic() < deadline:
            time.sleep(0.02)
        return len(self.logged(**wanted)) == count

    def logged(self, **wanted: object) -> list[dict[str, object]]:
        lines = [json.loads(line) for line in self.log.read_text("utf-8").splitlines() if line[0] == "{"]
        return [line for line in lines if wanted.items() <= line.items()]

    @contextlib.asynccontextmanager
    async def client(self, bearer: str, mode: str = "auto"):
        http = httpx2.AsyncClient(headers={"authorization": f"Bearer {bearer}"}, timeout=30)
        transport = streamable_http_client(f"{self.url}/mcp", http_client=http)
        async with http, Client(transport, mode=mode) as client:
            yield client


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    made = Served(tmp_path_factory.mktemp("http"))
    yield made
    made.process.kill()
    made.process.wait()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"authorization": "Bearer ores_wrong"}, 401),
        ({"authorization": "Basic YW5uOmFubg=="}, 401),
        ({"origin": "https://evil.example"}, 403),
        ({"host": "evil.example"}, 421),
        ({"host": "127.0.0.1.evil.example:80"}, 421),
    ],
)  # fmt: skip
def test_who_has_no_business_here_is_refused_and_logged(served, headers, status):
    allowed = {} if status == 401 else {"authorization": f"Bearer {served.ann}"}
    before = len(served.logged(status=status))
    assert served.post({**allowed, **headers}).status_code == status
    assert served.logs(before + 1, status=status)
    assert served.healthy()


def test_the_same_request_with_a_token_is_answered(served):
    answer = served.post({"authorization": f"Bearer {served.ann}"})
    assert answer.status_code == 200
    leaving = {"authorization": f"Bearer {served.ann}", "mcp-session-id": answer.headers["mcp-session-id"]}
    assert httpx2.delete(f"{served.url}/mcp", headers=leaving).status_code == 200


def test_a_body_of_a_hundred_megabytes_is_refused_however_it_is_sent(served):
    who = {"authorization": f"Bearer {served.ann}"}
    pieces = (b"x" * 1_000_000 for _ in range(100))
    before = psutil.Process(served.process.pid).memory_info().rss
    for body in (b"x" * 100_000_000, pieces):
        with contextlib.suppress(httpx2.WriteError, httpx2.ReadError):  # it may hang up before all is sent
            assert served.post(who, content=body).status_code == 413
    assert served.logs(2, status=413)
    assert psutil.Process(served.process.pid).memory_info().rss - before < 50_000_000
    assert served.healthy()


def test_a_client_opens_so_many_sessions_and_does_not_keep_others_out(served):
    who = {
        "authorization": f"Bearer {served.token('carl') if (served.workspace / 'carl').mkdir() is None else ''}"
    }
    opened = [served.post(who) for _ in range(6)]
    assert [answer.status_code for answer in opened] == [200] * 4 + [429] * 2
    assert served.logs(2, status=429, client="carl")
    assert served.post({"authorization": f"Bearer {served.bob}"}).status_code == 200
    first = {**who, "mcp-session-id": opened[0].headers["mcp-session-id"]}
    assert httpx2.delete(f"{served.url}/mcp", headers=first).status_code == 200
    assert served.post(who).status_code == 200


def test_a_session_is_of_no_use_to_another_client(served):
    session = served.post({"authorization": f"Bearer {served.bob}"}).headers["mcp-session-id"]
    stolen = {"authorization": f"Bearer {served.ann}", "mcp-session-id": session}
    assert served.post(stolen, json={"jsonrpc": "2.0", "id": 1, "method": "tools/list"}).status_code == 404


@pytest.mark.anyio
@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_each_client_reads_its_own_folder_only(served, mode):
    (served.workspace / "bob" / "link.log").unlink(missing_ok=True)
    (served.workspace / "bob" / "link.log").symlink_to("../ann/train.log")
    outside = [
        "../ann/train.log",
        "/etc/passwd",
        "link.log",
        str(served.workspace / "ann/train.log"),
        "../../tokens.jsonl",
    ]
    async with served.client(served.bob, mode) as client:
        mine = await client.call_tool("read_log", {"path": "train.log"})
        assert mine.structured_content == {"lines": 2}
        for path in outside:
            refused = await client.call_tool("read_log", {"path": path})
            assert refused.is_error and "outside the workspace" in refused.content[0].text


def test_a_token_ends_when_its_line_is_taken_out(served):
    (served.workspace / "dora").mkdir()
    made = served.token("dora")
    assert served.post({"authorization": f"Bearer {made}"}).status_code == 200
    kept = [line for line in served.tokens.read_text("utf-8").splitlines(keepends=True) if "dora" not in line]
    served.tokens.write_text("".join(kept), encoding="utf-8")
    assert served.post({"authorization": f"Bearer {made}"}).status_code == 401


def test_neither_the_log_nor_the_token_file_holds_a_token(served):
    served.post({"authorization": f"Bearer {served.ann}"}, content=b"not json")
    text = served.log.read_text("utf-8") + served.tokens.read_text("utf-8")
    assert "ores_" not in text and served.ann.removeprefix("ores_") not in text
    assert served.tokens.stat().st_mode & 0o777 == 0o600


@pytest.mark.anyio
async def test_the_next_job_of_a_client_waits_in_line_and_is_told_its_place(served):
    places = []

    async def note(done, total, message):
        places.append(message)

    async with served.client(served.ann) as client, anyio.create_task_group() as group:
        group.start_soon(client.call_tool, "count", {"steps": 100})
        await anyio.sleep(0.3)
        waited = await client.call_tool("count", {"steps": 1}, progress_callback=note)
    assert waited.structured_content == {"total": 1.0}
    assert places[0] == "waiting for a free place, position 1 in line"


def test_the_end_of_the_server_ends_the_child_of_a_job(tmp_path):
    served = Served(tmp_path)
    engine = served.workspace / "ann" / "engine"
    engine.mkdir()
    (engine / "__main__.py").write_text("import time\ndef answer(r, p): time.sleep(60)", encoding="utf-8")
    who = {"authorization": f"Bearer {served.ann}"}
    who["mcp-session-id"] = served.post(who).headers["mcp-session-id"]
    call = {"name": "work", "arguments": {"engine": str(engine)}}
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}
    with contextlib.suppress(httpx2.ReadTimeout):  # the connection is lost, which does not end the job
        httpx2.post(f"{served.url}/mcp", headers={**JSON, **who}, timeout=2, json=message)
    (child,) = psutil.Process(served.process.pid).children()
    os.kill(served.process.pid, signal.SIGTERM)
    assert served.process.wait(timeout=20) in (0, -signal.SIGTERM)
    assert not child.is_running()


def test_beyond_this_machine_it_asks_for_tokens_and_a_name(tmp_path):
    for door in ({}, {"tokens": tmp_path / "tokens"}, {"url": "https://gpu.example.org/mcp"}):
        with pytest.raises(ToolError, match="only with tokens"):
            Door(host="0.0.0.0", **door)
    assert Door(host="0.0.0.0", tokens=tmp_path / "tokens", url="https://gpu.example.org/mcp")
