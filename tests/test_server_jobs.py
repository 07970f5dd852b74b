"""Whose turn it is, and what is left of a long call when its connection is lost."""

import json

import anyio
import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError
from optimizing_resources.server import kept
from optimizing_resources.server.app import build
from optimizing_resources.server.jobs import WAITING, Jobs
from optimizing_resources.tools._core.contract import ToolError
from optimizing_resources.tools._core.workspace import Workspace

pytestmark = pytest.mark.anyio


class Bench:
    """Jobs that last until they are told to end; `begun` and `told` are what happened so far."""

    def __init__(self, **limits):
        self.jobs, self.begun, self.told = Jobs(**limits), [], []
        self.ends = {}

    async def job(self, name):
        async def say(done, total, note):
            self.told.append((name, done))

        self.ends[name] = anyio.Event()
        async with self.jobs.turn(name[0], say):
            self.begun.append(name)
            await self.ends[name].wait()

    async def end(self, name):
        self.ends[name].set()
        await anyio.wait_all_tasks_blocked()


async def test_jobs_run_in_order_so_many_of_a_client_and_so_many_in_all():
    bench = Bench(per_client=1, in_all=2)
    async with anyio.create_task_group() as group:
        for name in ("a1", "a2", "b1", "c1"):
            group.start_soon(bench.job, name)
            await anyio.wait_all_tasks_blocked()
        assert bench.begun == ["a1", "b1"]
        assert bench.told == [("a2", -1), ("c1", -2)]
        await bench.end("b1")
        assert bench.begun[2:] == ["c1"]
        await bench.end("a1")
        assert bench.begun[3:] == ["a2"]
        for name in ("c1", "a2"):
            await bench.end(name)


async def test_a_cancelled_job_gives_up_its_place_in_line_or_at_work():
    bench, scopes = (
        Bench(per_client=1, in_all=1),
        {name: anyio.CancelScope() for name in ("z", "a", "b", "c")},
    )

    async def cancellable(name):
        with scopes[name]:
            await bench.job(name)

    async def cancel(name):
        scopes[name].cancel()
        await anyio.wait_all_tasks_blocked()

    async with anyio.create_task_group() as group:
        for name in scopes:
            group.start_soon(cancellable, name)
            await anyio.wait_all_tasks_blocked()
        await cancel("a")
        assert bench.begun == ["z"]
        await cancel("z")
        assert bench.begun == ["z", "b"]
        await bench.end("b")
        assert bench.begun == ["z", "b", "c"]
        await bench.end("c")


async def test_a_client_that_asks_for_too_many_is_refused():
    bench = Bench(per_client=1, in_all=1)
    async with anyio.create_task_group() as group:
        for number in range(WAITING + 1):
            group.start_soon(bench.job, f"a{number}")
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(ToolError, match="wait already"):
            await bench.job("a-last")
        group.cancel_scope.cancel()


async def test_the_answer_of_a_long_call_can_be_fetched_later(toys, tmp_path, monkeypatch):
    monkeypatch.setattr(kept, "LONG_SECONDS", 0.05)
    workspace = Workspace.of_a_server(tmp_path)
    workspace.store("weekly-report-2024.json", b"{}")  # an artifact of another kind
    async with Client(build(toys.TOOLS, workspace)) as client:
        for steps in (1, 10):
            await client.call_tool("count", {"steps": steps})
        (listed,) = json.loads((await client.read_resource("report://")).contents[0].text)
        assert listed["tool"] == "count" and listed["brief"] == '{"total":10.0}'
        fetched = json.loads((await client.read_resource(listed["uri"])).contents[0].text)
        assert fetched["report"] == {"total": 10.0}
        for stray in ("report://00", "report://../x", "report://*"):
            with pytest.raises(MCPError, match="No such report"):
                await client.read_resource(stray)
