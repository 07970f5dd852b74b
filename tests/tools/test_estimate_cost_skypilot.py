"""The task file: its text, and SkyPilot's own loader where OPTIMIZING_RESOURCES_SKYPILOT names a Python that has it."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from optimizing_resources.tools._core.contract import CALL, Call
from optimizing_resources.tools._core.workspace import Workspace
from optimizing_resources.tools.estimate_cost import EstimateCostRequest, estimate_cost

CHECKPOINT = {"interval_seconds": 1800, "write_seconds": 30, "restart_seconds": 300}
ASKED: list[dict[str, Any]] = [
    {"workload": {"kind": kind, **amount, "checkpoint": checkpoint}, "options": [{"name": name}],
     "constraints": {"spot": spot}}
    for name, spot in (
        ("aws us-east-1 g5.xlarge", "require"),
        ("gcp us-central1 a2-highgpu-1g", "require"),
        ("azure eastus Standard_NC4as_T4_v3", "forbid"),
        ("gcp us-central1 n1-standard-4+V100x1", "forbid"),
        ("aws us-east-1 c7i.large", "allow"),
    )
    for kind, amount in (("training", {"hours": 9}), ("batch", {"items_per_day": 1000, "items_per_second": 1}))
    for checkpoint in (CHECKPOINT, None)
]  # fmt: skip
LOAD = """
import sys, sky
for path in sys.argv[1:]:
    task = sky.Task.from_yaml(path)
    resources, = task.resources
    print(resources.cloud, resources.region, resources.instance_type, resources.use_spot, task.num_nodes)
"""


@pytest.fixture
def files(tmp_path: Path) -> Iterator[list[str]]:
    token = CALL.set(Call(Workspace.of_the_caller(tmp_path)))
    yield [
        str(estimate_cost(EstimateCostRequest.model_validate(asked)).skypilot_yaml_path) for asked in ASKED
    ]
    CALL.reset(token)


def test_a_task_asks_for_the_machine_the_region_and_a_place_for_checkpoints(files: list[str]) -> None:
    text = Path(files[0]).read_text(encoding="utf-8")
    for line in (
        "infra: aws/us-east-1",
        'instance_type: "g5.xlarge"',
        "use_spot: true",
        "/checkpoints:",
        "autostop:",
    ):
        assert line in text


@pytest.mark.slow
def test_skypilot_loads_every_task(files: list[str], tmp_path: Path) -> None:
    python = os.environ.get("OPTIMIZING_RESOURCES_SKYPILOT")
    if not python:
        pytest.skip("OPTIMIZING_RESOURCES_SKYPILOT names no Python with skypilot (0.14.1 is known to work)")
    environment = {**os.environ, "HOME": str(tmp_path), "SKYPILOT_DISABLE_USAGE_COLLECTION": "1"}
    done = subprocess.run(
        [python, "-c", LOAD, *files], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == len(ASKED) == 20
    assert done.stdout.splitlines()[0] == "AWS us-east-1 g5.xlarge True 1"
