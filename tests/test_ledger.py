"""The ledger keeps every row, whoever writes and however they die."""

import os
import signal
import sqlite3
import subprocess
import sys

import pytest
from optimizing_resources.tools._core.errors import ToolError
from optimizing_resources.tools._core.ledger import (
    Figure,
    Run,
    append,
    new_id,
    open_ledger,
    read_run,
    read_runs,
)

WRITER = """
import sys, threading
from pathlib import Path
from optimizing_resources.tools._core.ledger import Figure, Run, append, open_ledger
path, name, threads, rows = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
def write(thread):
    ledger = open_ledger(path)
    for row in range(rows):
        figures = [Figure(metric=f"figure_{n}", value=n, unit="1") for n in range(5)]
        append(ledger, Run(id=f"{name}-{thread}-{row}", taken_at="", tool="t", outcome="finished", device="d",
                           workload="w", figures=figures))
        print(row, flush=True)
all_threads = [threading.Thread(target=write, args=(n,)) for n in range(threads)]
[t.start() for t in all_threads]
[t.join() for t in all_threads]
"""


def a_run(**fields):
    return Run(
        **{"id": new_id(), "taken_at": "", "tool": "t", "outcome": "finished", "device": "d", "workload": "w"}
        | fields
    )


def writer(path, name, threads, rows):
    arguments = [sys.executable, "-c", WRITER, str(path), name, str(threads), str(rows)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE)


def test_a_run_reads_back_as_it_was_written(tmp_path):
    ledger = open_ledger(tmp_path / "ledger.sqlite")
    figure = Figure(metric="step_seconds_p50", value=0.25, unit="seconds", repeats=3, low=0.2, high=0.3)
    runs = [a_run(figures=[figure], report={"causes": []}), a_run(conditions={"seed": None})]
    for run in runs:
        append(ledger, run)
    assert read_runs(ledger) == runs
    assert read_run(ledger, runs[0].id).figure("step_seconds_p50") == figure


def test_two_hundred_writers_in_four_processes_lose_nothing(tmp_path):
    path = tmp_path / "ledger.sqlite"
    writers = [writer(path, f"p{n}", threads=50, rows=2) for n in range(4)]
    assert [one.communicate() and one.returncode for one in writers] == [0] * 4
    runs = read_runs(open_ledger(path))
    assert {run.id for run in runs} == {
        f"p{p}-{t}-{r}" for p in range(4) for t in range(50) for r in range(2)
    }
    assert {len(run.figures) for run in runs} == {5}


def test_a_killed_writer_leaves_whole_rows_behind(tmp_path):
    path = tmp_path / "ledger.sqlite"
    victim = writer(path, "victim", threads=1, rows=100_000)
    written = [victim.stdout.readline() for _ in range(20)]
    os.kill(victim.pid, signal.SIGKILL)
    victim.communicate()
    runs = read_runs(open_ledger(path))
    assert len(runs) >= len(written)
    assert {len(run.figures) for run in runs} == {5}


@pytest.mark.parametrize("statement", ["DELETE FROM run", "UPDATE measurement SET value = 0"])
def test_the_past_cannot_be_edited(tmp_path, statement):
    ledger = open_ledger(tmp_path / "ledger.sqlite")
    append(ledger, a_run(figures=[Figure(metric="m", value=1, unit="1")]))
    with pytest.raises(sqlite3.IntegrityError, match="append only"):
        ledger.execute(statement)


def test_an_unknown_id_is_answered_with_the_latest_ones(tmp_path):
    ledger = open_ledger(tmp_path / "ledger.sqlite")
    with pytest.raises(ToolError, match="nothing was measured here yet"):
        read_run(ledger, "m0")
    append(ledger, run := a_run())
    with pytest.raises(ToolError, match=run.id):
        read_run(ledger, "m0")


def test_a_file_that_is_no_ledger_and_a_newer_ledger_are_refused(tmp_path):
    (tmp_path / "text").write_text("no database " * 100, encoding="utf-8")
    with pytest.raises(ToolError, match="cannot be opened"):
        open_ledger(tmp_path / "text")
    open_ledger(tmp_path / "newer").execute("PRAGMA user_version = 99")
    with pytest.raises(ToolError, match="newer optimizing-resources"):
        open_ledger(tmp_path / "newer")
