"""Every tool with its sample call, and with paths that lead out of the workspace in each argument that takes one."""

import json
import re
import shutil
from pathlib import Path

import pytest
from mcp import Client
from optimizing_resources.server.app import build
from optimizing_resources.tools import load_tools
from optimizing_resources.tools._core.workspace import Workspace

ROOT = Path(__file__).resolve().parents[1]
CALLS = json.loads((ROOT / "tests/samples/calls.json").read_text(encoding="utf-8"))
CANARY = "CUDA out of memory in the diary of somebody else"


def path_arguments(name: str) -> list[str]:
    """The arguments of a tool that are paths by their type, or by the file that the sample call names there."""
    request = load_tools()[name].request
    typed = {field for field, about in request.model_fields.items() if "Path" in str(about.annotation)}
    named = {
        field
        for field, value in CALLS[name].items()
        if isinstance(value, str) and re.match(r"\w+\.(py|log|csv|onnx|npz)\b", value)
    }
    return sorted(typed | named)


def test_every_tool_has_a_sample_call():
    assert set(load_tools()) <= set(CALLS)
    for name, tool in load_tools().items():
        tool.request.model_validate(CALLS[name])


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("name", "argument"), [(name, argument) for name in load_tools() for argument in path_arguments(name)]
)
async def test_no_path_leads_out_of_the_workspace(name, argument, tmp_path):
    inside = tmp_path / "inside"
    shutil.copytree(ROOT / "examples/gpu_oom", inside)
    shutil.copytree(ROOT / "tests/samples", inside, dirs_exist_ok=True)
    for stub in ("missing.onnx", "missing.npz"):
        (inside / stub).write_bytes(b"stub")
    given = str(CALLS[name].get(argument, "file.csv"))
    file, colon, function = given.partition(":")
    outside = tmp_path / f"outside{Path(file).suffix}"
    outside.write_text(CANARY, encoding="utf-8")
    (inside / f"link{outside.suffix}").symlink_to(outside)
    ways = [f"../{outside.name}", str(outside), f"x/../../{outside.name}", f"link{outside.suffix}"]
    async with Client(build({name: load_tools()[name]}, Workspace.of_a_server(inside))) as client:
        for way in ways:
            result = await client.call_tool(name, {**CALLS[name], argument: way + colon + function})
            assert result.is_error and CANARY not in str(result), way
            if "extra" in result.content[0].text:
                pytest.skip(result.content[0].text)
            assert "outside the workspace" in result.content[0].text
    assert outside.read_text(encoding="utf-8") == CANARY
