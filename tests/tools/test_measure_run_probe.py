"""What the probe sees inside a torch program, and that the program does not see the probe."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from optimizing_resources.tools import measure_run as package
from optimizing_resources.tools._core.contract import CALL, Call
from optimizing_resources.tools._core.workspace import Workspace
from optimizing_resources.tools.measure_run import MeasureRunRequest, measure_run

pytest.importorskip("torch")
START_HOOK = Path(package.__file__).with_name("engine") / "start_hook"

START = """
import time
import torch
from torch import nn
torch.manual_seed(0)
torch.set_num_threads(1)
model = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10))
x, y = torch.randn(512, 64), torch.randint(0, 10, (512,))
data = torch.utils.data.TensorDataset(x, y)
optimizer = torch.optim.AdamW(model.parameters())
"""
LOOP = """
for epoch in range(5):
    for x, y in torch.utils.data.DataLoader(data, batch_size=BATCH):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        print("loss", format(loss.detach().tolist(), ".9g"))
"""
QUIET_LOOP = LOOP.rsplit("\n", 2)[0] + "\n"


@pytest.fixture
def run(tmp_path):
    """Measure a program; the Report, and what the program printed."""
    token = CALL.set(Call(Workspace.of_the_caller(tmp_path)))

    def measured(program, **arguments):
        (tmp_path / "train.py").write_text(program, encoding="utf-8")
        report = measure_run(
            MeasureRunRequest(command=["python", "train.py"], python=sys.executable, **arguments)
        )
        return report, Path(report.output_path).read_text(encoding="utf-8")

    yield measured
    CALL.reset(token)


def test_steps_losses_and_samples_are_those_of_the_program_and_its_files_are_its_own(run, tmp_path):
    save = "torch.save([model, optimizer, loss.detach()], 'all.pt')\n"
    report, printed = run(START + LOOP.replace("BATCH", "128") + save)
    own = [float(line.split()[1]) for line in printed.splitlines() if line.startswith("loss")]
    assert report.outcome == "finished" and report.step_source == "optimizer"
    assert report.steps == len(own) == 20
    assert report.loss == pytest.approx(own, rel=1e-5)
    assert report.samples_per_step == 128
    with zipfile.ZipFile(tmp_path / "all.pt") as saved:
        pickled = b"".join(saved.read(name) for name in saved.namelist())
    assert b"optimizing_resources" not in pickled


def test_a_program_stops_after_its_last_wanted_step_and_tidies_up(run):
    program = START + "import atexit\natexit.register(print, 'tidied')\n" + LOOP.replace("BATCH", "128")
    report, printed = run(program, max_steps=7)
    assert (report.outcome, report.exit_code, report.steps) == ("stopped_at_limit", 0, 7)
    assert "tidied" in printed


def test_accumulation_counts_optimizer_steps_and_sums_what_was_backpropagated(run):
    program = (
        START
        + """
for number, (x, y) in enumerate(torch.utils.data.DataLoader(data, batch_size=32)):
    loss = nn.functional.cross_entropy(model(x), y) / 4
    loss.backward()
    if number % 4 == 3:
        optimizer.step()
        optimizer.zero_grad()
"""
    )
    report, _ = run(program)
    assert (report.steps, report.samples_per_step) == (4, 128)
    assert all(1.8 < loss < 2.8 for loss in report.loss)  # ln 10 = 2.3, not a quarter of it


def test_updates_by_hand_are_counted_by_their_backward_passes(run):
    program = (
        START.replace("optimizer =", "#")
        + """
for number in range(50):
    nn.functional.cross_entropy(model(x), y).backward()
    for p in model.parameters():
        p.data.add_(p.grad, alpha=-0.01)
"""
    )
    report, _ = run(program, max_steps=9)
    assert (report.step_source, report.steps, report.outcome) == ("backward", 9, "stopped_at_limit")


PLANTED = {
    "data_loader_bound": """
class Slow(torch.utils.data.Dataset):
    def __len__(self): return 400
    def __getitem__(self, n):
        time.sleep(0.005)
        return torch.ones(64), n % 10
