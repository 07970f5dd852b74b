"""However a program behaves, it gets one clear outcome and nothing of it is left running."""

import sys
import time
from pathlib import Path

import psutil
import pytest
from optimizing_resources.tools._core.contract import CALL, Call, ToolError
from optimizing_resources.tools._core.ledger import ledger_path, open_ledger, read_run
from optimizing_resources.tools._core.workspace import Workspace
from optimizing_resources.tools.measure_run import MeasureRunRequest, measure_run

DAEMON = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.environ.clear()
        os.execv(sys.executable, [sys.executable, "-c", "import time; time.sleep(600)", os.getcwd()])
    os._exit(0)
os.wait()
time.sleep(0.3)
"""
PROGRAMS = {
    "ends": ("print('done')", {}, "finished", 0),
    "fails": ("raise ValueError('no \\x1b[1msuch\\x1b[0m column')", {}, "crashed", 1),
    "never steps": ("print('nothing to train')", {"max_steps": 5}, "never_stepped", 0),
    "hangs": ("import time\nwhile True: time.sleep(1)", {"max_seconds": 1}, "timed_out", -15),
    "ignores being asked to end": (
        "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: time.sleep(1)",
        {"max_seconds": 1},
        "timed_out",
        -9,
    ),
    "leaves a daemon": (DAEMON, {}, "finished", 0),
    "prints much": ("import sys\nfor _ in range(200): sys.stdout.write('x' * 1_000_000)", {}, "finished", 0),
    "deletes its folder": ("import os, shutil\nshutil.rmtree(os.getcwd())", {}, "finished", 0),
    "segfaults": ("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)", {}, "crashed", -11),
    "eats memory": (
        "kept = []\nimport time\nwhile True:\n    kept.append(bytearray(8_000_000))\n    time.sleep(0.01)",
        {"memory_limit_bytes": 300_000_000},
        "out_of_memory",
        -9,
    ),
    "raises for want of memory": (
        "raise MemoryError('torch: you tried to allocate 9 bytes')",
        {},
        "out_of_memory",
        1,
    ),
}


@pytest.fixture
def workspace(tmp_path):
    folder = tmp_path / "work"
    folder.mkdir()
    token = CALL.set(Call(Workspace.of_the_caller(folder)))
    yield folder
    CALL.reset(token)


@pytest.fixture
def nothing_left(workspace):
    """No process that a test started is alive after it."""
    yield
    mine = [
        p for p in psutil.process_iter(["cmdline"]) if str(workspace) in " ".join(p.info["cmdline"] or [])
    ]
    assert not mine


@pytest.mark.parametrize("name", PROGRAMS)
def test_each_way_to_end_has_its_outcome(workspace, nothing_left, name):
    program, limits, outcome, exit_code = PROGRAMS[name]
    script = workspace / "program.py"
    script.write_text(program, encoding="utf-8")
    report = measure_run(MeasureRunRequest(command=["python", str(script)], python=sys.executable, **limits))
    assert (report.outcome, report.exit_code) == (outcome, exit_code), report.reason
    assert "builtins." not in report.reason and "\x1b" not in report.reason
    assert name != "never steps" or "never imported torch" in report.reason
    assert len(report.brief()) <= 1500
    if workspace.exists():
        row = read_run(open_ledger(ledger_path(Workspace.of_the_caller(workspace))), report.id)
        assert row.outcome == outcome and row.figure("peak_rss_bytes").value == report.peak_rss_bytes
    else:
        assert report.id is None and "deleted the workspace" in report.notes[-1]


def test_output_is_kept_up_to_a_limit_with_its_first_and_last_part(workspace):
    script = workspace / "program.py"
    script.write_text("print('first'); print('x' * 5_000_000); print('last')", encoding="utf-8")
    report = measure_run(MeasureRunRequest(command=["python", "program.py"], python=sys.executable))
    kept = Path(report.output_path).read_text(encoding="utf-8")
    assert kept.startswith("first") and kept.endswith("last\n") and "bytes left out" in kept
    assert len(kept) < 1_200_000


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"command": ["no-such-program"]}, "Command not found.*no-such-program"),
        ({"command": ["python", "missing.py"]}, "No such script.*missing.py"),
        ({"command": ["python", "-V"], "metrics": {"acc": "("}}, "no regular expression"),
        ({"command": ["python", "-u", "train.ipynb"]}, "nbconvert"),
        ({"target": "missing.py:f"}, "No such file"),
        ({"target": "no-colon"}, "file.py:function"),
    ],
)
def test_what_cannot_be_started_is_refused_with_advice(workspace, arguments, sentence):
    with pytest.raises(ToolError, match=sentence):
        measure_run(MeasureRunRequest(python=sys.executable, **arguments))


@pytest.mark.parametrize(
    "arguments", [{}, {"command": ["x"], "target": "a.py:f"}, {"command": ["x"], "steps": 3}]
)
def test_a_request_names_one_thing_to_run(arguments):
    with pytest.raises(ValueError):
        MeasureRunRequest(**arguments)


def test_a_cancelled_call_ends_the_program_and_is_kept_as_cancelled(workspace, nothing_left):
    class Cancelled(BaseException):
        pass

    started = time.monotonic()

    def cancel():
        if time.monotonic() > started + 1:
            raise Cancelled

    script = workspace / "program.py"
    script.write_text("import time\ntime.sleep(600)", encoding="utf-8")
    CALL.set(Call(Workspace.of_the_caller(workspace), check_cancelled=cancel))
    with pytest.raises(Cancelled):
        measure_run(MeasureRunRequest(command=["python", str(script)], python=sys.executable))
    rows = (
        open_ledger(ledger_path(Workspace.of_the_caller(workspace)))
        .execute("SELECT outcome FROM run")
        .fetchall()
    )
    assert rows == [("cancelled",)]


def test_peak_memory_is_the_kernels_own(workspace):
    script = workspace / "program.py"
    script.write_text(
        "import resource\nkept = bytearray(200_000_000)\n"
        "print('maxrss', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)",
        encoding="utf-8",
    )
    report = measure_run(
        MeasureRunRequest(
            command=["python", "program.py"], python=sys.executable, metrics={"maxrss": r"maxrss (\d+)"}
        )
    )
    assert report.peak_rss_bytes == pytest.approx(report.metrics["maxrss"], rel=0.03)


def test_peak_memory_of_a_tree_counts_shared_pages_once(workspace):
    script = workspace / "program.py"
    script.write_text(
        "import os, time\nkept = bytearray(os.urandom(1)) * 150_000_000\n"
        "for _ in range(3):\n    if os.fork() == 0:\n        time.sleep(1)\n        os._exit(0)\ntime.sleep(1.2)",
        encoding="utf-8",
    )
    report = measure_run(MeasureRunRequest(command=["python", "program.py"], python=sys.executable))
    assert 150_000_000 < report.peak_rss_bytes < 220_000_000


def test_metrics_come_from_output_and_from_files(workspace):
    script = workspace / "program.py"
    script.write_text(
        "import json\nfor n in range(3): print(f'epoch {n} acc={n / 4:.2f}')\n"
        "json.dump({'f1': 0.75}, open('result.json', 'w'))",
        encoding="utf-8",
    )
    report = measure_run(
        MeasureRunRequest(
            command=["python", "program.py"],
            python=sys.executable,
            metrics={"acc": r"acc=([\d.]+)", "f1": "result.json", "absent": "nothing ([0-9]+)"},
        )
    )
    assert report.metrics == {"acc": 0.5, "f1": 0.75}
    assert [value for _, value in report.metric_series["acc"]] == [0.0, 0.25, 0.5]
    assert [note for note in report.notes if "'absent'" in note]


def test_a_run_that_was_stopped_says_that_its_metric_may_have_come_later(workspace):
    (workspace / "program.py").write_text("import time\ntime.sleep(60)\nprint('acc=0.5')", encoding="utf-8")
    wanted = {
        "command": ["python", "program.py"],
        "python": sys.executable,
        "metrics": {"acc": r"acc=([\d.]+)"},
    }
    report = measure_run(MeasureRunRequest(**wanted, max_seconds=2))
    assert report.metrics == {} and any("stopped before its end" in note for note in report.notes)


def test_a_metric_of_an_earlier_run_is_none_of_this_one(workspace):
    (workspace / "old.json").write_text('{"f1": 0.9}', encoding="utf-8")
    (workspace / "program.py").write_text("open('bad.csv', 'w').write('acc\\nn/a\\n')", encoding="utf-8")
    metrics = {"f1": "old.json", "acc": "bad.csv", "auc": "none.json"}
    report = measure_run(
        MeasureRunRequest(command=["python", "program.py"], python=sys.executable, metrics=metrics)
    )
    assert report.metrics == {} and report.id  # the measurement itself is kept
    assert ["did not write old.json" in report.notes[0], "could not convert" in report.notes[1]] == [True] * 2
    assert "did not write none.json" in report.notes[2]
