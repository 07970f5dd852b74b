"""quantize_model against the presets of the libraries, every row timed in one window.

    python benchmarks/compression.py --work /tmp/models --only-train     # once: trains and exports
    python benchmarks/compression.py --work /tmp/models --search-seconds 40 [--compile] [MODEL ...]

Per model: the tool searches with 60 % of the evaluation rows; then its choice, every peer preset, fp32 and a second
copy of fp32 are timed in alternating blocks at batch 1 and 64, and the budget is checked on the other 40 %.
Peers: ORT dynamic int8 (per tensor, per channel), ORT static QDQ (all operations; MatMul, Gemm, Conv only), NNCF
defaults, for trees LightGBM itself; with --compile also torch.compile, torchao int8 (dynamic, weight-only) and Intel
Neural Compressor (static, dynamic), each compiled for its batch size; those take minutes per model.
A peer counts where it keeps the budget on the unseen rows. `clock` says whether wall or processor time compares.
"""

import argparse
import csv
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import compression_models as models
import compression_peers
import numpy as np
import torch
from optimizing_resources.tools._compression.engine import clock, judge, program, runners
from optimizing_resources.tools._core.contract import CALL, Call
from optimizing_resources.tools._core.workspace import Workspace
from optimizing_resources.tools.quantize_model import QuantizeModelRequest, quantize_model

SHARE = 0.01
SECONDS = 4.0  # of interleaved timing per batch size


@dataclass
class World:
    """One trained model: what quantize_model is given, the fp32 artifact, and rows that nobody chose by."""

    name: str
    folder: Path
    arguments: dict[str, Any]
    baseline: dict[str, Any]
    seen: tuple[Any, Any]
    unseen: tuple[Any, Any]
    torch_model: Any = None


def make(name: str, folder: Path) -> World:
    """The model's files in the folder; what is there already is taken as it is."""
    folder.mkdir(parents=True, exist_ok=True)
    if name == "boosted":
        seen, unseen = models.boosted(folder)
        arguments = {"model": "boosted.txt", "metric": "accuracy"}
        baseline = {"runtime": "lightgbm", "path": str(folder / "boosted.txt")}
        world = World(name, folder, arguments, baseline, seen, unseen)
    else:
        world = _network(name, folder)
    np.savez(folder / "rows.npz", x=world.seen[0], y=world.seen[1])
    return world


def _network(name: str, folder: Path) -> World:
    model, metric, seen, unseen = models.make(name, folder)
    source = models.ZOO if name not in models.OWN else Path(models.networks.__file__)
    (folder / "net.py").write_text(source.read_text(encoding="utf-8"), encoding="utf-8")
    examples = [torch.from_numpy(np.ascontiguousarray(seen[0][:2]))]
    path = folder / "fp32.onnx"
    if not path.exists():
        exported, _ = program.to_program(model, examples)
        program.to_onnx(exported or model, examples, ["x"], str(path))
    arguments = {"model": f"net.py:{type(model).__name__}", "weights": f"{name}.pt", "metric": metric}
    return World(name, folder, arguments, {"runtime": "onnxruntime", "path": str(path)}, seen, unseen, model)


def peers(world: World, use_compile: bool) -> dict[str, Any]:
    """The presets as callables."""
    if world.torch_model is None:
        return {"lightgbm": runners.load(world.baseline, 1)}
    calibration = world.seen[0][: len(world.seen[0]) // 5]
    found = compression_peers.presets(world.baseline["path"], calibration)
    return {**found, **(compression_peers.in_torch(world.torch_model, calibration) if use_compile else {})}


def within(world: World, call, reference) -> tuple[bool, float]:
    """Whether the drop on rows that nobody chose by stays within one point or one percent, and the drop."""
    x, y = world.unseen
    metric = world.arguments["metric"]
    mine = runners.predict(call, {"x": x}, 64).reshape(reference.shape)
    if not np.isfinite(mine).all():
        return False, float("nan")
    before, after = (judge.metric_value(metric, p, y) for p in (reference, mine))
    drop = before - after if metric == "accuracy" else after - before
    return drop <= SHARE * (1 if metric == "accuracy" else before) + 1e-12, drop


def measure(world: World, search_seconds: float, use_compile: bool):
    """One row per batch size."""
    CALL.set(Call(Workspace.of_the_caller(world.folder)))
    report = quantize_model(
        QuantizeModelRequest(
            **world.arguments, data="rows.npz", max_metric_drop="1%", max_search_seconds=search_seconds
        )
    )
    references = {key: runners.load(world.baseline, 1) for key in ("baseline", "control")}
    reference = runners.predict(references["baseline"], {"x": world.unseen[0]}, 64)
    kept = {n: c for n, c in peers(world, use_compile).items() if within(world, c, reference)[0]}
    for batch, pick in report.chosen.by_batch_size.items():
        artifact = {
            "runtime": pick.runtime,
            "path": pick.path,
            "inputs": ["x"],
            "precision": pick.precision or "f32",
        }
        chosen = runners.load(artifact, 1)
        rows = {"x": np.ascontiguousarray(world.unseen[0][np.arange(int(batch)) % len(world.unseen[0])])}
        calls = {**references, **kept, "chosen": chosen}
        times = clock.interleave({n: (lambda c=c, r=rows: c(r)) for n, c in calls.items()}, SECONDS)
        speed, used = clock.ratios(times, 1)
        best = max([*kept, "baseline"], key=lambda n: speed[n])
        fine, drop = within(world, chosen, reference)
        yield {
            "model": world.name, "batch": batch, "chosen": pick.variant, "chosen_speedup": round(speed["chosen"], 3),
            "best_peer": best, "best_peer_speedup": round(speed[best], 3),
            "peer_over_chosen": round(speed["chosen"] / speed[best], 3), "control": round(speed["control"], 3),
            "clock": used, "unseen_drop": round(drop, 6), "in_budget": fine,
            "search_seconds": report.conditions.seconds, "load": round(os.getloadavg()[0], 1),
            "peers": " ".join(f"{n}:{speed[n]:.2f}" for n in sorted(kept, key=lambda n: -speed[n])),
        }  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("models", nargs="*")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("results") / "compression.csv")
    parser.add_argument("--work", type=Path, help="keeps trained models for the next run")
    parser.add_argument("--search-seconds", type=float, default=120)
    parser.add_argument("--only-train", action="store_true")
    parser.add_argument("--compile", action="store_true")
    arguments = parser.parse_args()
    out = arguments.out.resolve()  # building a candidate changes the current folder
    work = (arguments.work or Path(tempfile.mkdtemp())).resolve()
    zoo = ["mlp", "resnet", "lstm"] if models.ZOO.exists() else []
    rows = []
    for name in arguments.models or [*zoo, *models.OWN, "boosted"]:
        world = make(name, work / name)
        if arguments.only_train:
            continue
        for row in measure(world, arguments.search_seconds, arguments.compile):
            print(row, flush=True)
            rows.append(row)
        with out.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    if rows:
        ratios = [row["peer_over_chosen"] for row in rows]
        print("worst", min(ratios), "geometric mean", round(float(np.exp(np.mean(np.log(ratios)))), 3))


if __name__ == "__main__":
    main()
