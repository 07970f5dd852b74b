"""`serve`: the MCP server over stdio, or over HTTP on this machine only."""

import gc
import logging
import os
import signal
import sys
import threading
from pathlib import Path

import anyio
from mcp.server.stdio import stdio_server

from ..tools import load_tools
from ..tools._core.contract import ToolError
from ..tools._core.workspace import Workspace
from .app import App, build
from .options import Parser

LOOPBACK = ("127.0.0.1", "localhost", "::1")  # for which the SDK checks Host and Origin (DNS rebinding)
_GRACE_SECONDS = 1.0  # to end children after SIGTERM; hosts follow up with SIGKILL after two seconds


def serve(typed: list[str]) -> int:
    """Serve until standard input closes or the process is ended."""
    options = _parser().parse_args(typed)
    folders = [Path(folder) for folder in [options.workspace, *options.allow] if folder]
    for folder in folders:
        if not folder.is_dir():
            raise ToolError("A workspace must be a folder", saw=str(folder), try_next="an existing folder")
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    workspace = Workspace.of_a_server(
        Path(options.workspace) if options.workspace else None,
        tuple(Path(folder) for folder in options.allow),
    )
    app = build(load_tools(), workspace)
    gc.freeze()  # what was imported stays: the collector need not look at it again
    gc.enable()
    if options.http:
        return _over_http(app, options.host, options.port)
    anyio.run(over_stdio, app)
    return 0


def _parser() -> Parser:
    made = Parser(prog="optimizing-resources serve", description="Serve the tools to MCP hosts.")
    made.add_argument(
        "--workspace", metavar="DIR", help="the folder that tools may read and write (default: .)"
    )
    made.add_argument("--allow", metavar="DIR", action="append", default=[], help="a further such folder")
    made.add_argument("--http", action="store_true", help="streamable HTTP at /mcp instead of stdio")
    made.add_argument("--host", default="127.0.0.1", help="a loopback address (default: 127.0.0.1)")
    made.add_argument("--port", type=int, default=8765, help="default: 8765")
    return made


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


def _over_http(app: App, host: str, port: int) -> int:
    if host not in LOOPBACK:
        raise ToolError(
            "HTTP is served to this machine only, since it asks nobody for a password",
            saw=host,
            try_next="--host 127.0.0.1, and a tunnel such as `ssh -L` from elsewhere",
        )
    import uvicorn  # 0.1 s, for HTTP only

    print(f"serving http://{host}:{port}/mcp", file=sys.stderr)
    uvicorn.run(app.streamable_http_app(host=host), host=host, port=port, log_level="warning")
    return 0
