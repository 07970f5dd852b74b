"""SKILL.md: its tables come from the code, its form passes the public rules, its triggers and near misses are there."""

import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from optimizing_resources.server import serve
from optimizing_resources.server.skill import front_matter
from optimizing_resources.tools import load_tools
from optimizing_resources.tools._remedies import SYMPTOMS, ordered

ROOT = Path(__file__).resolve().parents[1]
SKILL = ROOT / "SKILL.md"


def constraints_table() -> str:
    rows = [
        f"| {said} | `{name}` | {', '.join(ordered(name, None)[:3])} |" for name, said in SYMPTOMS.items()
    ]
    return "\n".join(["| symptom | constraint | first remedies |", "|---|---|---|", *rows])


def tools_table() -> str:
    rows = [f"| `{tool.name}` | {tool.summary} |" for tool in load_tools().values()]
    return "\n".join(["| tool | what it gives |", "|---|---|", *rows])


@pytest.mark.parametrize(
    ("page", "name", "table"),
    [
        (SKILL, "constraints", constraints_table),
        (SKILL, "tools", tools_table),
        (ROOT / "README.md", "tools", tools_table),
    ],
)
def test_the_tables_of_skill_and_readme_are_those_of_the_code(
    page: Path, name: str, table: Callable[[], str], golden: Callable[[Path, str], None]
) -> None:
    text = page.read_text(encoding="utf-8")
    start, end = f"<!-- table: {name} -->\n", "<!-- end -->"
    head, rest = text.split(start, 1)
    golden(page, head + start + table() + "\n" + end + rest.split(end, 1)[1])


def test_the_skill_keeps_to_the_form_that_hosts_demand():
    text = SKILL.read_text(encoding="utf-8")
    fields = front_matter(text)
    assert fields["name"] == "optimizing-resources"
    assert len(fields["description"]) <= 1024
    assert text.count("\n") < 200


@pytest.mark.parametrize(
    "phrase",
    [
        "out of memory", "OOM", "too slow", "reduce cost", "small dataset", "CPU only", "optimize memory",
        "quantization", "pruning",
        "distillation", "few-shot", "low data regime", "edge deployment", "cheap alternative", "limited GPU",
        "optimize inference", "budget constraint", "cheaper instance",
        "designing-ts-architectures", "operating-sagemaker", "facilitating-experiments",
    ],
)  # fmt: skip
def test_the_description_carries_each_trigger_and_each_near_miss(phrase):
    assert phrase.lower() in front_matter(SKILL.read_text(encoding="utf-8"))["description"].lower()


def test_the_version_is_the_same_everywhere():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    code = re.search(r'__version__ = "(.+)"', (ROOT / "__init__.py").read_text(encoding="utf-8"))
    registry = form("server.json")
    assert code and {
        code[1],
        front_matter(SKILL.read_text(encoding="utf-8"))["metadata"]["version"],
        registry["version"],
        *(package["version"] for package in registry["packages"]),
        form(".claude-plugin/plugin.json")["version"],
        form("manifest.json")["version"],
    } == {project}


def test_the_name_is_the_same_everywhere():
    (entry,) = form(".claude-plugin/marketplace.json")["plugins"]
    servers = {**form(".mcp.json")["mcpServers"], **form(".claude-plugin/plugin.json")["mcpServers"]}
    names = {
        entry["name"],
        form("manifest.json")["name"],
        form("server.json")["packages"][0]["identifier"],
        *servers,
    }
    assert names == {front_matter(SKILL.read_text(encoding="utf-8"))["name"]}


def test_every_form_starts_the_server_with_options_that_it_has():
    """The words after `serve`, with the places that a host fills in filled in."""
    plugin = form(".claude-plugin/plugin.json")["mcpServers"]["optimizing-resources"]
    checkout = form(".mcp.json")["mcpServers"]["optimizing-resources"]
    bundle = form("manifest.json")["server"]["mcp_config"]
    for entry in (plugin, checkout, bundle):
        words = entry["args"][entry["args"].index("optimizing-resources") + 1 :]
        assert words[0] == "serve"
        serve._parser().parse_args(words[1:])


def form(name: str) -> dict[str, Any]:
    """One of the files by which hosts and registries know us."""
    return json.loads((ROOT / name).read_text(encoding="utf-8"))
