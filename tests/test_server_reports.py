"""What a model has to read: the answers of the quick tools to plain calls are short, text and structure."""

import json
import shutil
from pathlib import Path

import pytest
from mcp import Client
from optimizing_resources.server.app import build
from optimizing_resources.tools import load_tools
from optimizing_resources.tools._core.workspace import Workspace

ROOT = Path(__file__).resolve().parents[1]
CALLS = json.loads((ROOT / "tests/samples/calls.json").read_text(encoding="utf-8"))
MOST_TEXT, MOST_STRUCTURE = 1500, 6000  # characters
PLAIN = [
    ("detect_hardware", {}),
    ("triage_constraint", CALLS["triage_constraint"]),
    ("triage_constraint", {"text": "RuntimeError: CUDA out of memory. Tried to allocate 2.00 GiB"}),
    ("triage_constraint", {"text": "Our training bill is too high, should we take spot machines?"}),
    ("apply_amp_patch", CALLS["apply_amp_patch"]),
    ("measure_run", CALLS["measure_run"]),
    ("estimate_cost", CALLS["estimate_cost"]),
    ("estimate_cost", {"workload": {"kind": "training", "hours": 8}}),
    (
        "estimate_cost",
        {"workload": {"kind": "inference", "requests_per_day": 5000, "seconds_per_request": 0.5}},
    ),
]


@pytest.mark.anyio
@pytest.mark.parametrize(("name", "arguments"), PLAIN, ids=lambda part: part if isinstance(part, str) else "")
async def test_an_answer_is_short(name, arguments, tmp_path):
    inside = tmp_path / "inside"
    shutil.copytree(ROOT / "examples/gpu_oom", inside)
    shutil.copytree(ROOT / "tests/samples", inside, dirs_exist_ok=True)
    async with Client(build({name: load_tools()[name]}, Workspace.of_a_server(inside))) as client:
        result = await client.call_tool(name, arguments)
    assert not result.is_error, result.content[0].text
    assert sum(len(part.text) for part in result.content if part.type == "text") <= MOST_TEXT
    assert len(json.dumps(result.structured_content)) <= MOST_STRUCTURE
