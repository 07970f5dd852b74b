"""The command line: `serve` for MCP hosts, `call` for programs."""

import json
import sys
from pathlib import Path

from pydantic import ValidationError

from ..tools import load_tools
from ..tools._core.contract import ToolError, advice


def main() -> int:
    """Run one command; 0 when it worked, 2 for what the caller can mend."""
    arguments = sys.argv[1:] or ["serve"]
    try:
        if arguments[0] == "serve":
            return _serve()
        return _call(*arguments[1:3])
    except (ToolError, ValidationError) as error:
        print(advice(error), file=sys.stderr)
        return 2


def _serve() -> int:
    import anyio
    from mcp.server.stdio import stdio_server

    from ..tools._core.workspace import Workspace
    from .app import build

    async def run() -> None:
        app = build(Workspace.of_a_server(None))
        async with stdio_server() as (reader, writer):
            await app.run(reader, writer, app.create_initialization_options())

    anyio.run(run)
    return 0


def _call(name: str, text: str) -> int:
    tools = load_tools()
    if name not in tools:
        raise ToolError("No such tool", saw=name, try_next=f"one of {', '.join(tools)}")
    source = sys.stdin.read() if text == "-" else text
    if text.startswith("@"):
        source = Path(text[1:]).read_text(encoding="utf-8")
    report = tools[name].run(tools[name].request.model_validate(json.loads(source)))
    print(report.model_dump_json())
    return 0