data = Slow()
"""
    + QUIET_LOOP.replace("BATCH", "8"),
    "leak": "kept = []\nx = x.repeat(8, 1); y = y.repeat(8)\nfor _ in range(40):\n"
    "    loss = nn.functional.cross_entropy(model(x), y)\n    loss.backward(retain_graph=True)\n"
    "    optimizer.step()\n    kept.append(loss)\n",
    "tiny_batches": QUIET_LOOP.replace("BATCH", "1").replace("range(5)", "range(1)"),
}


@pytest.mark.parametrize("cause", PLANTED)
def test_a_planted_cause_is_named_with_its_evidence(run, cause):
    report, _ = run(START + PLANTED[cause], max_steps=40)
    assert cause in [found.cause for found in report.causes], report.causes
    assert report.probe.startswith("attached")


def test_running_out_of_memory_inside_torch_is_told_from_other_crashes(run):
    report, _ = run(START + "torch.zeros(2**46)\n")
    assert report.outcome == "out_of_memory" and "allocate" in report.reason


def test_the_hidden_sitecustomize_still_runs_and_the_path_is_the_programs_own(tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import builtins; builtins.chained = 1", encoding="utf-8")
    (tmp_path / "events").mkdir()
    program = (
        "import json, sys; print(json.dumps([chained, sys.path, [n for n in sys.modules if 'probe' in n]]))"
    )
    answers = []
    for hidden in ([], [str(START_HOOK)]):
        environment = {
            "PYTHONPATH": ":".join([*hidden, str(tmp_path)]),
            "OPTIMIZING_RESOURCES_EVENTS": str(tmp_path / "events"),
        }
        done = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
        )
        answers.append(json.loads(done.stdout))
    assert answers[0][:2] == answers[1][:2] and answers[1][0] == 1
    assert not list(
        (tmp_path / "events").iterdir()
    )  # a process without torch and without an error says nothing


def test_each_forward_pass_of_a_program_that_only_infers_is_timed_the_first_one_by_itself(run):
    passes = "model.eval()\nwith torch.no_grad():\n    for _ in range(12): model(data[:4][0])\n"
    report, _ = run(START + passes)
    (calls,) = report.calls
    assert report.step_source == "forward" and "after 12 forward passes" in report.reason
    assert calls["calls"] == report.steps == 10 and calls["first_seconds"] > 0


FUNCTIONS = {
    "plain": "def f(batch_size): time.sleep(0.001 * batch_size)",
    "generator": "def f(batch_size):\n    yield\n    time.sleep(0.001 * batch_size)",
    "coroutine": "import asyncio\nasync def f(batch_size): await asyncio.sleep(0.001 * batch_size)",
    "of one processor": "import os\ndef f(batch_size):\n    assert not hasattr(os, 'sched_getaffinity')"
    " or len(os.sched_getaffinity(0)) == 1\n    time.sleep(0.001 * batch_size)",
}


def test_calls_that_do_not_fit_the_time_are_fewer_and_say_so(tmp_path):
    token = CALL.set(Call(Workspace.of_the_caller(tmp_path)))
    (tmp_path / "infer.py").write_text("import time\ndef f():\n    time.sleep(0.2)\n", encoding="utf-8")
    wanted = {"max_steps": 1000, "max_seconds": 6, "python": sys.executable}
    report = measure_run(MeasureRunRequest(target="infer.py:f", **wanted))
    CALL.reset(token)
    assert report.outcome == "finished" and 0 < report.calls[0]["calls"] < 1000
    assert "of 1000" in report.reason


@pytest.mark.parametrize("kind", FUNCTIONS)
def test_a_functions_calls_are_timed_by_batch_size_with_all_they_do(tmp_path, kind):
    token = CALL.set(Call(Workspace.of_the_caller(tmp_path)))
    (tmp_path / "infer.py").write_text(f"import time\n{FUNCTIONS[kind]}\n", encoding="utf-8")
    wanted = {"batch_sizes": [1, 8], "threads": [1], "max_steps": 10, "python": sys.executable}
    report = measure_run(MeasureRunRequest(target="infer.py:f", **wanted))
    CALL.reset(token)
    assert report.outcome == "finished" and report.steps == 10 and report.step_source == "calls"
    assert [call["batch_size"] for call in report.calls] == [1, 8]
    assert report.calls[0]["p50_seconds"] >= 0.001 and report.calls[1]["p50_seconds"] >= 0.008
