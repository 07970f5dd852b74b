"""The server as a process of its own: what it loads, what it opens, what it leaves behind, and how it ends."""

import json
import os
import re
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest
from mcp import Client
from optimizing_resources.tools import load_tools

TOY_SERVER = Path(__file__).with_name("toy_server.py")
HEAVY = {"torch", "numpy", "onnx", "onnxruntime", "lightgbm", "pandas", "scipy", "libcst", "matplotlib"}
SERVE = "from optimizing_resources.server.cli import main; main(['serve'])"

# Loaded by every Python that starts with this folder on PYTHONPATH, the children of the server included.
SPY = """
import atexit, json, os, sys
def note(kind, what):
    with open(os.environ["SPY_NOTES"], "a", encoding="utf-8") as file:
        file.write(json.dumps([kind, what]) + "\\n")
def hook(event, arguments):
    if event == "socket.__new__" and int(arguments[1]) == 1:
        return  # AF_UNIX: the pair with which asyncio wakes its own loop
    if event.startswith("socket."):
        note("socket", event)
sys.addaudithook(hook)
atexit.register(lambda: note("modules", sorted(sys.modules)))
"""


class Wire:
    """Speaks raw JSON-RPC with a child process, as a host of the handshake era does."""

    def __init__(self, arguments, folder, env):
        self.child = subprocess.Popen(
            [sys.executable, "-P", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=folder,
            env=env,
            text=True,
        )
        client = {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "t", "version": "1"},
        }
        self.send("initialize", client, number=0)
        self.answer(0)
        self.send("notifications/initialized", {})

    def send(self, method, params, number=None):
        message = {"jsonrpc": "2.0", "method": method, "params": params}
        self.write(json.dumps(message if number is None else {**message, "id": number}))

    def write(self, line):
        self.child.stdin.write(line + "\n")
        self.child.stdin.flush()

    def answer(self, number):
        """The response to a request; every line of standard output must be JSON."""
        while True:
            message = json.loads(self.child.stdout.readline())
            if message.get("id") == number and "method" not in message:
                return message

    def ask(self, method, params, number):
        self.send(method, params, number)
        return self.answer(number)

    def hang_up(self):
        """Close the server's input; returns its exit status and what it logged."""
        _, log = self.child.communicate(timeout=20)
        return self.child.returncode, log


@pytest.fixture
def start(tmp_path):
    """Start a server process in an empty folder with the spy on board."""
    spy = tmp_path / "spy"
    spy.mkdir()
    (spy / "sitecustomize.py").write_text(SPY, encoding="utf-8")
    (tmp_path / "project").mkdir()
    started = []

    def begin(*arguments):
        notes = {"PYTHONPATH": str(spy), "SPY_NOTES": str(tmp_path / "notes")}
        started.append(Wire(arguments, tmp_path / "project", {**os.environ, **notes}))
        return started[-1]

    yield begin
    for wire in started:
        wire.child.kill()
        wire.child.communicate()


@pytest.fixture
def notes(tmp_path):
    """What the spy saw of one kind."""

    def read(kind):
        lines = (tmp_path / "notes").read_text(encoding="utf-8").splitlines()
        return [what for seen, what in map(json.loads, lines) if seen == kind]

    return read


@pytest.fixture
def engine(tmp_path):
    def write(source):
        folder = tmp_path / "project/engine"
        folder.mkdir()
        (folder / "__main__.py").write_text(textwrap.dedent(source), encoding="utf-8")
        return str(folder)

    return write


def call(name, **arguments):
    return {"name": name, "arguments": arguments}


def loaded(notes):
    return {name for modules in notes("modules") for name in modules}


def test_listing_the_tools_loads_no_heavy_library(start, notes):
    wire = start("-c", SERVE)
    listed = wire.ask("tools/list", {}, 1)["result"]["tools"]
    assert [tool["name"] for tool in listed] == list(load_tools())
    assert wire.hang_up()[0] == 0
    assert "mcp" in loaded(notes) and not loaded(notes) & HEAVY


def test_the_check_above_would_notice(start, notes):
    wire = start("-c", f"import numpy; {SERVE}")
    wire.ask("tools/list", {}, 1)
    wire.hang_up()
    assert loaded(notes) & HEAVY == {"numpy"}


# Calls that must keep to themselves; those of tools that are not there are left out.
QUIET_CALLS = [
    call("detect_hardware"),
    call("triage_constraint", text="torch.OutOfMemoryError: CUDA out of memory."),
]


def test_the_server_opens_no_socket(start, notes):
    wire = start("-c", SERVE)
    wire.ask("tools/list", {}, 1)
    wire.ask("resources/list", {}, 2)
    wire.ask("prompts/list", {}, 3)
    for number, params in enumerate((c for c in QUIET_CALLS if c["name"] in load_tools()), start=4):
        assert not wire.ask("tools/call", params, number)["result"].get("isError")
    assert wire.hang_up()[0] == 0
    assert notes("socket") == []


