"""What hosts are told about the real tools: reviewed as golden files, and small."""

import json
from pathlib import Path

import pytest
from optimizing_resources.server.app import entry
from optimizing_resources.tools import load_commands, load_tools
from optimizing_resources.tools._core.contract import input_schema

SCHEMAS = Path(__file__).with_name("golden") / "schemas"
MENU_BYTES = 16 * 1024
TOOL_BYTES = {"quantize_model": 1700}  # it has eighteen fields
MOST_BYTES = 1400
TOOLS = load_tools()


def published(tool):
    return entry(tool).model_dump(mode="json", by_alias=True, exclude_none=True)


def size(tool):
    told = published(tool)
    return sum(
        len(json.dumps(told[key], separators=(",", ":")).encode())
        for key in ("name", "description", "inputSchema")
    )


@pytest.mark.parametrize("name", TOOLS)
def test_the_published_form_of_a_tool_is_the_reviewed_one(name, golden):
    text = json.dumps(published(TOOLS[name]), indent=1, ensure_ascii=False)
    golden(SCHEMAS / f"{name}.json", text + "\n")


def test_no_reviewed_form_is_left_of_a_tool_that_is_gone():
    assert {path.stem for path in SCHEMAS.glob("*.json")} <= set(TOOLS)


@pytest.mark.parametrize("name", TOOLS)
def test_a_tool_is_told_in_few_words(name):
    assert size(TOOLS[name]) <= TOOL_BYTES.get(name, MOST_BYTES)


def test_the_whole_menu_stays_within_its_budget():
    assert sum(size(tool) for tool in TOOLS.values()) <= MENU_BYTES


@pytest.mark.parametrize("name", TOOLS)
def test_every_type_of_a_field_is_one_word_and_none_is_null(name):
    text = json.dumps(published(TOOLS[name])["inputSchema"])
    assert (
        '"type": [' not in text and '"null"' not in text
    )  # what dialects without those would refuse or drop


@pytest.mark.parametrize("command", [*TOOLS.values(), *load_commands().values()], ids=lambda c: c.name)
def test_every_field_is_described_and_free_for_an_option(command):
    fields = input_schema(command.request).get("properties", {})
    assert all("description" in field for field in fields.values())
    assert not set(fields) & {"json", "workspace", "html", "help", "_json", "_workspace", "_html"}
    assert set(command.positional) <= set(fields)
