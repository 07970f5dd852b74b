"""Which files are within reach, and where artifacts go."""

import os
import subprocess
from pathlib import Path

import pytest
from optimizing_resources.tools._core.contract import ToolError
from optimizing_resources.tools._core.workspace import Workspace


@pytest.fixture
def home(tmp_path):
    """A project, a data folder beside it, and a secret that neither holds."""
    for folder in ("project/sub", "data", "elsewhere"):
        (tmp_path / folder).mkdir(parents=True)
    for file in ("project/train.log", "project/sub/inner.log", "data/rows.csv", "elsewhere/secret"):
        (tmp_path / file).write_text("x", encoding="utf-8")
    return tmp_path


def refusal(workspace, path):
    with pytest.raises(ToolError) as refused:
        workspace.file(Path(path))
    return str(refused.value)


def test_a_relative_and_an_absolute_path_name_the_same_file(home):
    workspace = Workspace.of_a_server(home / "project")
    assert workspace.file(Path("train.log")) == workspace.file(home / "project/train.log")


@pytest.mark.parametrize(
    "path", ["../elsewhere/secret", "sub/../../elsewhere/secret", "~/x", "/etc/passwd", "link"]
)
def test_a_server_reads_nothing_outside_its_workspace(home, path):
    (home / "project/link").symlink_to(home / "elsewhere/secret")
    assert "outside the workspace" in refusal(Workspace.of_a_server(home / "project"), path)


def test_a_link_to_a_file_inside_is_followed(home):
    (home / "project/link").symlink_to(home / "project/train.log")
    workspace = Workspace.of_a_server(home / "project")
    assert workspace.file(Path("link")) == (home / "project/train.log").resolve()


def test_a_folder_whose_name_begins_like_the_workspace_is_outside(home):
    (home / "project-two").mkdir()
    (home / "project-two/train.log").touch()
    assert "outside" in refusal(Workspace.of_a_server(home / "project"), "../project-two/train.log")


def test_an_allowed_folder_is_within_reach(home):
    workspace = Workspace.of_a_server(home / "project", (home / "data",))
    assert workspace.file(home / "data/rows.csv").name == "rows.csv"
    assert "outside" in refusal(workspace, home / "elsewhere/secret")


def test_on_the_command_line_a_path_the_user_types_is_allowed(home):
    workspace = Workspace.of_the_caller(home / "project")
    assert workspace.file(Path("../elsewhere/secret")).name == "secret"


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("trian.log", "train.log"),
        ("sub", "inner.log"),
        ("pipe", "no regular file"),
        ("nowhere/x", "No such file"),
    ],
)
def test_what_is_no_readable_file_is_refused_with_advice(home, path, words):
    os.mkfifo(home / "project/pipe")
    assert words in refusal(Workspace.of_a_server(home / "project"), path)


@pytest.mark.parametrize("path", ["a\0b", "x" * 5000, "~no-such-user/x", "loop"])
def test_a_path_that_cannot_be_used_is_refused(home, path):
    (home / "project/loop").symlink_to(home / "project/loop")
    assert "The path cannot be used" in refusal(Workspace.of_a_server(home / "project"), path)


@pytest.mark.parametrize("folder", ["/", str(Path.home())])
def test_a_server_started_outside_a_project_holds_no_files(monkeypatch, folder):
    monkeypatch.chdir(folder)
    workspace = Workspace.of_a_server(None)
    assert "--workspace DIR" in refusal(workspace, "train.log")
    with pytest.raises(ToolError, match="--workspace DIR"):
        workspace.store("plan.txt", b"x")


def test_such_a_server_still_reads_what_its_flag_allows(monkeypatch, home):
    monkeypatch.chdir("/")
    workspace = Workspace.of_a_server(None, (home / "data",))
    assert workspace.file(home / "data/rows.csv").exists()
    assert "--workspace DIR" in refusal(workspace, home / "project/train.log")


def test_roots_inside_the_workspace_take_its_place(home):
    workspace = Workspace.of_a_server(home).narrowed((home / "project", home / "data"))
    assert workspace.file(Path("train.log")).exists() and workspace.file(home / "data/rows.csv").exists()
    assert "outside" in refusal(workspace, home / "elsewhere/secret")


def test_roots_around_the_workspace_do_not_widen_it(home):
    workspace = Workspace.of_a_server(home / "project").narrowed((home,))
    assert "outside" in refusal(workspace, home / "elsewhere/secret")


def test_roots_elsewhere_leave_only_what_the_flag_allows(home):
    workspace = Workspace.of_a_server(home / "project", (home / "data",)).narrowed((home / "elsewhere",))
    assert "roots" in refusal(workspace, "train.log")
    assert "roots" in refusal(workspace, home / "elsewhere/secret")
    assert workspace.file(home / "data/rows.csv").exists()


def test_roots_give_no_files_to_a_server_that_holds_none(monkeypatch, home):
    monkeypatch.chdir("/")
    workspace = Workspace.of_a_server(None).narrowed((home / "project",))
    assert "--workspace DIR" in refusal(workspace, home / "project/train.log")


def test_an_artifact_is_named_by_its_content_and_written_once(home):
    workspace = Workspace.of_a_server(home / "project")
    first = workspace.store("../plan.txt", b"one")
    os.utime(first, (0, 0))
    assert workspace.store("plan.txt", b"one") == first and first.stat().st_mtime == 0
    assert workspace.store("plan.txt", b"two") != first
    assert first.read_bytes() == b"one" and first.parent == workspace.root / ".optimizing-resources/artifacts"


def test_git_sees_nothing_of_the_artifact_folder(home):
    Workspace.of_a_server(home / "project").store("plan.txt", b"one")
    subprocess.run(["git", "init", "-q"], cwd=home / "project", check=True)
    seen = subprocess.run(
        ["git", "status", "--porcelain"], cwd=home / "project", capture_output=True, text=True
    )
    assert ".optimizing-resources" not in seen.stdout
