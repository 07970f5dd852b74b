"""A SkyPilot task file for a plan: the existing engine runs it, on any cloud it knows."""

import json

from .candidate import Candidate
from .workload import AnyWorkload, Batch, Training

_CLOUDS = {
    "aws",
    "azure",
    "gcp",
    "lambda",
    "nebius",
    "runpod",
    "oraclecloud",
    "paperspace",
    "fluidstack",
    "cudocompute",
}
_OTHER_NAMES = {"oraclecloud": "oci", "cudocompute": "cudo"}
_IDLE_MINUTES = 10


def task(one: Candidate, workload: AnyWorkload) -> str | None:
    """YAML text for a job on a rented machine; None for a service, serverless, own hardware or an unknown cloud."""
    cloud = one.choice.provider
    if (
        not isinstance(workload, Training | Batch)
        or cloud not in _CLOUDS
        or one.purchase not in ("spot", "on_demand")
    ):
        return None
    kept = isinstance(workload, Training) or workload.checkpoint is not None
    lines = [
        f"# {one.name}: about {one.usd:.2f} USD. Fill in setup and run; then: sky jobs launch task.yaml",
        f"name: {'train' if isinstance(workload, Training) else 'batch'}",
        "",
        "resources:",
        f"  infra: {_infra(cloud, one.choice.region)}",
        f"  instance_type: {json.dumps(one.choice.machine)}",
        f"  use_spot: {'true' if one.purchase == 'spot' else 'false'}",
        *(["  job_recovery: EAGER_NEXT_REGION"] if one.purchase == "spot" else []),
        f"  autostop: {{idle_minutes: {_IDLE_MINUTES}, down: true}}",
        "",
        f"num_nodes: {one.machines}",
        "",
        *(
            [
                "file_mounts:",
                "  /checkpoints:",
                "    name: my-checkpoints  # a bucket of yours; must be unique",
                "    mode: MOUNT",
                "",
            ]
            if kept
            else []
        ),
        "setup: |",
        "  pip install -r requirements.txt",
        "",
        "run: |",
        *(
            [f"  # write a checkpoint about every {one.extras['best_checkpoint_seconds']:.0f} s"]
            if "best_checkpoint_seconds" in one.extras
            else []
        ),
        "  python train.py --checkpoint-dir /checkpoints --resume" if kept else "  python job.py",
    ]
    return "\n".join(lines) + "\n"


def _infra(cloud: str, region: str | None) -> str:
    name = _OTHER_NAMES.get(cloud, cloud)
    return f"{name}/{region}" if region else name
