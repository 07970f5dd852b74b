"""The MCP server: lists and calls whatever load_tools() finds, and knows nothing about any tool."""

import json
import logging
from typing import Any

import anyio
from mcp.server import Server
from mcp.types import CallToolResult, ListToolsResult, TextContent, ToolAnnotations
from mcp.types import Tool as ToolEntry
from pydantic import ValidationError

from ..tools import load_tools
from ..tools._core.contract import CALL, Call, Tool, ToolError, advice, input_schema
from ..tools._core.workspace import Workspace

log = logging.getLogger(__name__)


def build(workspace: Workspace) -> Server[Any]:
    """A server over every tool, whose file access is confined to `workspace`."""
    tools = load_tools()

    async def list_tools(context: Any, params: Any) -> ListToolsResult:
        return ListToolsResult(tools=[_entry(tool) for tool in tools.values()])

    async def call_tool(context: Any, params: Any) -> CallToolResult:
        def progress(done: float, total: float | None, note: str) -> None:
            anyio.from_thread.run(context.session.report_progress, done, total, note)

        try:
            if params.name not in tools:
                raise ToolError("No such tool", saw=params.name, try_next=f"one of {', '.join(tools)}")
            tool = tools[params.name]
            request = tool.request.model_validate(params.arguments or {})
            CALL.set(Call(workspace, anyio.from_thread.check_cancelled, progress))
            report = await anyio.to_thread.run_sync(tool.run, request)
        except (ToolError, ValidationError) as error:
            return _refused(advice(error))
        except Exception:
            log.exception("%s failed", params.name)
            return _refused(f"{params.name} failed inside; the traceback is on the server's stderr")
        text = TextContent(type="text", text=report.brief())
        return CallToolResult(content=[text], structured_content=json.loads(report.model_dump_json()))

    return Server("optimizing-resources", on_list_tools=list_tools, on_call_tool=call_tool)


def _entry(tool: Tool) -> ToolEntry:
    return ToolEntry(
        name=tool.name,
        description=tool.summary,
        input_schema=input_schema(tool.request),
        annotations=ToolAnnotations(
            read_only_hint=tool.effect == "reads",
            destructive_hint=tool.effect == "replaces",
            idempotent_hint=tool.effect in ("reads", "writes"),
            open_world_hint=False,
        ),
    )


def _refused(sentence: str) -> CallToolResult:
    return CallToolResult(content=[TextContent(type="text", text=sentence)], is_error=True)
