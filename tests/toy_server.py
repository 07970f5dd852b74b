"""A server over toy tools, run by path; the tests of the server and the command line share it."""

import os
import sys
import time
from pathlib import Path
from typing import Literal

import anyio
from optimizing_resources.server.app import build
from optimizing_resources.server.jobs import Jobs
from optimizing_resources.server.serve import over_stdio
from optimizing_resources.tools._core.contract import Report, Request, ToolError, current_call, tool
from optimizing_resources.tools._core.worker import Limits, run
from optimizing_resources.tools._core.workspace import Workspace
from pydantic import Field


class AddRequest(Request):
    numbers: list[int] = Field(description="What to add.")
    scale: float = Field(1.0, gt=0, description="Multiplies the sum.")
    mode: Literal["exact", "rough"] | dict[str, int] = Field("exact", description="How.")
    loudly: bool = Field(False, description="Print as well.")


class AddReport(Report):
    total: float | None


@tool(effect="reads")
def add(request: AddRequest) -> AddReport:
    """Add numbers."""
    if request.loudly:
        print("a print that must not reach the protocol")
        os.write(1, b"nor this\n")
    return AddReport(total=sum(request.numbers) * request.scale)


class ReadLogRequest(Request):
    path: Path = Field(description="A text file.")


class ReadLogReport(Report):
    lines: int


@tool(effect="reads")
def read_log(request: ReadLogRequest) -> ReadLogReport:
    """Count the lines of a log."""
    content = current_call().workspace.file(request.path).read_bytes()
    if b"\0" in content:
        raise ToolError("This is no text file", saw=str(request.path), try_next="the log's own text")
    return ReadLogReport(lines=content.count(b"\n"))


class EmptyRequest(Request):
    pass


@tool(effect="reads")
def crash(request: EmptyRequest) -> AddReport:
    """Fail in a way nobody foresaw."""
    raise RuntimeError("password=hunter2")


@tool(effect="reads")
def leave(request: EmptyRequest) -> AddReport:
    """Call sys.exit."""
    sys.exit(3)


class CountRequest(Request):
    steps: int = Field(3, description="How far to count.")


@tool(effect="trains", gains=(("toys", "no_such_toy"),))
def count(request: CountRequest) -> AddReport:
    """Count with progress."""
    call = current_call()
    for step in range(request.steps):
        call.check_cancelled()
        call.progress(step + 1, request.steps, f"step {step + 1}")
        time.sleep(0.01)
    return AddReport(total=request.steps)


class WorkRequest(Request):
    engine: Path = Field(description="An engine folder.")


@tool(effect="trains", needs=("no_such_module",))
def work(request: WorkRequest) -> AddReport:
    """Run an engine in a child process."""
    reply = run(request.engine, {}, python=Path(sys.executable), limits=Limits(seconds=60))
    return AddReport(total=reply["total"])


TOOLS = {f.tool.name: f.tool for f in (add, read_log, crash, leave, count, work)}


def main(port: str | None = None, tokens: str | None = None) -> None:
    """Serve over stdio; with a port over HTTP, where four sessions of a client are enough."""
    workspace = Workspace.of_a_server(Path.cwd())
    app = build(TOOLS, workspace, jobs=Jobs(per_client=1))
    if port:
        from optimizing_resources.server.over_http import Door, serve_http

        door = Door(port=int(port), tokens=Path(tokens) if tokens else None, sessions=4)
        serve_http(app, door, workspace)
    else:
        anyio.run(over_stdio, app)


if __name__ == "__main__":
    main(*sys.argv[1:])
