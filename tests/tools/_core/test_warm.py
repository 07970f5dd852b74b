"""Engines that a server keeps: loaded once, and each call what it would be in a new process."""

import os
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from optimizing_resources.tools._core import warm
from optimizing_resources.tools._core.contract import ToolError
from optimizing_resources.tools._core.worker import Limits, run

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="engines are kept on Linux only")

PYTHON = Path(sys.executable)
ENGINE = """
    import os, random, subprocess, sys, threading, time
    sys.path.append(os.path.join(sys.path[0], "library"))
    def prepare():
        import colours, kept
        if kept.threads:
            threading.Thread(target=time.sleep, args=[60], daemon=True).start()
    def answer(request, progress):
        import kept
        sys.path[:0] = request.get("path", [])
        progress(0, None, "")
        exec(request.get("code", ""))
        kept.seen += 1
        return {
            "process": os.getpid(), "session": os.getsid(0), "engine": os.getppid(), "seen": kept.seen,
            "kept": kept.__file__, "drawn": random.random(), "open": sorted(os.listdir("/proc/self/fd")),
            "environment": dict(os.environ), "folder": os.getcwd(), "path": sys.path, "arguments": sys.argv,
            "main": sys.modules["__main__"].__file__, "threads": threading.active_count(),
        }
"""


@pytest.fixture(autouse=True)
def keeps(monkeypatch):
    """A server that keeps engines."""
    monkeypatch.setattr(warm, "_is_on", True)
    yield
    warm.end_idle()


@pytest.fixture
def engine(tmp_path):
    """An engine that prepares by importing `kept`."""
    library = tmp_path / "engine" / "library"
    library.mkdir(parents=True)
    library.parent.joinpath("__main__.py").write_text(textwrap.dedent(ENGINE), encoding="utf-8")
    library.joinpath("kept.py").write_text("threads, seen = False, 0\n", encoding="utf-8")
    library.joinpath("colours.py").touch()
    return library.parent


@pytest.fixture
def call(engine):
    """One call of it."""

    def answer(keep=True, **request):
        return run(engine, request, python=PYTHON, limits=Limits(30), warm=keep)

    return answer


def is_gone(pid):
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def wait_for(happened):
    deadline = time.monotonic() + 10
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_calls_share_what_was_imported_and_nothing_else(call):
    first, second = call(), call()
    assert first["engine"] == second["engine"] != os.getpid()
    assert first["process"] != second["process"] == second["session"]
    assert first["seen"] == second["seen"] == 1 and first["drawn"] != second["drawn"]


def test_a_call_finds_what_a_new_process_finds(call):
    def surroundings(report):
        marked = {**report["environment"], "OPTIMIZING_RESOURCES_CALL": ""}
        same = ("open", "folder", "path", "arguments", "main", "threads", "kept")
        return marked, {key: report[key] for key in same}

    call()
    assert surroundings(call()) == surroundings(call(keep=False))


@pytest.mark.parametrize(
    "code", ["raise ValueError('of the caller')", "os._exit(3)", "os.kill(os.getpid(), 11)"]
)
def test_a_call_that_fails_leaves_the_engine_to_the_next(call, code):
    first = call()
    with pytest.raises(ToolError):
        call(code=code)
    assert call()["engine"] == first["engine"]


def test_a_process_that_a_call_leaves_behind_ends_with_the_engine(call):
    code = "subprocess.run(['sh', '-c', 'sleep 60 & echo $! > ' + request['note']], start_new_session=True)"
    note = Path(call()["kept"]).with_name("pid")
    first = call(code=code, note=str(note))
    assert is_gone(int(note.read_text(encoding="utf-8"))) and is_gone(first["engine"])
    assert call()["engine"] != first["engine"]


def test_a_call_ends_with_an_engine_that_is_killed(call, tmp_path):
    note = tmp_path / "pid"
    code = "open(request['note'], 'w').write(str(os.getpid())); os.kill(os.getppid(), 9); time.sleep(60)"
    with pytest.raises(ToolError, match="SIGKILL"):
        call(code=code, note=str(note))
    assert is_gone(int(note.read_text(encoding="utf-8"))) and call()["seen"] == 1


def test_an_engine_whose_imports_changed_is_not_used(call):
    first = call()
    Path(first["kept"]).write_text("threads, seen = False, 100\n", encoding="utf-8")
    assert call()["seen"] == call()["seen"] == 101


def test_a_module_of_the_caller_that_has_the_name_of_a_kept_one_is_found(call, tmp_path):
    tmp_path.joinpath("random").mkdir()  # no module, without an __init__.py
    theirs, code = tmp_path / "colours.py", "import colours; kept.seen = colours.number"
    theirs.write_text("number = 1000", encoding="utf-8")
    assert call(path=[str(tmp_path)], code=code)["seen"] == 1001
    theirs.unlink()
    assert call(path=[str(tmp_path)])["engine"] == call(path=[str(tmp_path)])["engine"] != os.getpid()


def test_an_engine_with_a_thread_is_not_forked(call, engine):
    engine.joinpath("library", "kept.py").write_text("threads, seen = True, 0\n", encoding="utf-8")
    first, second = call(), call()
    assert first["threads"] == second["threads"] == 2 and first["engine"] == os.getpid()


def test_other_work_gets_the_whole_machine(call):
    first = call()
    call(keep=False)
    assert is_gone(first["engine"])


def test_an_engine_that_waits_too_long_ends(call, monkeypatch):
    monkeypatch.setattr(warm, "IDLE_SECONDS", 0.1)
    first = call()
    wait_for(lambda: is_gone(first["engine"]))
    assert call()["seen"] == 1


def test_two_calls_at_once_have_an_engine_each_and_one_stays(call):
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: call(code="time.sleep(0.5)"), range(2)))
    engines = {report["engine"] for report in both}
    assert len(engines) == 2 and call()["engine"] in engines
    assert sum(is_gone(pid) for pid in engines) == 1


def test_nothing_outlives_a_server_that_was_killed(engine, tmp_path):
    note = tmp_path / "pids"
    code = f"""
        from pathlib import Path
        from optimizing_resources.tools._core.warm import keep_warm
        from optimizing_resources.tools._core.worker import Limits, run
        keep_warm()
        for code in ("", "open({str(note)!r}, 'w').write(str(os.getpid()) + ' ' + str(os.getppid())); time.sleep(60)"):
            run(Path({str(engine)!r}), {{"code": code}}, python=Path({sys.executable!r}), limits=Limits(60), warm=True)
    """
    server = psutil.Popen([sys.executable, "-P", "-c", textwrap.dedent(code)])
    wait_for(lambda: note.exists() and note.read_text(encoding="utf-8").count(" "))
    server.kill()
    server.wait()
    engines = [int(pid) for pid in note.read_text(encoding="utf-8").split()]
    wait_for(lambda: all(map(is_gone, engines)))
    assert len(engines) == 2 and all(map(is_gone, engines))
