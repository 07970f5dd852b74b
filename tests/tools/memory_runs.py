"""`python memory_runs.py truth`: peaks of real CPU steps by torch's own allocation events; `predict`: the engine's.

Both print one JSON object, bytes by family, as the last line.
"""

import importlib
import json
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))
families = importlib.import_module("memory_families")


def one_step(made, kept):
    """One step; as a loop's variable does, the last loss lives until the next one is there."""
    if "step" in made:
        made["step"](made["model"], made["batch"], made["optimizer"])
        return
    for _ in range(min(made.get("accumulation_steps", 1), 2)):
        loss = made["loss"](made["model"], made["batch"])
        kept[:] = [loss]
        loss.backward()
    made["optimizer"].step()
    made["optimizer"].zero_grad()


def two_steps(made):
    kept = []
    one_step(made, kept)
    one_step(made, kept)


def allocations(event, found):
    if event.tag == torch._C._profiler._EventType.Allocation:
        found.append((event.start_time_ns, event.extra_fields.alloc_size))
    for child in event.children:
        allocations(child, found)


def truth(make_step):
    kept = []  # the model must outlive the measurement
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as profile:
        kept.append(make_step())
        two_steps(kept[0])
    found = []
    for event in profile.profiler.kineto_results.experimental_event_tree():
        allocations(event, found)
    now = peak = 0
    for _, size in sorted(found, key=lambda pair: pair[0]):
        now += size
        peak = max(peak, now)
    return peak


def predict(make_step):
    engine = "optimizing_resources.tools.estimate_memory.engine"
    step, simulate = (importlib.import_module(f"{engine}.{name}") for name in ("step", "simulate"))
    card = {"caching": False}
    trace = step.simulate(make_step, {}, "cpu", card)
    return simulate.peak(trace, "cpu", card)["peak_allocated_bytes"]


def main():
    torch.set_num_threads(1)
    if sys.argv[1] == "predict":
        engine = "optimizing_resources.tools.estimate_memory.engine"
        importlib.import_module(f"{engine}.simulate").install("cpu", {})
    measure = {"truth": truth, "predict": predict}[sys.argv[1]]
    print(json.dumps({family.__name__: measure(family) for family in families.FAMILIES}))


if __name__ == "__main__":
    main()
