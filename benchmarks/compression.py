"""quantize_model against the presets of the libraries, every row timed in one window.

    python benchmarks/compression.py --out benchmarks/results/compression.csv [MODEL ...]

Per model: the tool searches with 60 % of the evaluation rows; then its choice, every peer preset, fp32 and a second
copy of fp32 are timed in alternating blocks at batch 1 and 64, and the budget is checked on the other 40 %.
Peers: ORT dynamic int8 (per tensor, per channel), ORT static QDQ (all operations; MatMul, Gemm, Conv only), NNCF
defaults, and with --compile torch.compile. A peer counts where it keeps the budget on the unseen rows.
"""

import argparse
import contextlib
import csv
import os
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import compression_models as models
import numpy as np
import torch
from optimizing_resources.tools._compression.engine import clock, judge, runners, variants
from optimizing_resources.tools._core.contract import CALL, Call
from optimizing_resources.tools._core.workspace import Workspace
from optimizing_resources.tools.quantize_model import QuantizeModelRequest, quantize_model

SHARE = 0.01
PEERS = {
    "ort_dynamic": {"kind": "dynamic", "ops": ["MatMul", "Gemm", "LSTM", "Attention"]},
    "ort_dynamic_per_channel": {
        "kind": "dynamic",
        "ops": ["MatMul", "Gemm", "LSTM", "Attention"],
        "per_channel": True,
    },
    "ort_static_all": {"kind": "static"},
    "ort_static_weighted": {"kind": "static", "ops": ["Conv", "MatMul", "Gemm"]},
    "nncf_default": {"kind": "nncf"},
}


def peers(folder, model, rows):
    """The presets as callables; one that cannot be built is left out."""
    np.save(folder / "input0.calibration.npy", rows[0][: len(rows[0]) // 5])
    request = {"folder": str(folder), "model": str(model), "names": ["x"], "fixed_batch": None, "threads": 1}
    found = {}
    for name, settings in PEERS.items():
        with contextlib.suppress(Exception):  # a preset that fails is no peer
            built = variants.build({**request, "variant": {"name": name, **settings}}, None)
            found[name] = runners.load(built["artifact"], 1)
    return found


def compiled(model):
    fast = torch.compile(model, dynamic=False)

    def call(feeds):
        with torch.inference_mode():
            return fast(torch.from_numpy(feeds["x"])).numpy()

    return call


def within(metric, call, reference, unseen):
    """Whether the drop on rows that nobody chose by stays within one point or one percent."""
    x, y = unseen
    mine = runners.predict(call, {"x": x}, 64).reshape(reference.shape)
    if not np.isfinite(mine).all():
        return False, float("nan")
    before, after = (judge.metric_value(metric, p, y) for p in (reference, mine))
    drop = before - after if metric == "accuracy" else after - before
    return drop <= SHARE * (1 if metric == "accuracy" else before) + 1e-12, drop


def measure(name, folder, use_compile):
    model, metric, seen, unseen = models.make(name, folder)
    np.savez(folder / f"{name}.npz", x=seen[0], y=seen[1])
    source = models.ZOO if name not in models.OWN else Path(models.__file__)
    (folder / "net.py").write_text(source.read_text(encoding="utf-8"), encoding="utf-8")
    factory = type(model).__name__
    request = QuantizeModelRequest(
        model=f"net.py:{factory}",
        weights=f"{name}.pt",
        data=f"{name}.npz",
        metric=metric,
        max_metric_drop="1%",
    )
    CALL.set(Call(Workspace.of_the_caller(folder)))
    report = quantize_model(request)
    exported = next((folder / ".optimizing-resources/compression").glob("*/model.onnx"))
    calls = {
        key: runners.load({"runtime": "onnxruntime", "path": str(exported)}, 1) for key in ("fp32", "control")
    }
    reference = runners.predict(calls["fp32"], {"x": unseen[0]}, 64)
    presets = peers(folder, exported, seen)
    if use_compile:
        presets["torch_compile"] = compiled(model)
    kept = {n: c for n, c in presets.items() if within(metric, c, reference, unseen)[0]}
    for batch, pick in report.chosen.by_batch_size.items():
        artifact = {"runtime": pick.runtime, "path": pick.path, "inputs": ["x"]}
        if pick.variant.endswith("bf16"):
            artifact["precision"] = "bf16"
        chosen = runners.load(artifact, 1)
        x = {"x": np.ascontiguousarray(unseen[0][np.arange(int(batch)) % len(unseen[0])])}
        bound = {n: (lambda c=c, x=x: c(x)) for n, c in {**calls, **kept, "chosen": chosen}.items()}
        p10 = {n: float(np.percentile(t, 10)) for n, t in clock.interleave(bound, 4.0)[0].items()}
        fine, drop = within(metric, chosen, reference, unseen)
        best = min(kept, key=lambda n: p10[n], default="fp32")
        best = best if p10[best] < p10["fp32"] else "fp32"
        yield {
            "model": name, "batch": batch, "chosen": pick.variant,
            "chosen_speedup": round(p10["fp32"] / p10["chosen"], 3),
            "best_peer": best,
            "best_peer_speedup": round(p10["fp32"] / p10[best], 3),
            "peer_over_chosen": round(p10[best] / p10["chosen"], 3), "control": round(p10["fp32"] / p10["control"], 3),
            "unseen_drop": round(drop, 6), "in_budget": fine, "search_seconds": report.conditions.seconds,
            "load": round(os.getloadavg()[0], 1),
        }  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("models", nargs="*")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("results") / "compression.csv")
    parser.add_argument("--compile", action="store_true")
    arguments = parser.parse_args()
    arguments.out = arguments.out.resolve()  # building a candidate changes the current folder
    names = arguments.models or [*models.OWN, *(["mlp", "resnet", "lstm"] if models.ZOO.exists() else [])]
    rows = []
    arguments.out.parent.mkdir(exist_ok=True)
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            for row in measure(name, Path(folder).resolve(), arguments.compile):
                print(row, flush=True)
                rows.append(row)
        with arguments.out.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    ratios = [row["peer_over_chosen"] for row in rows]
    print("worst", min(ratios), "geometric mean", round(float(np.exp(np.mean(np.log(ratios)))), 3))


if __name__ == "__main__":
    main()
