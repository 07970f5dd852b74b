"""The command line: as a user types it, over toy tools where a tool is wanted."""

import io
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from optimizing_resources import __version__
from optimizing_resources.server import cli
from optimizing_resources.tools import load_commands, load_tools
from optimizing_resources.tools._core.contract import CALL, Report, Request, command
from pydantic import Field

ROOT = Path(__file__).resolve().parents[1]
COMMAND = [sys.executable, "-P", "-m", "optimizing_resources"]


class RecallRequest(Request):
    path: Path
    words: list[str] = Field([], description="Anything.")


class RecallReport(Report):
    path: str
    words: list[str]


@command("path", "words")
def recall(request: RecallRequest) -> RecallReport:
    """Say back what was given."""
    return RecallReport(path=str(request.path), words=request.words)


@pytest.fixture
def typed(monkeypatch, toys, capsys, tmp_path):
    """Run a command line over the toy tools; returns exit status, standard output and standard error."""
    monkeypatch.setattr(cli, "load_tools", lambda: toys.TOOLS)
    monkeypatch.setattr(cli, "load_commands", lambda: {"recall": recall})
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        token = CALL.set(None)
        status = cli.main([str(argument) for argument in arguments])
        CALL.reset(token)
        shown = capsys.readouterr()
        return status, shown.out, shown.err

    return run


@pytest.mark.parametrize(
    ("options", "total"),
    [
        (["--numbers", "1", "--numbers", "2"], 3),
        (["--numbers", "[1, 2]", "--scale=2"], 6),
        (["--numbers", "7"], 7),
        (["--numbers=-7"], -7),
        (["--numbers", "1", "--mode", "rough"], 1),
        (["--numbers", "1", "--mode", '{"digits": 3}', "--loudly", "false"], 1),
    ],
)
def test_options_are_read_by_the_type_of_their_field(typed, options, total):
    status, out, _ = typed("add", *options, "--json")
    assert status == 0 and json.loads(out) == {"total": total}


def test_dashes_and_underscores_are_the_same(typed, tmp_path):
    (tmp_path / "x.log").write_text("1\n", encoding="utf-8")
    assert (
        typed("read_log", "--path", "x.log") == typed("read-log", "--path", "x.log") == (0, "lines: 1\n", "")
    )


def test_a_positional_list_takes_all_that_follows(typed):
    status, out, _ = typed("recall", "--json", "train.py", "--", "python", "--lr", "1")
    assert status == 0 and json.loads(out) == {"path": "train.py", "words": ["python", "--lr", "1"]}


def test_a_positional_field_has_its_option_as_well(typed):
    status, out, _ = typed("recall", "--json", "--path", "train.py", "--words", "a")
    assert status == 0 and json.loads(out) == {"path": "train.py", "words": ["a"]}


def test_a_path_the_user_types_may_lie_outside(typed, tmp_path):
    outside = tmp_path.parent / "outside.log"
    outside.write_text("1\n2\n", encoding="utf-8")
    assert typed("read_log", "--path", outside)[1] == "lines: 2\n"


def test_the_workspace_can_be_named(typed, tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/x.log").touch()
    assert typed("read_log", "--path", "x.log", "--workspace", "sub")[0] == 0
    assert typed("call", "read_log", '{"path": "x.log"}', "--workspace", "sub")[0] == 0
    assert typed("--workspace", "sub", "call", "read_log", '{"path": "x.log"}')[0] == 0
    assert typed("--workspace=sub", "read_log", "--path", "x.log")[0] == 0


@pytest.mark.parametrize("how", ["text", "file", "stdin"])
def test_call_takes_json_from_anywhere_and_prints_the_report(typed, monkeypatch, tmp_path, how):
    text = '{"numbers": [1, 2]}'
    (tmp_path / "request.json").write_text(text, encoding="utf-8")
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    argument = {"text": text, "file": "@request.json", "stdin": "-"}[how]
    assert typed("call", "add", argument) == (0, '{"total":3.0}\n', "")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["call", "add", '{"numbers": [1], "nubmers": 2}'], "'nubmers' is unknown"),
        (["call", "add", '{"numbers": "1"}'], 'try ["1"]'),
        (["call", "add", "{numbers"], "not JSON"),
        (["call", "add", "[1]"], "no JSON object"),
        (["call", "add", "@nowhere.json"], "cannot be read"),
        (["call", "adt", "{}"], "try add"),
        (["call"], "required: TOOL"),
        (["adt"], "try add"),
        (["add", "--nubmers", "1"], "try --numbers"),
        (["add", "--numbers", "x"], "'numbers'"),
        (["add", "--scale", "0", "--numbers", "1"], "greater than 0"),
        (["add"], "'numbers' is missing"),
        (["read_log", "--path", "nowhere.log"], "No such file"),
        (["read_log", "--path", "x", "--workspace", "nowhere"], "no folder"),
        (["config", "emacs"], "'claude-code'"),
        (["config"], "try one of claude-code, claude-desktop"),
        (["serve", "--workspace", "nowhere"], "folder"),
        (["serve", "--jobs", "0"], "from 1 on"),
        (["add", "--numbers", "1", ""], "Unrecognized"),
        (["doctor", "--python", "~nobody-here/bin/python"], "No Python interpreter"),
        (["serve", "--http", "--host", "0.0.0.0"], "only with tokens"),
    ],
)
def test_what_the_caller_can_mend_is_one_line_and_exit_2(typed, arguments, words):
    status, out, err = typed(*arguments)
    assert status == 2 and out == "" and err.count("\n") == 1 and words in err


