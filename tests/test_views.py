"""Pages of Reports: what stands in them, what can never be in them, and how hosts and the command line get them."""

import base64
import hashlib
import json
import re
import shutil
import subprocess
from contextlib import closing
from importlib.resources import files
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcp import Client
from mcp.client.extension import advertise
from optimizing_resources.server import cli
from optimizing_resources.server.app import build
from optimizing_resources.server.apps import BESIDE, EXTENSION, MIME_TYPE, SCHEME
from optimizing_resources.server.views import SHOWN, app_page, beside, written_page
from optimizing_resources.tools import load_commands, load_tools
from optimizing_resources.tools._core.contract import CALL
from optimizing_resources.tools._core.data_block import data_block, read_data_block
from optimizing_resources.tools._core.ledger import Run, append, ledger_path, open_ledger
from optimizing_resources.tools._core.workspace import Workspace
from optimizing_resources.tools._series.picture import chart

ROOT = Path(__file__).resolve().parents[1]
SAMPLES = sorted((ROOT / "tests/samples/views").glob("*.json"))
ASSETS = files("optimizing_resources.server.views").joinpath("assets")
OURS = [p for p in (ROOT / "server/views/assets").rglob("*.js") if "vendor" not in p.parts]
MOST_BYTES = 400_000
UPLOT = (
    "1.6.32",
    "19c8d4c6ad88929a",
)  # the file as its authors published it: version, and the start of its SHA-256
SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)


def page_of(sample: Path) -> str:
    found = json.loads(sample.read_text(encoding="utf-8"))
    return written_page(found["tool"], found["arguments"], found["report"], found["beside"])


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda p: p.stem)
def test_the_samples_are_reports_of_the_tools_of_today(sample):
    found = json.loads(sample.read_text(encoding="utf-8"))
    report = {**load_tools(), **load_commands()}[found["tool"]].report
    assert report.model_validate(found["report"])


def test_there_is_a_sample_and_a_view_for_each_tool_that_hosts_are_shown():
    views = "".join(path.read_text(encoding="utf-8") for path in OURS)
    assert set(SHOWN) <= set(load_tools()) & {path.stem for path in SAMPLES}
    assert set(SHOWN) <= set(re.findall(r"^VIEWS\.(\w+) = ", views, flags=re.M))


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda p: p.stem)
def test_a_page_is_whole_small_and_fetches_nothing(sample):
    page = page_of(sample)
    assert len(page.encode()) < MOST_BYTES
    assert "default-src 'none'" in page and not re.search(
        r"""(src|href|url)\s*[=(]\s*["']?(https?:)?//""", page
    )
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]
    for script in SCRIPT.findall(page):
        digest = hashlib.sha256(script.encode()).digest()
        assert f"'sha256-{base64.b64encode(digest).decode()}'" in policy
    assert "unsafe" not in policy


def test_nothing_of_ours_reads_text_as_markup_or_code():
    markup = re.compile(
        r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|new Function|srcdoc|createContextual"
    )
    assert not [path.name for path in OURS if markup.search(path.read_text(encoding="utf-8"))]


def test_markup_in_a_report_stays_text():
    quote = "</script><script>alert(1)</script><!--<script>"
    page = written_page("triage_constraint", {}, {"evidence": [{"quote": quote}]}, {})
    assert len(re.findall("<script", page)) == len(re.findall("<script", app_page("triage_constraint")))
    assert read_data_block(page)["report"]["evidence"][0]["quote"] == quote


SCALARS = st.none() | st.booleans() | st.integers() | st.text()


@given(st.recursive(SCALARS, lambda one: st.lists(one) | st.dictionaries(st.text(), one), max_leaves=6))
@settings(max_examples=60, deadline=None)
def test_what_a_picture_carries_is_read_back(data):
    block = data_block(data)
    assert read_data_block(f"<svg>{block}</svg>") == data
    assert not set("<>&") & set(
        block.removeprefix('<metadata id="data" hidden="">').removesuffix("</metadata>")
    )


