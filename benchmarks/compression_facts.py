"""The figures of references/compression.md that are no race: what clips, and what a fine-tune is needed for.

python benchmarks/compression_facts.py --work /tmp/models
"""

import argparse
import os
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import compression
import compression_peers
import numpy as np
import torch
from optimizing_resources.tools._compression.engine import prune, runners, variants


def forecasting_trap(world: compression.World) -> None:
    """MAE that static int8 loses on later rows, calibrated on the earliest fifth of the seen ones."""
    calls = {"fp32": runners.load(world.baseline, 1)}
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "input0.calibration.npy", world.seen[0][: len(world.seen[0]) // 5])
        about = {
            "folder": folder,
            "model": world.baseline["path"],
            "names": ["x"],
            "fixed_batch": None,
            "threads": 1,
        }
        for name in ("ort_static_all", "ort_static_weighted"):
            built = variants.build(
                {**about, "variant": {"name": name, **compression_peers.PRESETS[name]}}, None
            )
            calls[name] = runners.load(built["artifact"], 1)
        os.chdir("/")
    for part in ("seen", "unseen"):
        x, y = getattr(world, part)
        mae = {n: float(np.abs(runners.predict(c, {"x": x}, 64) - y).mean()) for n, c in calls.items()}
        lost = {n: round(v - mae["fp32"], 6) for n, v in mae.items()}
        print(f"{world.name}, {part} rows: MAE fp32 {mae['fp32']:.5f}, lost", lost, flush=True)


def without_fine_tune(world: compression.World) -> None:
    """Accuracy right after channels are removed."""
    x, y = (torch.from_numpy(a) for a in world.unseen)
    for sparsity in (0.0, 0.3, 0.5, 0.75):
        model = world.torch_model
        small = prune.shrink(model, [x[:2]], sparsity) if sparsity else model
        with torch.no_grad():
            right = (small.eval()(x).argmax(1) == y).float().mean()
        print(f"{world.name}, {sparsity:.0%} of the channels removed: accuracy {right:.3f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--work", type=Path, required=True)
    work = parser.parse_args().work.resolve()
    forecasting_trap(compression.make("convolutional", work / "convolutional"))
    if compression.models.ZOO.exists():
        without_fine_tune(compression.make("resnet", work / "resnet"))
    without_fine_tune(compression.make("separable", work / "separable"))


if __name__ == "__main__":
    main()
