"""Which Python runs the caller's code."""

import sys
import venv
from pathlib import Path

import pytest
from optimizing_resources.tools._core import interpreter
from optimizing_resources.tools._core.contract import ToolError
from optimizing_resources.tools._core.interpreter import resolve_python
from optimizing_resources.tools._core.workspace import Workspace


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    return Workspace.of_the_caller(tmp_path)


def environment(folder):
    venv.create(folder, with_pip=False, symlinks=True)
    return folder / "bin/python"


def test_the_order_is_named_then_active_then_the_workspaces_then_ours(workspace, monkeypatch, tmp_path):
    assert resolve_python(None, workspace) == Path(sys.executable)
    own = environment(workspace.root / ".venv")
    assert resolve_python(None, workspace) == own
    active = environment(tmp_path / "active")
    monkeypatch.setenv("VIRTUAL_ENV", str(active.parents[1]))
    assert resolve_python(None, workspace) == active
    assert resolve_python(sys.executable, workspace) == Path(sys.executable)


def test_a_folder_is_an_environment_and_its_link_is_kept(workspace):
    python = environment(workspace.root / "env")
    assert resolve_python("env", workspace) == python and python.is_symlink()


@pytest.mark.parametrize("named", ["nowhere/python", "notes.txt", ".", "/bin/true"])
def test_what_is_no_interpreter_is_refused_with_advice(workspace, named):
    (workspace.root / "notes.txt").touch()
    with pytest.raises(ToolError, match="which python"):
        resolve_python(named, workspace)


def test_an_interpreter_that_was_slow_once_is_asked_again(workspace, monkeypatch):
    slow = workspace.root / "python"
    slow.write_text(
        '#!/bin/sh\n[ -e "$0.ran" ] && echo 42 && exit\ntouch "$0.ran"; exec sleep 60\n', encoding="utf-8"
    )
    slow.chmod(0o755)
    monkeypatch.setattr(interpreter, "_ANSWER_SECONDS", 1)
    with pytest.raises(ToolError, match="does not answer"):
        resolve_python("python", workspace)
    monkeypatch.setattr(interpreter, "_ANSWER_SECONDS", 60)
    (workspace.root / "python.ran").touch()  # however slow the first start was
    assert resolve_python("python", workspace) == slow
