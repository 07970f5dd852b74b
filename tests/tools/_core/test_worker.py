"""The child process that runs an engine: what passes in and out, and that nothing of it survives."""

import functools
import os
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest
from optimizing_resources.tools._core import warm
from optimizing_resources.tools._core.contract import CALL, Call, ToolError
from optimizing_resources.tools._core.worker import Limits
from optimizing_resources.tools._core.worker import run as run_engine

PYTHON = Path(sys.executable)
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="engines are kept on Linux only")
OLDEST = Path.home() / ".pyenv/versions/3.9.18/bin/python3.9"

# A child, its child in the same group, a daemon with a session of its own, and one that is
# an orphan besides and, when `nameless`, has emptied its environment.
FAMILY = """
    import os, subprocess, sys, time
    def answer(request, progress):
        sleep = [sys.executable, "-S", "-c", "import time; time.sleep(60)"]
        near = subprocess.Popen(sleep)
        daemon = subprocess.Popen(sleep, start_new_session=True)
        code = (
            "import subprocess, sys; "
            "quiet = {'stdout': subprocess.DEVNULL, 'start_new_session': True}; "
            "print(subprocess.Popen(sys.argv[1:], env={} if sys.argv[-1] == 'nameless' else None, **quiet).pid)"
        )
        orphan = subprocess.check_output([sys.executable, "-S", "-c", code, *sleep, request["as"]])
        progress(1, 2, " ".join(str(int(pid)) for pid in (os.getpid(), near.pid, daemon.pid, orphan)))
        time.sleep(request["seconds"])
        return {"done": True}
"""


@pytest.fixture(params=["new", pytest.param("warm", marks=LINUX)])
def run(request, monkeypatch):
    """`worker.run`, as outside of a server and as in one that keeps engines warm."""
    monkeypatch.setattr(warm, "_is_on", request.param == "warm")
    yield functools.partial(run_engine, warm=True)
    warm.end_idle()


@pytest.fixture
def engine(tmp_path):
    """Write an engine folder from source."""

    def write(source):
        folder = tmp_path / "engine"
        folder.mkdir(exist_ok=True)
        lines = ["def prepare(): pass", textwrap.dedent(source)]
        (folder / "__main__.py").write_text("\n".join(lines), encoding="utf-8")
        return folder

    return write


@pytest.fixture
def progress():
    """What the child reported, while the calls of this test last."""
    seen: list[tuple[float, float | None, str]] = []
    token = CALL.set(Call(progress=lambda *event: seen.append(event)))
    yield seen
    CALL.reset(token)


def assert_none_alive(note):
    pids = [int(pid) for pid in note.split()]
    alive = [p for p in pids if psutil.pid_exists(p) and psutil.Process(p).status() != psutil.STATUS_ZOMBIE]
    assert len(pids) == 4 and not alive


def test_an_engine_answers_under_the_interpreter_it_is_given(run, engine):
    folder = engine("import sys\ndef answer(r, p): return {'twice': 2 * r['n'], 'by': sys.executable}")
    assert run(folder, {"n": 21}, python=PYTHON, limits=Limits(30)) == {"twice": 42, "by": sys.executable}


def test_what_a_child_prints_goes_nowhere(run, engine, capfd):
    folder = engine(
        """
        import os, subprocess
        def answer(request, progress):
            print("noise"); os.write(1, b"noise"); os.write(2, b"noise"); subprocess.run(["echo", "noise"])
            return {"stdin": os.read(0, 10).decode()}
        """
    )
    assert run(folder, {}, python=PYTHON, limits=Limits(30)) == {"stdin": ""}
    assert capfd.readouterr() == ("", "")


def test_progress_is_passed_on_in_order(run, engine, progress):
    folder = engine("def answer(r, p):\n  for i in range(3): p(i, 3, f'step {i}')\n  return {}")
    run(folder, {}, python=PYTHON, limits=Limits(30))
    assert progress == [(0, 3, "step 0"), (1, 3, "step 1"), (2, 3, "step 2")]


def test_a_finished_child_leaves_no_family_behind(run, engine, progress):
    run(engine(FAMILY), {"seconds": 0, "as": "heir"}, python=PYTHON, limits=Limits(30))
    assert_none_alive(progress[0][2])


def test_a_timeout_ends_the_whole_family(run, engine, progress):
    with pytest.raises(ToolError, match=r"did not finish in time \(saw 1 s\)"):
        run(engine(FAMILY), {"seconds": 60, "as": "nameless"}, python=PYTHON, limits=Limits(1))
    assert_none_alive(progress[0][2])