@pytest.mark.skipif(not shutil.which("node"), reason="node is not installed")
def test_the_scripts_parse(tmp_path):
    whole = tmp_path / "page.js"
    whole.write_text(SCRIPT.findall(app_page("ledger"))[1], encoding="utf-8")
    done = subprocess.run(["node", "--check", str(whole)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_chart_library_is_the_published_one_with_its_licence():
    library = ASSETS.joinpath("vendor/uPlot.iife.min.js").read_bytes()
    version, digest = UPLOT
    assert f"(v{version})".encode() in library[:100]
    assert hashlib.sha256(library).hexdigest().startswith(digest)
    assert "MIT" in ASSETS.joinpath("vendor/uPlot.LICENSE").read_text(encoding="utf-8")
    assert f"uPlot {version} (MIT)" in (ROOT / "NOTICE").read_text(encoding="utf-8")


def test_a_picture_that_is_gone_is_left_out(tmp_path):
    workspace = Workspace.of_the_caller(tmp_path)
    assert beside("estimate_memory", {"timeline_path": str(tmp_path / "gone.html")}, workspace) == {}
    (tmp_path / "other.html").write_text('<metadata id="data">{</metadata>', encoding="utf-8")
    assert beside("estimate_memory", {"timeline_path": str(tmp_path / "other.html")}, workspace) == {}
    assert beside("review_evidence", {"before": ["m0"], "after": ["m1"]}, workspace) == {"runs": []}


@pytest.fixture
def typed(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        token = CALL.set(None)
        status = cli.main(list(arguments))
        CALL.reset(token)
        return status, *capsys.readouterr()

    return run


@pytest.mark.parametrize(
    "form",
    [
        ["triage_constraint", "--text", "No space left on device"],
        ["call", "triage_constraint", '{"text": "No space left on device"}'],
    ],
)
def test_the_command_line_writes_a_page_and_answers_as_ever(typed, tmp_path, form):
    status, out, error = typed(*form, "--html", "page.html")
    assert (status, out) == typed(*form)[:2] and "page.html" in error
    data = read_data_block((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert (data["tool"], data["arguments"]) == ("triage_constraint", {"text": "No space left on device"})
    assert data["report"]["constraint"] == "disk"


def test_a_page_for_a_folder_that_is_not_there_is_refused_before_anything_runs(typed):
    status, out, error = typed("measure_run", "true", "--html", "nowhere/page.html")
    assert (status, out) == (2, "") and "nowhere/page.html" in error and "folder" in error


@pytest.mark.anyio
@pytest.mark.parametrize("era", ["auto", "legacy"])
async def test_a_host_finds_the_page_of_a_tool(era, tmp_path):
    async with Client(build(load_tools(), Workspace.of_a_server(tmp_path)), mode=era) as client:
        tools = {tool.name: tool.meta for tool in (await client.list_tools()).tools}
        assert tools == {name: {"ui": {"resourceUri": SCHEME + name}} for name in tools}
        listed = {
            str(r.uri): r for r in (await client.list_resources()).resources if str(r.uri).startswith("ui:")
        }
        assert set(listed) == {SCHEME + name for name in tools}
        page = (await client.read_resource(SCHEME + "estimate_cost")).contents[0]
    assert page.mime_type == listed[SCHEME + "estimate_cost"].mime_type == MIME_TYPE
    assert page.text == app_page("estimate_cost") and page.meta["ui"]["csp"] == {}


@pytest.mark.anyio
async def test_only_a_host_that_shows_pages_is_sent_what_they_show_beside_the_report(tmp_path):
    workspace = Workspace.of_a_server(tmp_path)
    run = {"tool": "measure_run", "taken_at": "", "outcome": "finished", "device": "d", "workload": "w"}
    with closing(open_ledger(ledger_path(workspace))) as ledger:
        for name in ("m0", "m1"):
            append(ledger, Run(id=name, **run, report={"loss": [2.0, 1.0]}))
    given = {"before": ["m0"], "after": ["m1"]}
    app = build(load_tools(), workspace)
    shows = [advertise(EXTENSION, {"mimeTypes": [MIME_TYPE]})]
    async with Client(app) as plain, Client(app, extensions=shows) as host:
        without, with_page = [await one.call_tool("review_evidence", given) for one in (plain, host)]
    assert without.structured_content == with_page.structured_content and BESIDE not in (without.meta or {})
    runs = with_page.meta[BESIDE]["runs"]
    assert [(run["id"], run["loss"]) for run in runs] == [("m0", [2.0, 1.0]), ("m1", [2.0, 1.0])]


def test_pictures_carry_their_curves(tmp_path):
    picture = chart(
        [("shop <1>", [("history", np.array([1.0, np.nan]), 0), ("forecast", np.array([2.0]), 2)])]
    )
    path = tmp_path / "forecast.svg"
    path.write_bytes(picture)
    (tmp_path / "forecast.csv").write_text(
        "unique_id,ds,mean,lo-80,hi-80\nshop <1>,3,2,1,3\nx,3,2,1,3\n", "utf-8"
    )
    report = {"picture_path": str(path), "forecast_path": str(tmp_path / "forecast.csv")}
    assert beside("compare_baselines", report, Workspace.of_the_caller(tmp_path)) == {
        "curves": [["shop <1>", [["history", [1.0, None], 0], ["forecast", [2.0], 2]]]],
        "forecast": {"shop <1>": [["3", 2.0, 1.0, 3.0]]},
    }
    assert ElementTree.fromstring(picture).tag.endswith("svg")
