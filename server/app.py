"""The MCP server: lists and calls the tools it is given, and knows nothing about any of them."""

import json
import logging
from collections.abc import Mapping
from importlib.resources.abc import Traversable
from typing import Any

import anyio
from mcp.server import Server
from mcp.server.caching import CacheableMethod, CacheHint
from mcp.types import (
    CallToolResult,
    ListToolsResult,
    TextContent,
    ToolAnnotations,
)
from mcp.types import Tool as ToolEntry
from pydantic import ValidationError

from .. import __version__, skill_root
from ..tools._core.contract import CALL, Call, Report, Tool, ToolError, advice, input_schema, read
from ..tools._core.workspace import Workspace
from .apps import EXTENSION, beside_meta, shows_pages, with_view
from .clients import client_name, client_workspace
from .jobs import Jobs
from .prompts import get_prompt, list_prompts
from .resources import serve_resources

App = Server[Any]
log = logging.getLogger(__name__)

INSTRUCTIONS = """\
Finds the ONE resource that limits a machine-learning job and the remedy that fits it. Start with triage_constraint: \
give it the error text or log path, and the script if there is one; it names the constraint with evidence and a plan \
whose steps carry tool names and arguments ready to send. Measure before and after each remedy; nothing counts as \
better until two measurements say so. Every figure carries its basis: measured, simulated, catalog or assumed. A tool \
that cannot be sure declines and says why: pass that on. Paths are relative to the workspace. The procedure is the \
resource skill://optimizing-resources/SKILL.md."""

_UNCHANGING = CacheHint(ttl_ms=3_600_000, scope="public")
_CACHED: tuple[CacheableMethod, ...] = (
    "tools/list",
    "prompts/list",
    "resources/list",
    "resources/templates/list",
    "resources/read",
)


def build(
    tools: Mapping[str, Tool],
    workspace: Workspace,
    *,
    jobs: Jobs | None = None,
    skill: Traversable | None = None,
) -> App:
    """A server over `tools`, whose file access is confined to `workspace`."""
    entries = [with_view(entry(tool)) for tool in tools.values()]
    jobs = jobs or Jobs()

    async def list_tools(context: Any, params: Any) -> ListToolsResult:
        return ListToolsResult(tools=entries)

    async def call_tool(context: Any, params: Any) -> CallToolResult:
        try:
            if params.name not in tools:
                raise ToolError("No such tool", saw=params.name, try_next=f"one of {', '.join(tools)}")
            tool = tools[params.name]
            request = read(tool.request, params.arguments or {})
            theirs = await client_workspace(context, workspace)
            CALL.set(_surroundings(context, theirs))
            say = context.session.report_progress
            answer = _answer(await jobs.run(tool, request, client_name(context), say))
            if shows_pages(context):
                meta = await anyio.to_thread.run_sync(
                    beside_meta, tool.name, answer.structured_content, theirs
                )
                return answer.model_copy(update={"meta": meta})
            return answer
        except (ToolError, ValidationError) as error:
            return _refused(advice(error))
        except (Exception, SystemExit):  # the low-level server would send the exception's own text, or end
            log.exception("%s failed", params.name)
            return _refused(f"{params.name} failed inside; the traceback is on the server's stderr.")

    app = Server(
        "optimizing-resources",
        version=__version__,
        instructions=INSTRUCTIONS,
        cache_hints=dict.fromkeys(_CACHED, _UNCHANGING),
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        on_list_prompts=list_prompts,
        on_get_prompt=get_prompt,
    )
    app.middleware.insert(0, _listed_once())
    app.extensions[EXTENSION] = {}
    serve_resources(app, skill or skill_root(), tools, workspace)
    return app


def _listed_once() -> Any:
    """Middleware: the menu is built and checked once for each version of the protocol, which takes most of its time."""
    made: dict[str, Any] = {}

    async def middleware(context: Any, call_next: Any) -> Any:
        is_plain = context.method == "tools/list" and set(context.params or {}) <= {"_meta"}
        if (
            not is_plain or context.session.client_capabilities is None
        ):  # as before a handshake, which is refused
            return await call_next(context)
        version = context.protocol_version
        if version not in made:
            made[version] = await call_next(context)
        return made[version]

    return middleware


def entry(tool: Tool) -> ToolEntry:
    """What hosts are told. The Report's schema is a resource: here it would cost every conversation its tokens."""
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


def _surroundings(context: Any, workspace: Workspace) -> Call:
    def progress(done: float, total: float | None, note: str) -> None:
        anyio.from_thread.run(context.session.report_progress, done, total, note)

    return Call(workspace, anyio.from_thread.check_cancelled, progress)


def _answer(report: Report) -> CallToolResult:
    structure = json.loads(report.model_dump_json())  # by way of text: NaN, which JSON lacks, becomes null
    return CallToolResult(
        content=[TextContent(type="text", text=report.brief())], structured_content=structure
    )


def _refused(sentence: str) -> CallToolResult:
    return CallToolResult(content=[TextContent(type="text", text=sentence)], is_error=True)
