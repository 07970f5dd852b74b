"""Peak of a CPU training step, predicted and measured, on steps that the engine was not built against.

    python benchmarks/memory_unseen.py [NAME...]

Torch alone is needed; Hugging Face and torchvision models join where those libraries can be imported. The truth is the
allocator's own events over two real steps on one thread; what a step writes is not shown. Needs fork (Linux, macOS).
"""

import importlib
import importlib.util
import json
import multiprocessing
import os
import statistics
import sys
import warnings
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import memory_unseen_families
import memory_unseen_kinds
import memory_unseen_libraries
import memory_unseen_loops
import memory_unseen_models
import memory_unseen_optimizers
import memory_unseen_steps
import memory_unseen_training
import memory_unseen_updates
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "tools"))
ENGINE = "optimizing_resources.tools.estimate_memory.engine"
CARD = {"caching": False, "name": "cpu"}
SECONDS = 300
ALONE = (
    memory_unseen_steps,
    memory_unseen_kinds,
    memory_unseen_loops,
    memory_unseen_optimizers,
    memory_unseen_models,
    memory_unseen_families,
    memory_unseen_training,
    memory_unseen_updates,
)


def names() -> list[str]:
    """The steps whose libraries are there."""
    missing = [
        prefix for prefix in ("transformers", "torchvision") if importlib.util.find_spec(prefix) is None
    ]
    libraries = [name for name in memory_unseen_libraries.NAMES if not name.startswith(tuple(missing))]
    return [name for module in ALONE for name in module.NAMES] + libraries


def home(name: str) -> Any:
    """The module that holds the step."""
    return next(module for module in (*ALONE, memory_unseen_libraries) if name in module.NAMES)


def measured(name: str) -> int:
    """Bytes at the peak of the real steps."""
    runs = importlib.import_module("memory_runs")
    torch.manual_seed(0)
    found: int = runs.truth(getattr(home(name), name))
    return found


def predicted(name: str) -> dict[str, Any]:
    """The engine's reply."""
    simulate = importlib.import_module(f"{ENGINE}.simulate")
    request = {
        "step": f"{home(name).__file__}:{name}", "arguments": {}, "batch_argument": None, "model_arguments": [],
        "kind": "cpu", "card": CARD, "limits": None, "remedies": [],
    }  # fmt: skip
    found: dict[str, Any] = simulate.answer(request, lambda *progress: None)
    return found


def in_a_fork(function: Callable[[str], Any], name: str) -> Any:
    """What the function returns in a process of its own, or a sentence."""
    here, there = multiprocessing.Pipe()
    child = multiprocessing.get_context("fork").Process(target=answer, args=(function, name, there))
    child.start()
    there.close()
    try:
        return here.recv() if here.poll(SECONDS) else f"no answer in {SECONDS} s"
    except EOFError:
        return f"the process ended with {child.exitcode}"
    finally:
        child.kill()
        child.join()


def answer(function: Callable[[str], Any], name: str, pipe: Connection) -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    try:
        pipe.send(function(name))
    except Exception as error:  # a step that fails is a result
        pipe.send(f"{type(error).__name__}: {error}")


def line(name: str, real: Any, ours: Any) -> tuple[str, float | None]:
    if not isinstance(real, int):
        return f"{name:28s} the real step failed: {real}", None
    if not isinstance(ours, dict) or "refused" in ours:
        return f"{name:28s} {real:12d} declined: {json.dumps(ours)[:160]}", None
    error = ours["peak_allocated_bytes"] / real - 1
    known = [f"{caveat['operation']} {caveat['direction']}" for caveat in ours["caveats"]]
    said = f"  (said: {', '.join(known)})" if known else ""
    return f"{name:28s} {real:12d} {ours['peak_allocated_bytes']:12d} {error:+8.2%}{said}", error


def main() -> None:
    importlib.import_module(f"{ENGINE}.simulate")
    importlib.import_module("memory_runs")
    with FakeTensorMode():
        torch.ones(1) * 2  # loads what torch loads late, once, before the forks
    print(f"{'step':28s} {'measured':>12s} {'predicted':>12s} {'error':>8s}")
    errors = []
    for name in sys.argv[1:] or names():
        text, error = line(name, in_a_fork(measured, name), in_a_fork(predicted, name))
        print(text, flush=True)
        errors += [] if error is None else [abs(error)]
    if not errors:
        return
    close = sum(error <= 0.01 for error in errors)
    print(
        f"{close} of {len(errors)} within 1 %, median {statistics.median(errors):.2%}, worst {max(errors):.1%}"
    )


if __name__ == "__main__":
    main()
