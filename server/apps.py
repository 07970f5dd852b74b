"""MCP Apps: tools point at their pages, hosts read them as ui:// resources, and results carry what the pages need."""

from typing import Any

from mcp.types import ReadResourceResult, Resource, TextResourceContents
from mcp.types import Tool as ToolEntry

from ..tools._core.workspace import Workspace
from .views import SHOWN, app_page, beside

EXTENSION = "io.modelcontextprotocol/ui"
MIME_TYPE = "text/html;profile=mcp-app"
SCHEME = "ui://optimizing-resources/"
BESIDE = (
    "optimizing-resources/beside"  # in a result's _meta, which hosts hand to the page and not to the model
)
_UI = {"csp": {}, "prefersBorder": True}  # no domain at all: the page fetches nothing


def with_view(entry: ToolEntry) -> ToolEntry:
    """The entry, pointing at its page where there is one."""
    if entry.name not in SHOWN:
        return entry
    return entry.model_copy(update={"meta": {"ui": {"resourceUri": SCHEME + entry.name}}})


def view_resources(tools: list[str]) -> list[Resource]:
    """What a host can fetch ahead and review."""
    return [
        Resource(
            uri=SCHEME + tool,
            name=f"view_{tool}",
            description=SHOWN[tool],
            mime_type=MIME_TYPE,
            meta={"ui": _UI},
        )
        for tool in tools
        if tool in SHOWN
    ]


def view_resource(uri: str, tools: list[str]) -> ReadResourceResult | None:
    """A tool's page; None when the address is none of a page."""
    tool = uri.removeprefix(SCHEME)
    if tool not in SHOWN or tool not in tools:
        return None
    page = TextResourceContents(uri=uri, mime_type=MIME_TYPE, text=app_page(tool), meta={"ui": _UI})
    return ReadResourceResult(contents=[page])


def shows_pages(context: Any) -> bool:
    """Whether the client said that it shows pages of this kind."""
    capabilities = context.session.client_capabilities
    settings = (capabilities.extensions or {}).get(EXTENSION) if capabilities else None
    return MIME_TYPE in (settings or {}).get("mimeTypes", [])


def beside_meta(tool: str, report: dict[str, Any], workspace: Workspace) -> dict[str, Any] | None:
    """The `_meta` of a result: what its page shows beside the Report."""
    found = beside(tool, report, workspace)
    return {BESIDE: found} if found else None
