"""What killed processes leave is removed by the next; what living ones use is not."""

import os
import subprocess
import sys
import time

import pytest
from optimizing_resources.tools._core import leftovers
from optimizing_resources.tools._core.leftovers import sweep
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
    whole = workspace.store("report.json", b"{}")
    dead, living = whole.with_name("tmpdeadbeef"), whole.with_name("tmpalive123")
    for file in (dead, living):
        file.write_bytes(b"half")
        os.utime(file, (time.time() - 60,) * 2)
    with living.open("rb"):
        assert sweep(workspace) == [dead]
    assert whole.exists() and living.exists() and not dead.exists()