class Cancelled(BaseException):
    """As anyio's is: no Exception."""


def test_a_cancel_ends_the_whole_family(run, engine):
    seen = []

    def check():
        if seen:
            raise Cancelled

    token = CALL.set(Call(check_cancelled=check, progress=lambda *event: seen.append(event)))
    with pytest.raises(Cancelled):
        run(engine(FAMILY), {"seconds": 60, "as": "nameless"}, python=PYTHON, limits=Limits(30))
    CALL.reset(token)
    assert_none_alive(seen[0][2])


def test_a_child_that_takes_too_much_memory_is_ended_and_named(run, engine):
    folder = engine(
        """
        import time
        def answer(request, progress):
            block = bytearray(200 << 20)
            time.sleep(60)
        """
    )
    with pytest.raises(ToolError, match=r"memory limit of 100\.0 MiB"):
        run(folder, {}, python=PYTHON, limits=Limits(30, memory_bytes=100 << 20))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("raise ValueError('of the caller')", "ValueError: of the caller"),
        ("os._exit(3)", "no output"),
        ("os.kill(os.getpid(), 11)", "ended by SIGSEGV"),
        ("os.kill(os.getpid(), 9)", "ended by SIGKILL"),
        (
            "return {'refused': {'problem': 'No make_step', 'saw': 'train.py', 'try_next': 'adding it'}}",
            "adding it",
        ),
        ("return {'model': object()}", "not JSON serializable"),
    ],
)
def test_a_child_that_fails_is_one_sentence(run, engine, body, words):
    folder = engine(f"import os\ndef answer(request, progress): {body}")
    with pytest.raises(ToolError) as refused:
        run(folder, {}, python=PYTHON, limits=Limits(30))
    assert words in str(refused.value) and "\n" not in str(refused.value)


def test_an_interpreter_without_our_packages_will_do(run, engine, tmp_path):
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n', encoding="utf-8")
    bare.chmod(0o755)
    folder = engine("import sys\ndef answer(r, p): return {'pydantic': 'pydantic' in sys.modules}")
    assert run(folder, {}, python=bare, limits=Limits(30)) == {"pydantic": False}


@pytest.mark.skipif(not OLDEST.exists(), reason="no Python 3.9 here")
def test_the_oldest_interpreter_we_promise_will_do(run, engine):
    folder = engine("import sys\ndef answer(r, p): p(1, None, 'x'); return {'minor': sys.version_info.minor}")
    assert run(folder, {}, python=OLDEST, limits=Limits(30)) == {"minor": 9}


def test_something_that_is_no_interpreter_is_refused(run, engine, tmp_path):
    text = tmp_path / "notes.txt"
    text.write_text("hello", encoding="utf-8")
    with pytest.raises(ToolError, match="does not start"):
        run(engine("def answer(r, p): return {}"), {}, python=text, limits=Limits(30))


def test_libraries_that_phone_home_are_told_not_to(run, engine):
    folder = engine("import os\ndef answer(r, p): return {k: os.environ[k] for k in r['names']}")
    names = [
        "HF_HUB_DISABLE_TELEMETRY",
        "ORT_DISABLE_TELEMETRY",
        "DO_NOT_TRACK",
        "SKYPILOT_DISABLE_USAGE_COLLECTION",
    ]
    assert run(folder, {"names": names}, python=PYTHON, limits=Limits(30)) == dict.fromkeys(names, "1")


def test_a_child_dies_with_a_server_that_was_killed(engine, tmp_path):
    folder = engine(
        """
        import os, time
        def answer(request, progress):
            open(request["note"], "w").write(str(os.getpid()))
            time.sleep(60)
        """
    )
    note = tmp_path / "pid"
    code = (
        "import sys; from pathlib import Path; "
        "from optimizing_resources.tools._core.worker import Limits, run; "
        "run(Path(sys.argv[1]), {'note': sys.argv[2]}, python=Path(sys.executable), limits=Limits(60))"
    )
    server = psutil.Popen([sys.executable, "-P", "-c", code, str(folder), str(note)])
    wait_for(lambda: note.exists() and note.read_text(encoding="utf-8"))
    pid = int(note.read_text(encoding="utf-8"))
    server.kill()
    server.wait()

    def is_gone():
        return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE

    wait_for(is_gone)
    assert is_gone()


def wait_for(happened):
    deadline = time.monotonic() + 10
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_no_scratch_file_is_left(run, engine, tmp_path, monkeypatch):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    run(engine("def answer(r, p): return {}"), {}, python=PYTHON, limits=Limits(30))
    assert os.listdir(scratch) == []
