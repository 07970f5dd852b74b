"""`serve`: the MCP server over stdio, or over HTTP."""

import gc
import logging
import os
import signal
import sys
import threading
from argparse import ArgumentTypeError, Namespace
from pathlib import Path

import anyio
from mcp.server.stdio import stdio_server

from ..tools import load_tools
from ..tools._core.contract import Tool, ToolError
from ..tools._core.leftovers import own_scratch, sweep
from ..tools._core.warm import keep_warm
from ..tools._core.workspace import Workspace
from .app import App, build
from .jobs import PER_CLIENT, Jobs
from .options import Parser

_GRACE_SECONDS = 1.0  # to end children after SIGTERM; hosts follow up with SIGKILL after two seconds


def serve(typed: list[str]) -> int:
    """Serve until standard input closes or the process is ended."""
    options = _parser().parse_args(typed)
    folders = [Path(folder) for folder in [options.workspace, *options.allow] if folder]
    for folder in folders:
        if not folder.is_dir():
            raise ToolError("A workspace must be a folder", saw=str(folder), try_next="an existing folder")
    workspace = Workspace.of_a_server(
        Path(options.workspace) if options.workspace else None,
        tuple(Path(folder) for folder in options.allow),
    )
    sweep(workspace)
    own_scratch()
    keep_warm()
    app = build(_offered(options.only), workspace, jobs=Jobs(options.jobs))
    gc.freeze()  # what was imported stays: the collector need not look at it again
    gc.enable()
    if options.http:
        _over_http(app, options, workspace)
    else:
        logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
        anyio.run(over_stdio, app)
    return 0


def _parser() -> Parser:
    made = Parser(prog="optimizing-resources serve", description="Serve the tools to MCP hosts.")
    made.add_argument(
        "--workspace", metavar="DIR", help="the folder that tools may read and write (default: .)"
    )
    made.add_argument("--allow", metavar="DIR", action="append", default=[], help="a further such folder")
    made.add_argument(
        "--only", metavar="TOOLS", help="offer these tools alone: names with commas between them"
    )
    made.add_argument(
        "--jobs",
        metavar="N",
        type=_count,
        default=PER_CLIENT,
        help=f"jobs of a client at once (default: {PER_CLIENT})",
    )
    made.add_argument("--http", action="store_true", help="streamable HTTP at /mcp instead of stdio")
    http = made.add_argument_group("with --http (references/serving.md)")
    http.add_argument("--host", default="127.0.0.1", help="where to listen (default: 127.0.0.1)")
    http.add_argument("--port", type=int, default=8765, help="default: 8765")
    http.add_argument(
        "--url", help="the address by which clients reach it, such as https://gpu.example.org/mcp"
    )
    http.add_argument("--tokens", metavar="FILE", help="who may connect: the file that `token NAME` writes")
    http.add_argument(
        "--issuer", metavar="URL", help="an OAuth authorization server whose tokens are taken too"
    )
    http.add_argument(
        "--introspection", metavar="URL", help="where that server is asked about a token (RFC 7662)"
    )
    http.add_argument(
        "--sessions", metavar="N", type=_count, default=64, help="sessions of a client (default: 64)"
    )
    return made


def _count(text: str) -> int:
    """At least one: with none every call would wait for ever."""
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"a whole number from 1 on is wanted, not {text!r}")
    return int(text)


def _offered(only: str | None) -> dict[str, Tool]:
    tools = load_tools()
    names = only.split(",") if only else list(tools)
    for name in names:
        if name not in tools:
            raise ToolError("No such tool", saw=name, try_next=f"some of {','.join(tools)}")
    return {name: tools[name] for name in names}


def _over_http(app: App, options: Namespace, workspace: Workspace) -> None:
    from .over_http import Door, serve_http  # uvicorn: 0.1 s, for HTTP only

    door = Door(
        host=options.host,
        port=options.port,
        url=options.url,
        tokens=Path(options.tokens) if options.tokens else None,
        issuer=options.issuer,
        introspection=options.introspection,
        sessions=options.sessions,
    )
    serve_http(app, door, workspace)


async def over_stdio(app: App) -> None:
    """Answer one client on standard input and output until it hangs up."""
    async with anyio.create_task_group() as group:
        if sys.platform != "win32":  # where asyncio hears no signals
            group.start_soon(_end_when_told, group.cancel_scope)
        async with stdio_server() as (reader, writer):
            await app.run(reader, writer, app.create_initialization_options())
        group.cancel_scope.cancel()


async def _end_when_told(scope: anyio.CancelScope) -> None:
    """On SIGTERM cancel what runs, so that tools end their children, which the signal alone would leave behind."""
    with anyio.open_signal_receiver(signal.SIGTERM) as signals:
        async for number in signals:
            exit_anyway = threading.Timer(_GRACE_SECONDS, os._exit, [128 + number])
            exit_anyway.daemon = True
            exit_anyway.start()  # the thread that reads standard input cannot be interrupted
            scope.cancel()
            return
