"""What killed processes leave is removed by the next; what living ones use is not."""

import os
import subprocess
import sys
import time

import pytest
from optimizing_resources.tools._core import leftovers
from optimizing_resources.tools._core.leftovers import announced, sweep
from optimizing_resources.tools._core.workspace import Workspace

OWNER = """
import sys, tempfile
from optimizing_resources.tools._core.leftovers import own_scratch
own_scratch()
print(tempfile.mkdtemp(), flush=True)
sys.stdin.read()
"""

pytestmark = pytest.mark.skipif(os.name != "posix", reason="no locks on folders")


@pytest.fixture
def owner(tmp_path, monkeypatch):
    monkeypatch.setattr(leftovers.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(leftovers, "_YOUNG_SECONDS", 0.0)
    child = subprocess.Popen(
        [sys.executable, "-P", "-c", OWNER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        text=True,
    )
    child.stdout.readline()
    yield child
    child.kill()
    child.communicate()


def test_the_folder_of_a_killed_process_is_removed_and_that_of_a_living_one_kept(owner, tmp_path):
    workspace = Workspace.of_a_server(tmp_path / "none")
    assert sweep(workspace) == []
    owner.kill()
    owner.wait()
    assert len(sweep(workspace)) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_ends_in_peace_leaves_nothing(owner, tmp_path):
    owner.communicate("")
    assert list(tmp_path.iterdir()) == []


def test_half_written_artifacts_go_unless_somebody_writes_them(tmp_path, monkeypatch):
    monkeypatch.setattr(leftovers.tempfile, "tempdir", str(tmp_path / "elsewhere"))
    workspace = Workspace.of_a_server(tmp_path)
    whole = workspace.store("tmp_train_v2.py", b"{}")
    os.utime(whole, (time.time() - 60,) * 2)
    dead, living = whole.with_name("tmpdeadbeef"), whole.with_name("tmpalive123")
    for file in (dead, living):
        file.write_bytes(b"half")
        os.utime(file, (time.time() - 60,) * 2)
    with living.open("rb"):
        assert sweep(workspace) == [dead]
    assert whole.exists() and living.exists() and not dead.exists()


def test_a_file_that_was_announced_goes_and_one_that_somebody_only_claims_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(leftovers.tempfile, "tempdir", str(tmp_path / "elsewhere"))
    monkeypatch.setattr(leftovers, "_YOUNG_SECONDS", 0.0)
    root = tmp_path / "root"
    root.mkdir()
    workspace = Workspace.of_a_server(root)
    killed = announced(root / "train.py", workspace)
    half = killed.__enter__()
    half.write_bytes(b"half")
    precious = [tmp_path / ".outside.00.fresh", root / "train.py"]
    for number, file in enumerate(precious):
        file.write_bytes(b"precious")
        root.joinpath(f".optimizing-resources/pending/0{number}").write_text(str(file), encoding="utf-8")
    assert sweep(workspace) == [half]
    assert all(file.exists() for file in precious)
    assert list(root.glob(".optimizing-resources/pending/*")) == []


def test_what_ends_in_peace_leaves_neither_file_nor_note(tmp_path):
    workspace = Workspace.of_a_server(tmp_path)
    with announced(tmp_path / "train.py", workspace) as fresh:
        fresh.write_bytes(b"whole")
        fresh.replace(tmp_path / "train.py")
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {".gitignore", "train.py"}
