"""What a host can read: the skill's files, the pages of tools, and the schema of each tool's Report."""

import json
from collections.abc import Mapping
from importlib.resources.abc import Traversable
from typing import Any

from mcp.server import Server
from mcp.shared.exceptions import MCPError
from mcp.types import (
    INVALID_PARAMS,
    ListResourcesResult,
    ListResourceTemplatesResult,
    PaginatedRequestParams,
    ReadResourceRequestParams,
    ReadResourceResult,
    RequestParams,
    Resource,
    ResourceTemplate,
    TextResourceContents,
)

from ..tools._core.contract import Tool, output_schema
from ..tools._core.workspace import Workspace
from .apps import view_resource, view_resources
from .clients import client_workspace
from .kept import SCHEME, kept_report
from .skill import directory, front_matter, skill_entry, skill_files

_EXTENSION = "io.modelcontextprotocol/skills"
_SCHEMAS = "report-schema://"
_COMPLETE = {"resultType": "complete", "ttlMs": 3_600_000, "cacheScope": "public"}


class _ByUri(RequestParams):
    uri: str


def serve_resources(
    app: Server[Any], root: Traversable, tools: Mapping[str, Tool], workspace: Workspace
) -> None:
    """Let `app` answer for the skill's files (also through the Skills extension), pages, schemas and kept reports."""

    async def list_resources(context: Any, params: Any) -> ListResourcesResult:
        skill = [_resource(*item) for item in skill_files(root).items()]
        return ListResourcesResult(resources=[*skill, *view_resources(list(tools))])

    async def list_templates(context: Any, params: Any) -> ListResourceTemplatesResult:
        return ListResourceTemplatesResult(resource_templates=_TEMPLATES)

    async def read(context: Any, params: Any) -> ReadResourceResult:
        uri = str(params.uri)
        if uri.startswith(SCHEME):
            return _kept(uri, await client_workspace(context, workspace))
        if page := view_resource(uri, list(tools)):
            return page
        tool = tools.get(uri.removeprefix(_SCHEMAS)) if uri.startswith(_SCHEMAS) else None
        if tool:
            text, kind = json.dumps(output_schema(tool.report)), "application/schema+json"
        else:
            text, kind = _known(skill_files(root), uri).decode("utf-8"), "text/markdown"
        return ReadResourceResult(contents=[TextResourceContents(uri=uri, mime_type=kind, text=text)])

    async def list_skills(context: Any, params: Any) -> dict[str, Any]:
        files = skill_files(root)
        return {"skills": [skill_entry(files)] if files else [], **_COMPLETE}

    async def get_skill(context: Any, params: _ByUri) -> dict[str, Any]:
        files = skill_files(root)
        _known({uri: content for uri, content in files.items() if uri.endswith("/SKILL.md")}, params.uri)
        return {"skill": skill_entry(files), **_COMPLETE}

    async def read_directory(context: Any, params: _ByUri) -> dict[str, Any]:
        found = directory(skill_files(root), params.uri)
        return {"resources": found or _known({}, params.uri), **_COMPLETE}

    app.extensions[_EXTENSION] = {"directoryRead": True}
    app.add_request_handler("resources/list", PaginatedRequestParams, list_resources)
    app.add_request_handler("resources/templates/list", PaginatedRequestParams, list_templates)
    app.add_request_handler("resources/read", ReadResourceRequestParams, read)
    app.add_request_handler("skills/list", PaginatedRequestParams, list_skills)
    app.add_request_handler("skills/get", _ByUri, get_skill)
    app.add_request_handler("resources/directory/read", _ByUri, read_directory)


_TEMPLATES = [
    ResourceTemplate(
        uri_template=_SCHEMAS + "{tool}",
        name="report_schema",
        description="The JSON schema of a tool's structured result.",
        mime_type="application/schema+json",
    ),
    ResourceTemplate(
        uri_template=SCHEME + "{job}",
        name="kept_report",
        description="The answer of a long call whose connection was lost; without a job, which answers there are.",
        mime_type="application/json",
    ),
]


def _kept(uri: str, workspace: Workspace) -> ReadResourceResult:
    text = kept_report(workspace, uri.removeprefix(SCHEME))
    if text is None:
        raise MCPError(INVALID_PARAMS, f"No such report: {uri}; {SCHEME} lists those there are", {"uri": uri})
    contents = [TextResourceContents(uri=uri, mime_type="application/json", text=text)]
    return ReadResourceResult(contents=contents, ttl_ms=0, cache_scope="private")


def _resource(uri: str, content: bytes) -> Resource:
    text = content.decode("utf-8")
    if uri.endswith("/SKILL.md"):
        fields = front_matter(text)
        name, described = fields["name"], fields["description"]
    else:
        name = uri.rpartition("/")[2]
        described = next((line[2:] for line in text.splitlines() if line.startswith("# ")), name)
    return Resource(uri=uri, name=name, description=described, mime_type="text/markdown", size=len(content))


def _known(files: Mapping[str, bytes], uri: str) -> bytes:
    if uri not in files:
        raise MCPError(INVALID_PARAMS, f"No such resource: {uri}", {"uri": uri})
    return files[uri]
