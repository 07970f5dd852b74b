"""10,000 mixed calls to one server over stdio: does it grow, and does it leave processes or descriptors behind?

    .venv/bin/python benchmarks/server_soak.py [calls]

Mostly light calls of every tool with its sample arguments and with broken ones, every resource, cancelled calls; at
every 500th a tool that starts a child. Resident memory, descriptors and children are read after the first 500 and at
the end, both times when nothing runs.
"""

import json
import os
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from server_load import Pipe, call, is_error, light

ROOT = Path(__file__).resolve().parents[1]
CALLS = json.loads((ROOT / "tests/samples/calls.json").read_text(encoding="utf-8"))
IN_CHILDREN = {
    "measure_run",
    "estimate_memory",
    "quantize_model",
    "prune_model",
    "distill_model",
    "compare_baselines",
}
WARM, BATCH = 500, 20


def mixed(listed: list[str]) -> tuple[str, dict[str, object]]:
    """One request: a tool with its sample or with something wrong, a resource, a list, a method there is not."""
    names = [name for name in listed if name not in IN_CHILDREN]
    kind = random.random()
    if kind < 0.45:
        return light(random.choice(["tools/list", "triage_constraint", "detect_hardware"]))
    if kind < 0.70:
        name = random.choice(names)
        return call(name, **CALLS[name])
    if kind < 0.85:
        name = random.choice(listed)
        wrong = random.choice([{"nonsense": 1}, {"path": "../x"}, {"text": 7}, {"python": "/nowhere"}])
        return call(name, **{**CALLS[name], **wrong})
    if kind < 0.95:
        return "resources/read", {
            "uri": random.choice(["report://", "skill://optimizing-resources/SKILL.md", "x://y"])
        }
    return random.choice(["prompts/list", "resources/list", "no/such/method"]), {}


def standing(server: Pipe) -> dict[str, int]:
    """What the server holds while nothing runs; work in a new child ends the engine that estimate_memory keeps warm."""
    server.wait(server.send([call("augment_series", **CALLS["augment_series"])]), 300)
    time.sleep(1)
    return {
        "rss_bytes": server.process.memory_info().rss,
        "descriptors": server.process.num_fds(),
        "threads": server.process.num_threads(),
        "children": len(server.process.children(recursive=True)),
    }


def main(calls: int) -> None:
    random.seed(0)
    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder, "workspace")
        shutil.copytree(ROOT / "examples/gpu_oom", workspace)
        shutil.copytree(ROOT / "tests/samples", workspace, dirs_exist_ok=True)
        server = Pipe(str(workspace))
        menu = server.wait(server.send([("tools/list", {})]))[0][1]
        listed = [tool["name"] for tool in menu["result"]["tools"]]  # type: ignore[index]
        done = errors = 0
        before: dict[str, int] = {}
        began = time.monotonic()
        while done < calls:
            batch = [mixed(listed) for _ in range(BATCH)]
            if done % 500 == 0:
                name = random.choice([name for name in listed if name in IN_CHILDREN] or listed)
                batch[0] = call(name, **CALLS[name])
            ids = server.send(batch)
            if (
                done % 200 == 0
            ):  # a cancelled request is not answered in every case: nobody waits for this one
                (lost,) = server.send([light("triage_constraint")])
                server.notify("notifications/cancelled", {"requestId": lost})
            errors += sum(is_error(reply) for _, reply in server.wait(ids, 300))
            done += BATCH
            if done == WARM:
                before = standing(server)
        after = standing(server)
        server.close()
        left = list(workspace.rglob("tmp*"))
    print(
        f"{done} calls in {time.monotonic() - began:.0f} s, {errors} declined on purpose; tools: {', '.join(listed)}"
    )
    for name, value in after.items():
        print(
            f"{name:12} after {WARM}: {before[name]:12,}   at the end: {value:12,}   growth {value - before[name]:,}"
        )
    print(f"temporaries left: {len(left)}; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
