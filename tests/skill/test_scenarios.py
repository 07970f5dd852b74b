"""The reference path of each scenario, walked by a scripted client, meets its outcomes; a hasty answer does not."""

import importlib.util
import json
import re
import sys
from functools import reduce
from pathlib import Path
from types import ModuleType

import pytest
from mcp import Client
from optimizing_resources.server.app import build
from optimizing_resources.tools import load_tools
from optimizing_resources.tools._core.workspace import Workspace

pytestmark = pytest.mark.anyio
HERE = Path(__file__).parent


def scenarios() -> ModuleType:
    spec = importlib.util.spec_from_file_location("scenario", HERE / "scenario.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SCENARIO = scenarios()
MARKED = [
    pytest.param(name, marks=pytest.mark.slow if SCENARIO.read(name)["slow"] else ())
    for name in SCENARIO.names()
]


def at(place, known):
    """`triage.plan.0.remedy` among the reports so far."""
    step = lambda here, key: here[int(key)] if isinstance(here, list) else here[key]  # noqa: E731
    return reduce(step, place.split("."), known)


def filled(value, known):
    """The value with each `$place` replaced by what the reports say; `$a / $b` is their ratio."""
    if isinstance(value, dict):
        return {key: filled(inner, known) for key, inner in value.items()}
    if isinstance(value, list):
        return [filled(inner, known) for inner in value]
    if not isinstance(value, str) or not value.startswith("$"):
        return value
    first, *second = [at(place, known) for place in re.findall(r"\$([\w.-]+)", value)]
    return first / second[0] if second else first


async def walk(steps, folder, known):
    """Send the calls and make the edits of a reference path."""
    async with Client(build(load_tools(), Workspace.of_a_server(folder))) as client:
        for step in steps:
            if "pick" in step:
                rows = [row for row in at(step["pick"], known) if row[step["where"]] == step["is"]]
                known[step["as"]] = rows[0] if rows else at(step["else"], known)
            elif "write" in step:
                (folder / step["write"]).write_text(step["text"], encoding="utf-8")
            elif "edit" in step:
                text = (folder / step["edit"]).read_text(encoding="utf-8")
                assert text.count(step["find"]) == 1
                (folder / step["edit"]).write_text(text.replace(step["find"], step["put"]), encoding="utf-8")
            else:
                arguments = filled(step["arguments"], known)
                if (
                    step["call"] != "triage_constraint"
                    and "python" in load_tools()[step["call"]].request.model_fields
                ):
                    arguments["python"] = sys.executable
                result = await client.call_tool(step["call"], arguments)
                assert not result.is_error, result.content[0].text
                known[step["as"]] = result.structured_content
                for place, wanted in step.get("expect", {}).items():
                    assert at(place, known[step["as"]]) == wanted, (place, result.content[0].text)


@pytest.mark.parametrize("name", MARKED)
async def test_the_reference_path_meets_every_outcome(name, tmp_path):
    spec, folder, known = SCENARIO.read(name), tmp_path / "work", {}
    prompt = SCENARIO.prepare(name, folder)
    assert all(field in prompt for field in spec["answer"])
    await walk(spec["reference"], folder, known)
    (folder / SCENARIO.ANSWER).write_text(json.dumps(filled(spec["result"], known)), encoding="utf-8")
    missed = [outcome for outcome, holds in SCENARIO.check(name, folder).items() if not holds]
    assert not missed, (missed, filled(spec["result"], known))


@pytest.mark.parametrize("name", [name for name in SCENARIO.names() if not SCENARIO.read(name)["slow"]])
async def test_a_hasty_answer_does_not_pass(name, tmp_path):
    spec, folder = SCENARIO.read(name), tmp_path / "work"
    SCENARIO.prepare(name, folder)
    assert not all(SCENARIO.check(name, folder).values())
    assert spec["wrong"].keys() == spec["answer"].keys() == spec["result"].keys()
    (folder / SCENARIO.ANSWER).write_text(json.dumps(spec["wrong"]), encoding="utf-8")
    assert not all(SCENARIO.check(name, folder).values())


def test_the_scenarios_cover_what_the_skill_is_for():
    covered = " ".join(SCENARIO.read(name)["covers"] for name in SCENARIO.names())
    topics = (
        "CUDA", "fragmentation", "leak", "loader", "latency", "series", "cost", "no GPU", "Jetson", "hand-off",
        "not a resource",
    )  # fmt: skip
    assert len(SCENARIO.names()) >= 10 and all(topic in covered for topic in topics)
