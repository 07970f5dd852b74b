"""The MCP server over toy tools: in memory and over stdio, in both protocol eras."""

import sys
from pathlib import Path

import anyio
import pytest
from mcp import Client, StdioServerParameters
from mcp.shared.exceptions import MCPError
from mcp.types import ListRootsResult, Root
from optimizing_resources.server.app import INSTRUCTIONS, build
from optimizing_resources.server.prompts import JOURNEYS
from optimizing_resources.tools._core.workspace import Workspace

pytestmark = pytest.mark.anyio
TOY_SERVER = Path(__file__).with_name("toy_server.py")


@pytest.fixture
def folder(tmp_path):
    inside = tmp_path / "project"
    inside.mkdir()
    (tmp_path / "secret.log").write_text("outside\n", encoding="utf-8")
    (inside / "train.log").write_text("one\ntwo\n", encoding="utf-8")
    (inside / "model.bin").write_bytes(b"\0\1\2")
    return inside


def connect(place, era, folder, toys):
    stdio = StdioServerParameters(command=sys.executable, args=["-P", str(TOY_SERVER)], cwd=folder)
    return Client(build(toys.TOOLS, Workspace.of_a_server(folder)) if place == "memory" else stdio, mode=era)


@pytest.fixture(params=["auto", "legacy"])
async def client(request, folder, toys):
    """A client in the same process; `auto` settles on 2026-07-28, `legacy` on 2025-11-25."""
    async with connect("memory", request.param, folder, toys) as client:
        yield client


@pytest.fixture(params=["memory-auto", "memory-legacy", "stdio-auto", "stdio-legacy"])
async def any_client(request, folder, toys):
    """The same, and across a real pipe."""
    async with connect(*request.param.split("-"), folder, toys) as client:
        yield client


async def test_the_menu_states_each_tool_and_what_it_does_to_the_world(client):
    tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert list(tools) == ["add", "read_log", "crash", "leave", "count", "work"]
    assert tools["add"].description == "Add numbers."
    assert tools["add"].input_schema["additionalProperties"] is False
    assert tools["add"].annotations.read_only_hint and not tools["count"].annotations.read_only_hint
    assert tools["add"].output_schema is None  # it is a resource instead


async def test_a_call_answers_in_words_and_in_structure(client):
    result = await client.call_tool("add", {"numbers": [1, 2]})
    assert result.structured_content == {"total": 3.0} and result.content[0].text == '{"total":3.0}'


async def test_prints_of_a_tool_stay_out_of_the_protocol(any_client):
    result = await any_client.call_tool("add", {"numbers": [4], "loudly": True})
    assert result.structured_content == {"total": 4.0}


async def test_a_figure_json_cannot_hold_becomes_null(client):
    result = await client.call_tool("add", {"numbers": [10], "scale": 1e308})
    assert result.structured_content == {"total": None}


BAD = [
    ("add", {"numbers": [1], "nubmers": [2]}, ["'nubmers'", "unknown"]),
    ("add", {"numbers": ["x"]}, ["'numbers.0'", "integer", "got x"]),
    ("add", {"numbers": [1], "mode": "wild"}, ["'mode'", "'exact' or 'rough'", "object", "got wild"]),
    ("add", {}, ["'numbers'", "missing"]),
    ("read_log", {"path": "trian.log"}, ["No such file", "train.log"]),
    ("read_log", {"path": "."}, ["folder"]),
    ("read_log", {"path": "model.bin"}, ["no text file"]),
    ("read_log", {"path": "../secret.log"}, ["outside the workspace"]),
    ("read_log", {"path": "/etc/passwd"}, ["outside the workspace"]),
    ("ad", {}, ["No such tool", "add"]),
    ("crash", {}, ["failed inside"]),
    ("leave", {}, ["failed inside"]),
]


async def test_bad_input_is_one_sentence_and_the_server_lives_on(any_client):
    for name, arguments, words in BAD:
        result = await any_client.call_tool(name, arguments)
        text = result.content[0].text
        assert result.is_error and "\n" not in text and "Traceback" not in text and "hunter2" not in text
        assert all(word in text for word in words), text
    assert not (await any_client.call_tool("read_log", {"path": "train.log"})).is_error


async def test_progress_reaches_the_client(any_client):
    seen = []

    async def note(done, total, message):
        seen.append((done, total, message))

    await any_client.call_tool("count", {"steps": 3}, progress_callback=note)
    assert seen[:2] == [(1, 3, "step 1"), (2, 3, "step 2")]


async def test_concurrent_calls_keep_their_progress_apart(client):
    seen: dict[int, list[float]] = {5: [], 9: []}

    async def work(steps):
        async def note(done, total, message):
            seen[steps].append(total)

        await client.call_tool("count", {"steps": steps}, progress_callback=note)

    async with anyio.create_task_group() as group:
        for steps in seen:
            group.start_soon(work, steps)
    assert all(totals and set(totals) == {steps} for steps, totals in seen.items())


async def test_every_prompt_leads_to_triage_first(client):
    prompts = {prompt.name: prompt for prompt in (await client.list_prompts()).prompts}
    assert set(prompts) == set(JOURNEYS)
    for name in prompts:
        got = await client.get_prompt(name, {"log_path": "train.log"})
        text = got.messages[0].content.text
        assert "log_path: train.log" in text and "1. Call triage_constraint first" in text
    with pytest.raises(MCPError, match="out_of_memory"):
        await client.get_prompt("nope")


async def test_the_schema_of_a_report_is_a_resource(client):
    templates = (await client.list_resource_templates()).resource_templates
    assert [template.uri_template for template in templates] == ["report-schema://{tool}", "report://{job}"]
    content = (await client.read_resource("report-schema://add")).contents[0]
    assert '"total"' in content.text
    with pytest.raises(MCPError, match="No such resource"):
        await client.read_resource("report-schema://nope")


async def test_the_roots_of_a_client_narrow_the_workspace(folder, toys):
    sub = folder / "sub"
    sub.mkdir()
    (sub / "inner.log").write_text("x\n", encoding="utf-8")

    async def roots(context):
        return ListRootsResult(roots=[Root(uri=sub.as_uri())])

    app = build(toys.TOOLS, Workspace.of_a_server(folder))
    async with Client(app, mode="legacy", list_roots_callback=roots) as client:
        assert not (await client.call_tool("read_log", {"path": "inner.log"})).is_error
        assert (await client.call_tool("read_log", {"path": str(folder / "train.log")})).is_error


async def test_a_client_that_never_names_its_roots_is_not_waited_for(folder, toys, monkeypatch):
    monkeypatch.setattr("optimizing_resources.server.roots.ROOTS_SECONDS", 0.05)

    async def silence(context):
        await anyio.sleep(60)

    app = build(toys.TOOLS, Workspace.of_a_server(folder))
    with anyio.fail_after(10):
        async with Client(app, mode="legacy", list_roots_callback=silence) as client:
            assert not (await client.call_tool("read_log", {"path": "train.log"})).is_error


def test_the_instructions_are_short():
    assert len(INSTRUCTIONS.split()) < 120