def test_help_lists_every_tool_and_each_tool_describes_its_fields(typed, capsys):
    assert all(f"  {name} " in typed("help")[1] for name in ("add", "read_log", "recall", "doctor"))
    with pytest.raises(SystemExit) as left:
        cli.main(["add", "--help"])
    shown = capsys.readouterr().out
    assert left.value.code == 0 and "What to add. (required)" in shown and "(default: 1.0)" in shown


@pytest.mark.parametrize(
    "host", ["claude-code", "claude-desktop", "codex", "cursor", "gemini-cli", "vscode", "windsurf", "zed"]
)
def test_the_configuration_of_every_host_starts_this_server(typed, tmp_path, host):
    status, out, err = typed("config", host)
    assert status == 0 and "paste into" in err
    if host == "claude-code":
        started = out.split(" -- ")[1].split()
    elif host == "codex":
        entry = tomllib.loads(out)["mcp_servers"]["optimizing-resources"]
        started = [entry["command"], *entry["args"]]
    else:
        key = {"vscode": "servers", "zed": "context_servers"}.get(host, "mcpServers")
        entry = json.loads(out)[key]["optimizing-resources"]
        started = [entry["command"], *entry["args"]]
    assert started[-2:] == ["--workspace", str(tmp_path)] and Path(started[0]).is_absolute()
    version = subprocess.run([*started[:-3], "version"], capture_output=True, text=True, check=True)
    assert version.stdout == f"{__version__}\n"


def test_clean_removes_artifacts_and_keeps_the_rest(typed, tmp_path):
    folder = tmp_path / ".optimizing-resources"
    (folder / "artifacts").mkdir(parents=True)
    (folder / "artifacts/plan-1.txt").write_bytes(b"x" * 10)
    (folder / "ledger.sqlite").touch()
    assert typed("clean")[1] == "Removed 1 artifacts (10 B); kept ledger.sqlite.\n"
    assert (folder / "ledger.sqlite").exists() and not list((folder / "artifacts").iterdir())


def test_clean_follows_no_link(typed, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").touch()
    (tmp_path / ".optimizing-resources").mkdir()
    (tmp_path / ".optimizing-resources/artifacts").symlink_to(tmp_path / "mine")
    assert typed("clean")[0] == 2 and (tmp_path / "mine/thesis.txt").exists()


def test_doctor_says_what_works_and_how_to_add_the_rest(typed, monkeypatch, toys):
    monkeypatch.setattr("optimizing_resources.server.doctor.load_tools", lambda: toys.TOOLS)
    Path("no_such_module").mkdir()  # a folder of data is no library
    status, out, _ = typed("doctor")
    assert status == 0 and "ok  mcp" in out and "ok  add" in out
    assert "--  work" in out and "pip install no_such_module" in out
    assert "ready; not for toys (no_such_toy)" in out and "pip install no_such_toy" in out
    marks = {line.split()[1]: line.split()[0] for line in out.partition("Extras")[2].splitlines()[1:]}
    assert marks["all"] == min(marks[name] for name in ("torch", "compression", "series"))  # "--" before "ok"
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    broken = Path(".venv/bin/python")
    broken.parent.mkdir(parents=True)
    broken.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    broken.chmod(0o755)
    assert "does not start" in typed("doctor")[1]


def test_no_colour_reaches_a_pipe(typed):
    assert "\033" not in typed("doctor")[1]


def run_piped(*arguments, **options):
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=60, **options)


def test_without_a_command_it_serves_a_pipe_and_helps_a_person():
    assert run_piped(stdin=subprocess.DEVNULL).stdout == ""  # served until the input ended
    theirs, ours = os.openpty()
    shown = run_piped(stdin=ours).stdout
    os.close(theirs)
    assert "TOOL --help" in shown


def test_a_locale_that_lacks_a_character_ends_no_command(tmp_path):
    elsewhere = {**os.environ, "PYTHONIOENCODING": "ascii"}
    text = json.dumps({"text": "显存不足 naïve"}, ensure_ascii=False)
    done = subprocess.run(
        [*COMMAND, "call", "triage_constraint", "-"], input=text.encode(), capture_output=True, env=elsewhere
    )
    assert "naïve" in done.stdout.decode() and not done.stderr


def test_a_folder_that_is_gone_is_one_line(tmp_path):
    gone = f"cd {tmp_path} && rmdir {tmp_path} && {' '.join(COMMAND)} doctor"
    done = subprocess.run(gone, shell=True, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and done.stderr.startswith("The current folder is gone")


def test_a_reader_that_hangs_up_early_is_no_error():
    done = subprocess.run(
        f"{' '.join(COMMAND)} help | true", shell=True, capture_output=True, text=True, timeout=60
    )
    assert done.stderr == ""


def test_it_starts_in_a_folder_whose_files_are_named_like_libraries(tmp_path):
    for name in ("http.py", "mcp.py", "tools.py", "json.py"):
        (tmp_path / name).write_text("raise RuntimeError('the caller\\'s own file')", encoding="utf-8")
    assert run_piped("version", cwd=tmp_path).stdout == f"{__version__}\n"


def test_the_words_of_the_command_line_do_not_clash():
    ours = {"serve", "call", "help", "version", "clean", "config", "demo", "doctor"}
    tools, commands = set(load_tools()), set(load_commands())
    assert not ours & tools and not ours & commands and not tools & commands
