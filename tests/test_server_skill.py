"""The skill's files as resources and through the Skills extension."""

import hashlib
from pathlib import Path

import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError
from optimizing_resources.server.app import build
from optimizing_resources.server.skill import front_matter, skill_files
from optimizing_resources.tools._core.workspace import Workspace

pytestmark = pytest.mark.anyio
SKILL = """\
---
name: optimizing-resources
description: "Finds the constraint: memory, time or money. Use when \\"out of memory\\"."
license: Apache-2.0
metadata:
  version: "0.1.0"
  note: 'it''s quoted'
---
# Optimizing resources
"""
ROOT = "skill://optimizing-resources"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "references").mkdir()
    (tmp_path / "SKILL.md").write_text(SKILL, encoding="utf-8")
    (tmp_path / "references/memory.md").write_text("# Memory of a step\n", encoding="utf-8")
    (tmp_path / "references/notes.txt").write_text("no page", encoding="utf-8")
    return tmp_path


@pytest.fixture
def app(folder):
    return build({}, Workspace.of_a_server(folder), skill=folder)


async def extension(app, method, **params):
    """Call an extension method as the server would."""
    entry = app.get_request_handler(method)
    return await entry.handler(None, entry.params_type.model_validate(params))


async def test_the_skill_and_its_references_are_resources(app):
    async with Client(app) as client:
        listed = {str(r.uri): r for r in (await client.list_resources()).resources}
        assert list(listed) == [f"{ROOT}/SKILL.md", f"{ROOT}/references/memory.md"]
        assert listed[f"{ROOT}/SKILL.md"].description.startswith("Finds the constraint: memory")
        assert listed[f"{ROOT}/references/memory.md"].description == "Memory of a step"
        assert (await client.read_resource(f"{ROOT}/SKILL.md")).contents[0].text == SKILL
        for uri in (f"{ROOT}/../pyproject.toml", f"{ROOT}/references/notes.txt", "file:///etc/passwd"):
            with pytest.raises(MCPError, match="No such resource"):
                await client.read_resource(uri)


async def test_the_extension_lists_the_skill_with_digests(app, folder):
    (entry,) = (await extension(app, "skills/list"))["skills"]
    page = (folder / "references/memory.md").read_bytes()
    assert entry["frontmatter"]["metadata"] == {"version": "0.1.0", "note": "it's quoted"}
    assert entry["resources"][1]["digest"] == f"sha256:{hashlib.sha256(page).hexdigest()}"
    assert entry["resources"][1]["size"] == len(page)
    assert (await extension(app, "skills/get", uri=f"{ROOT}/SKILL.md"))["skill"] == entry
    with pytest.raises(MCPError):
        await extension(app, "skills/get", uri=f"{ROOT}/references/memory.md")


async def test_its_folders_can_be_read(app):
    top = (await extension(app, "resources/directory/read", uri=ROOT))["resources"]
    assert [(r["name"], r["mimeType"]) for r in top] == [
        ("SKILL.md", "text/markdown"),
        ("references", "inode/directory"),
    ]
    pages = (await extension(app, "resources/directory/read", uri=top[1]["uri"]))["resources"]
    assert [r["uri"] for r in pages] == [f"{ROOT}/references/memory.md"]
    with pytest.raises(MCPError):
        await extension(app, "resources/directory/read", uri=f"{ROOT}/nowhere")


async def test_a_checkout_without_a_skill_lists_none(tmp_path):
    app = build({}, Workspace.of_a_server(tmp_path), skill=tmp_path)
    assert (await extension(app, "skills/list"))["skills"] == []


def test_front_matter_is_read_as_the_skill_validator_reads_it(folder):
    from skills_ref import read_properties

    own = Path(__file__).resolve().parents[1]
    for root in [folder, *([own] if (own / "SKILL.md").exists() else [])]:
        fields = front_matter((root / "SKILL.md").read_text(encoding="utf-8"))
        read = read_properties(root)
        assert (fields["name"], fields["description"]) == (read.name, read.description)
        assert fields.get("metadata", {}) == read.metadata
    assert skill_files(folder)
