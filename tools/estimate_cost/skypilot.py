"""A SkyPilot task file for a plan: the existing engine runs it, on any cloud it knows."""

import json

from .candidate import Candidate
from .workload import AnyWorkload, Batch, Training

_CLOUDS = ("aws", "azure", "gcp")  # whose machine names in the catalog are the clouds' own
_IDLE_MINUTES = 10


def task(one: Candidate, workload: AnyWorkload) -> str | None:
    """YAML text for a job on a rented machine; None for a service, serverless, own hardware or another cloud."""
    choice = one.choice
    if not isinstance(workload, Training | Batch) or choice.provider not in _CLOUDS or choice.machine is None:
        return None
    if one.purchase not in ("spot", "spot_then_on_demand", "on_demand"):
        return None
    lines = [
        f"# {one.name}: about {one.usd:.2f} USD. Fill in setup and run; then: sky jobs launch task.yaml",
        f"name: {workload.kind}",
        "",
        *_resources(one),
        f"num_nodes: {one.machines}",
        "",
        *(_checkpoints() if _keeps(workload) else []),
        "setup: |",
        "  pip install -r requirements.txt",
        "",
        "run: |",
        *_run(one, workload),
    ]
    return "\n".join(lines) + "\n"


def _resources(one: Candidate) -> list[str]:
    """Where and on what; a region that is named is kept to, so that the price holds."""
    choice = one.choice
    machine, attached, _ = (choice.machine or "").partition(
        "+"
    )  # n1-standard-4+T4x1: a card attached to a host
    lines = [
        "resources:",
        f"  infra: {choice.provider}/{choice.region}" if choice.region else f"  infra: {choice.provider}",
        f"  instance_type: {json.dumps(machine)}",
    ]
    if attached:
        lines.append(f"  accelerators: {choice.accelerator}:{choice.gpus:g}")
    if one.purchase == "spot_then_on_demand":
        lines.append("  # when the slack is used up: cancel it and launch again with use_spot: false")
    if one.purchase != "on_demand":
        lines += ["  use_spot: true", "  job_recovery: EAGER_NEXT_REGION  # without a region above, in any"]
    return [*lines, f"  autostop: {{idle_minutes: {_IDLE_MINUTES}, down: true}}", ""]


def _keeps(workload: Training | Batch) -> bool:
    return isinstance(workload, Training) or workload.checkpoint is not None


def _checkpoints() -> list[str]:
    return [
        "file_mounts:",
        "  /checkpoints:",
        "    name: my-checkpoints  # a bucket of yours; names are unique in the world",
        "    mode: MOUNT",
        "",
    ]


def _run(one: Candidate, workload: Training | Batch) -> list[str]:
    if not _keeps(workload):
        return ["  python job.py"]
    best = one.extras.get("best_checkpoint_seconds")
    often = [f"  # write a checkpoint about every {best:.0f} s"] if best else []
    return [*often, "  python train.py --checkpoint-dir /checkpoints --resume"]
