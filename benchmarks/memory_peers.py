"""Peak of a CPU training step: ours and peers beside the allocator's own count, on the families of the tests.

    python benchmarks/memory_peers.py [INTERPRETER_WITH_THE_PEERS]

accelerate is the peak of training with Adam in the table of `accelerate estimate-memory`, computed by its own functions
on the family's model, since the command itself knows models of a hub only. MemTracker is
torch.distributed._tools.mem_tracker on a real CPU step; torch-kitsune's predict_memory gets the model and the shape of
its input. "-" where a peer fails.
"""

import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parents[1] / "tests" / "tools"


def run(*command: str, python: str = sys.executable) -> dict[str, int | None]:
    """The JSON object on the last line that a script prints."""
    done = subprocess.run([python, *command], capture_output=True, text=True, check=True)
    found: dict[str, int | None] = json.loads(done.stdout.splitlines()[-1])
    return found


def peers() -> None:
    """In a process of its own: MemTracker's peak and 16 bytes per weight, by family."""
    import torch
    from torch.distributed._tools.mem_tracker import MemTracker

    sys.path.insert(0, str(TESTS))
    import memory_families
    import memory_runs

    torch.set_num_threads(1)
    found = {}
    for family in memory_families.FAMILIES:
        name = family.__name__
        found[f"{name}/simple"] = 16 * sum(p.numel() for p in family()["model"].parameters())
        for peer, predict in (("tracker", mem_tracker), ("kitsune", kitsune), ("accelerate", accelerate)):
            try:
                found[f"{name}/{peer}"] = predict(family(), memory_runs.one_step, MemTracker)
            except Exception as error:  # a peer's failure is a result
                print(f"{name}: {peer}: {error}", file=sys.stderr)
                found[f"{name}/{peer}"] = None
    print(json.dumps(found))


def mem_tracker(made: Any, one_step: Any, tracker_class: Any) -> int:
    """Its peak over two steps, without the batch of the second."""
    import torch

    tracker = tracker_class()
    tracker.track_external(made["model"], made["optimizer"], *made["batch"])
    kept: list[Any] = []
    with tracker:
        one_step(made, kept)
        tracker.reset_mod_stats()
        one_step(made, kept)
    peak: int = tracker.get_tracker_snapshot("peak")[torch.device("cpu")]["Total"]
    return peak


def kitsune(made: Any, one_step: Any, tracker_class: Any) -> int:
    """The sum of the parts that it predicts."""
    from kitsune import predict_memory

    sample = made["batch"][0]
    optimizer = "sgd" if "SGD" in type(made["optimizer"]).__name__ else "adamw"
    found = predict_memory(
        made["model"], tuple(sample.shape[1:]), batch_size=sample.shape[0], optimizer=optimizer
    )
    parts = (
        found.param_bytes,
        found.gradient_bytes,
        found.optimizer_bytes,
        found.activation_bytes,
        found.overhead_bytes,
    )
    return int(sum(parts))


def accelerate(made: Any, one_step: Any, tracker_class: Any) -> int:
    """The largest of the stages that its table shows for float32."""
    from accelerate.commands.estimate import estimate_training_usage
    from accelerate.utils import calculate_maximum_sizes

    weights, _largest_layer = calculate_maximum_sizes(made["model"])
    return int(max(estimate_training_usage(weights, "float32").values()))


COLUMNS = ("ours", "tracker", "kitsune", "accelerate", "simple")


def main() -> None:
    if sys.argv[1:] == ["peers"]:
        peers()
        return
    script = str(TESTS / "memory_runs.py")
    truth, ours = run(script, "truth"), run(script, "predict")
    others = run(__file__, "peers", python=sys.argv[1] if sys.argv[1:] else sys.executable)
    others |= {f"{name}/ours": value for name, value in ours.items()}
    heads = f"{'family':22s} {'measured':>12s} {'ours':>9s} {'MemTracker':>11s} {'kitsune':>9s} {'accelerate':>10s}"
    print(f"{heads} {'16 B/weight':>12s}")
    errors: dict[str, list[float]] = {column: [] for column in COLUMNS}
    for name, real in truth.items():
        cells = []
        for column in COLUMNS:
            value = others[f"{name}/{column}"]
            error = None if value is None or not real else value / real - 1
            cells.append("-" if error is None else f"{error:+.2%}")
            errors[column] += [] if error is None else [abs(error)]
        widths = zip(cells, (9, 11, 9, 10, 12), strict=True)
        print(f"{name:22s} {real:12d}", *(f"{cell:>{width}s}" for cell, width in widths))
    for column, found in errors.items():
        if found:
            print(
                f"{column}: {len(found)} families, median {statistics.median(found):.2%}, worst {max(found):.2%}"
            )


if __name__ == "__main__":
    main()
