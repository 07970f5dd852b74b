"""`ledger`: what was measured, as a table, a picture and files for other programs."""

import csv
import json
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from optimizing_resources.tools._core.contract import CALL, Call, ToolError
from optimizing_resources.tools._core.ledger import Figure, Run, append, ledger_path, open_ledger
from optimizing_resources.tools._core.workspace import Workspace
from optimizing_resources.tools.measure_run.command import LedgerRequest, ledger


@pytest.fixture
def two_runs(tmp_path):
    workspace = Workspace.of_the_caller(tmp_path)
    token = CALL.set(Call(workspace))
    opened = open_ledger(ledger_path(workspace))
    for name, seconds in (("m1", 0.5), ("m2", 0.25)):
        figures = [
            Figure(metric="step_seconds_p50", value=seconds, unit="seconds", low=seconds, high=0.6),
            Figure(metric="peak_rss_bytes", value=2**30, unit="bytes"),
        ]
        report = {"loss": [2.0, 1.5, None, 1.0], "loss_every": 1}
        usual = {
            "taken_at": "2026-01-01T00:00:00",
            "tool": "measure_run",
            "device": "a <cpu>",
            "workload": "w",
        }
        append(opened, Run(id=name, outcome="finished", figures=figures, report=report, **usual))
    opened.close()
    yield
    CALL.reset(token)


def test_an_empty_ledger_says_how_to_begin(tmp_path):
    token = CALL.set(Call(Workspace.of_the_caller(tmp_path)))
    assert "measure_run -- python train.py" in ledger.run(LedgerRequest()).readable()
    CALL.reset(token)


def test_runs_are_listed_with_their_figures(two_runs):
    table = ledger.run(LedgerRequest()).readable()
    assert "m1" in table and "250 ms" in table and "1.00 GiB" in table


def test_the_picture_is_well_formed_and_draws_bars_in_proportion(two_runs):
    report = ledger.run(LedgerRequest(ids=["m1", "m2"], picture=True))
    picture = ElementTree.parse(report.written).getroot()
    bars = [
        float(one.get("width"))
        for one in picture.iter("{http://www.w3.org/2000/svg}rect")
        if one.get("height") == "14"
    ]
    assert bars[3] == pytest.approx(bars[2] / 2, rel=0.01)
    with pytest.raises(ToolError, match="two ids"):
        ledger.run(LedgerRequest(ids=["m1"], picture=True))


def test_exports_hold_every_figure(two_runs):
    rows = list(
        csv.DictReader(Path(ledger.run(LedgerRequest(export="csv")).written).read_text().splitlines())
    )
    assert [(row["id"], row["metric"]) for row in rows] == [
        (run, metric) for run in ("m1", "m2") for metric in ("step_seconds_p50", "peak_rss_bytes")
    ]
    whole = json.loads(Path(ledger.run(LedgerRequest(ids=["m2"], export="json")).written).read_text())
    assert whole[0]["figures"][0]["value"] == 0.25


def test_mlflow_is_asked_for_in_the_callers_environment_only(two_runs):
    with pytest.raises(ToolError, match="MLflow is not installed in that environment"):
        ledger.run(LedgerRequest(export="mlflow", python=sys.executable))
