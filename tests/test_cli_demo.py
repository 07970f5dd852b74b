"""The guided example, with the real tools: it gets to the end, and its answer says nothing that was not measured."""

import re
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from optimizing_resources.server.demo import PLAIN, journey, with_torch
from optimizing_resources.tools import load_tools
from optimizing_resources.tools._core.contract import CALL, Call
from optimizing_resources.tools._core.ledger import ledger_path, open_ledger, read_runs
from optimizing_resources.tools._core.quantity import human_bytes
from optimizing_resources.tools._core.workspace import Workspace


def told(example, folder):
    """The report of a journey, and the runs that its ledger holds by id."""
    token = CALL.set(Call(Workspace.of_the_caller(folder)))
    report = journey(example, load_tools(), Path(sys.executable), repeats=1)
    CALL.reset(token)
    with closing(open_ledger(ledger_path(Workspace.of_the_caller(Path(report.folder))))) as ledger:
        return report, {run.id: run for run in read_runs(ledger)}


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return told(PLAIN, tmp_path_factory.mktemp("plain"))


def check_that_it_is_traceable(report, runs):
    """Every id is in the ledger, and every size of the answer is a figure or a reason of those runs, or simulated."""
    text = "\n".join(line for line in report.summary if "simulated" not in line)
    ids = set(re.findall(r"m[0-9a-f]{10}", text))
    assert ids == set(runs) and len(ids) == 4
    figures = {human_bytes(round(f.value)) for run in runs.values() for f in run.figures if f.unit == "bytes"}
    reasons = " ".join(run.report["reason"] for run in runs.values())
    sizes = re.findall(r"[\d.]+ [MG]iB", text)
    assert sizes and all(size in figures or size in reasons for size in sizes)


def test_without_torch_a_run_dies_gets_its_remedy_and_is_shown_to_work(plain):
    report, runs = plain
    check_that_it_is_traceable(report, runs)
    answer = report.readable()
    assert "out_of_memory" in answer and "stream_data" in answer and "better" in report.steps[-2].lines[0]
    assert "make demo TORCH=1" in answer and "190 MB" in answer
    assert all(box.startswith("[x]") for box in report.steps[-2].lines[1:])
    assert (Path(report.folder) / "train.py").read_bytes() != (
        Path(report.folder) / "streaming.py"
    ).read_bytes()


def test_each_step_can_be_repeated_by_hand(plain):
    report, _ = plain
    commands = [step.command for step in report.steps if step.command]
    assert commands[1].endswith("-- python train.py") and "--memory-limit-bytes 50331648" in commands[1]
    assert f"cd {report.folder}" in report.readable()


@pytest.mark.slow
def test_with_torch_the_remedy_is_predicted_and_patched_before_it_is_measured(tmp_path):
    report, runs = told(replace(with_torch(Path(sys.executable)), max_steps=(1, 2)), tmp_path)
    check_that_it_is_traceable(report, runs)
    assert "gradient_accumulation" in report.readable() and "(simulated)" in report.readable()
    assert "as expected" in report.readable() and "TORCH=1" not in report.readable()
    died, fits = ([run.outcome for run in runs.values()][place] for place in (0, 1))
    assert (died, fits) == ("out_of_memory", "stopped_at_limit")