def test_a_socket_in_a_child_process_would_be_noticed(start, notes, engine):
    folder = engine("import socket\ndef answer(r, p): socket.socket().close(); return {'total': 1}")
    wire = start(str(TOY_SERVER))
    assert wire.ask("tools/call", call("work", engine=folder), 1)["result"]["structuredContent"] == {
        "total": 1.0
    }
    wire.hang_up()
    assert "socket.__new__" in notes("socket")


SLEEPER = """
    import subprocess, sys, time
    def answer(request, progress):
        quiet = {"stdout": subprocess.DEVNULL, "start_new_session": True}
        subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"], **quiet)
        progress(1, 2, "asleep")
        time.sleep(60)
"""


def begin_work(wire, folder):
    """Start a tool whose child sleeps; returns every process below the server."""
    params = {**call("work", engine=folder), "_meta": {"progressToken": "p"}}
    wire.send("tools/call", params, 1)
    assert json.loads(wire.child.stdout.readline())["params"]["message"] == "asleep"
    family = psutil.Process(wire.child.pid).children(recursive=True)
    assert len(family) == 2
    return family


def assert_gone_within_a_second(family):
    deadline = time.monotonic() + 1
    while any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in family):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_cancel_ends_the_child_within_a_second_and_the_server_goes_on(start, engine):
    wire = start(str(TOY_SERVER))
    family = begin_work(wire, engine(SLEEPER))
    wire.send("notifications/cancelled", {"requestId": 1})
    assert_gone_within_a_second(family)
    assert wire.ask("tools/call", call("add", numbers=[1]), 2)["result"]["structuredContent"] == {
        "total": 1.0
    }
    assert wire.hang_up()[0] == 0


@pytest.mark.parametrize("end", ["client hangs up", "server is told to end", "server is killed"])
def test_nothing_survives_the_end_of_client_or_server(start, engine, end):
    wire = start(str(TOY_SERVER))
    family = begin_work(wire, engine(SLEEPER))
    if end == "client hangs up":
        wire.hang_up()
    elif end == "server is told to end":
        wire.child.terminate()
        wire.child.wait(timeout=10)
    else:
        family = family[:1]  # the kernel ends the child; what the child started it cannot know
        wire.child.kill()
    assert_gone_within_a_second(family)


@pytest.mark.skipif(sys.platform != "linux", reason="engines are kept on Linux only")
def test_a_second_call_finds_torch_loaded_which_ends_with_the_server(start, tmp_path):
    lines = "import os\ndef make_step(): raise ValueError(f'{os.getpid()} of {os.getppid()}')\n"
    (tmp_path / "project/step.py").write_text(lines, encoding="utf-8")
    wire = start("-c", SERVE)
    estimate = call("estimate_memory", step="step.py:make_step", gpu="T4")
    texts = [wire.ask("tools/call", estimate, n)["result"]["content"][0]["text"] for n in (1, 2)]
    (one, kept), (other, same) = (re.search(r"(\d+) of (\d+)", text).groups() for text in texts)
    assert one != other and kept == same
    process = psutil.Process(int(kept))
    assert process.ppid() == wire.child.pid and "libtorch" in str(process.memory_maps())
    wire.child.kill()
    assert_gone_within_a_second([process])


def test_rubbish_on_the_wire_does_not_end_the_server(start):
    wire = start(str(TOY_SERVER))
    for line in ("not json", "[]", '{"jsonrpc": "2.0"}', '{"jsonrpc": "2.0", "id": 7, "method": "nope"}'):
        wire.write(line)
    wrong = wire.ask("tools/call", {"name": 7}, 8)
    assert "error" in wrong and "Traceback" not in json.dumps(wrong)
    assert wire.ask("tools/call", call("add", numbers=[1]), 9)["result"]["structuredContent"] == {
        "total": 1.0
    }


def test_an_unforeseen_error_is_logged_in_full_and_answered_in_brief(start):
    wire = start(str(TOY_SERVER))
    answer = wire.ask("tools/call", call("crash"), 1)
    assert "hunter2" not in json.dumps(answer)
    assert "RuntimeError: password=hunter2" in wire.hang_up()[1]


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.anyio
async def test_the_server_answers_over_http_to_this_machine(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-P", "-c", SERVE.replace("'serve'", f"'serve', '--http', '--port', '{port}'")]
    server = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 20
        while not listens(port):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        for era in ("auto", "legacy"):
            async with Client(f"http://127.0.0.1:{port}/mcp", mode=era) as client:
                assert [tool.name for tool in (await client.list_tools()).tools] == list(load_tools())
    finally:
        server.terminate()
        server.communicate(timeout=20)
