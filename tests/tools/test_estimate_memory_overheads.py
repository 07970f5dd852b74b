"""What a card takes beside the allocator: measured, taken from messages and runs, and used later.

No card is at hand: NVML's reply is recorded, and the torch that measures is a stand-in, which keeps in files what each
process holds of a card of 24 GiB. On hardware this has not run.
"""

import os
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from optimizing_resources.tools._core.contract import CALL, Call
from optimizing_resources.tools._core.ledger import (
    Run,
    append,
    ledger_path,
    new_id,
    now,
    open_ledger,
    read_runs,
)
from optimizing_resources.tools._core.quantity import GIB, MIB
from optimizing_resources.tools._core.workspace import Workspace
from optimizing_resources.tools.estimate_memory import (
    EstimateMemoryReport,
    EstimateMemoryRequest,
    card,
    estimate_memory,
)
from optimizing_resources.tools.estimate_memory.card import resolve_card
from optimizing_resources.tools.estimate_memory.overheads import Overheads, known, measure

CONTEXT, LIBRARIES, CUBLAS = 310 * MIB, 120 * MIB, 17 * MIB
STAND_IN = f"""
import os, pathlib, sys, types
from unittest.mock import MagicMock

class Cuda:
    def __init__(self):
        self.reserved = self.libraries = 0

    def _hold(self):
        place = pathlib.Path({{folder!r}}, str(os.getpid()))
        place.write_text(str({CONTEXT} + self.libraries + self.reserved))

    def mem_get_info(self):
        self._hold()
        held = [int(p.read_text()) for p in pathlib.Path({{folder!r}}).iterdir() if os.path.exists("/proc/" + p.name)]
        return {24 * GIB} - sum(held), {24 * GIB}

    def memory_reserved(self):
        self._hold()
        return self.reserved

    memory_allocated = memory_reserved

    def synchronize(self):
        self.reserved += {2 * MIB}
        self._hold()

class Torch(types.ModuleType):
    __version__, version, cuda = "9.9", types.SimpleNamespace(cuda={{cuda!r}}), Cuda()

    def mm(self, *args, **kwargs):
        self.cuda.reserved, self.cuda.libraries = self.cuda.reserved + {CUBLAS}, {LIBRARIES}

    def __getattr__(self, name):
        return MagicMock()

sys.modules["torch"] = Torch("torch")
"""
NVML = {
    "driver": "550.54",
    "why": {},
    "devices": [
        {"index": 0, "name": "NVIDIA A10G", "uuid": "GPU-0aaaaaaa-1111-2222-3333-444444444444", "mig": False,
         "memory": [24 * GIB, 20 * GIB, 4 * GIB], "compute_capability": [8, 6], "slices": [], "processes": [],
         "utilization": 5, "power_limit_milliwatts": 300000, "throttle": 0, "ecc_errors": 0}
    ],
}  # fmt: skip
MESSAGE = (
    "CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 22.06 GiB of which 5.00 MiB is "
    "free. Process 7 has 4.00 GiB memory in use. Including non-PyTorch memory, this process has 18.05 GiB memory in "
    "use. Of the allocated memory 17.00 GiB is allocated by PyTorch, and 512.00 MiB is reserved by PyTorch but "
    "unallocated."
)
SMALL = {"layers": 2, "hidden": 256, "heads": 4, "vocab": 1000, "sequence_length": 64, "batch_size": 2}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    place = Workspace.of_a_server(tmp_path)
    CALL.set(Call(place))
    return place


def with_a_card(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cuda: str | None = "13.0") -> Path:
    """An interpreter whose torch is the stand-in, on a machine with NVML's recorded card."""
    monkeypatch.setattr(card, "ask_nvml", lambda: NVML)
    held, packages = tmp_path / "held", tmp_path / "packages"
    held.mkdir()
    packages.mkdir()
    (packages / "torch.py").write_text(STAND_IN.format(folder=str(held), cuda=cuda), encoding="utf-8")
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={packages} exec {sys.executable} "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    return python


def dimensions(gpu: str | None, **more: Any) -> EstimateMemoryReport:
    """A quick answer, which measures nothing by itself."""
    return estimate_memory(EstimateMemoryRequest(step="transformer", arguments=SMALL, gpu=gpu, **more))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a card is measured on Linux only")
def test_the_machines_own_card_is_measured_once_and_remembered(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, workspace: Workspace
) -> None:
    python = with_a_card(monkeypatch, tmp_path)
    own = resolve_card(None)
    assumed = dimensions(None)
    assert measure(own, python, workspace) is None
    seen = known(own, workspace)
    assert seen == Overheads(CONTEXT + LIBRARIES, CONTEXT, CUBLAS, seen.source if seen else "")
    assert own.for_engine(False, seen.cublas_bytes)["cublas_bytes"] == CUBLAS

    python.unlink()  # what was measured is not measured again
    assert measure(own, python, workspace) is None
    found = dimensions(None)
    assert (assumed.bases["outside_bytes"], found.bases["outside_bytes"]) == ("assumed", "measured")
    assert found.outside_bytes == 4 * GIB + CONTEXT + LIBRARIES
    assert found.capacity_bytes == 20 * GIB - CONTEXT
    assert any("small step with torch 9.9" in line for line in found.assumptions)
    assert dimensions("A10G").outside_bytes == CONTEXT + LIBRARIES  # the same card, asked for by name
    assert dimensions("T4").bases["outside_bytes"] == "assumed"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a card is measured on Linux only")
def test_a_torch_without_cuda_leaves_the_card_unmeasured_and_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, workspace: Workspace
) -> None:
    python = with_a_card(monkeypatch, tmp_path, cuda=None)
    own = resolve_card(None)
    assert "without CUDA" in (measure(own, python, workspace) or "")
    assert "earlier attempt" in (measure(own, python, workspace) or "")
    assert known(own, workspace) is None


def test_a_message_that_counts_its_own_process_teaches_the_named_card_once(workspace: Workspace) -> None:
    for _ in range(2):
        assert dimensions("A10G", oom_text=MESSAGE).bases["outside_bytes"] == "measured"
    later = dimensions("A10G")
    assert later.bases["outside_bytes"] == "measured"
    assert later.outside_bytes == pytest.approx(18.05 * GIB - 17.5 * GIB, abs=MIB)
    assert any("out-of-memory message" in line for line in later.assumptions)
    dimensions("T4", oom_text=MESSAGE)  # a message of another card
    assert dimensions("T4").bases["outside_bytes"] == "assumed"
    with closing(open_ledger(ledger_path(workspace))) as ledger:
        assert len(read_runs(ledger)) == 1


@pytest.mark.parametrize(
    ("outside", "basis"), [(640 * MIB, "measured"), (9 * GIB, "assumed"), (0, "assumed")]
)
def test_a_measured_run_teaches_the_card_it_ran_on_unless_it_was_several_processes(
    workspace: Workspace, outside: int, basis: str
) -> None:
    report = {"peak_gpu_reserved_bytes": 5 * GIB, "peak_gpu_device_bytes": 5 * GIB + outside}
    row = Run(id=new_id(), taken_at=now(), tool="measure_run", outcome="finished", workload="w", report=report,
              device="a processor, 8 cores, 64 GiB; NVIDIA A10G")  # fmt: skip
    with closing(open_ledger(ledger_path(workspace))) as ledger:
        append(ledger, row)
    found = dimensions("A10G")
    assert found.bases["outside_bytes"] == basis
    assert (found.outside_bytes == outside and row.id in found.assumptions[-1]) == (basis == "measured")
