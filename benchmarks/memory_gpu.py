"""Predictions for the 29 cases of gpu_validate.py beside what a CUDA machine measured.

    python benchmarks/memory_gpu.py --gpu H100                        the predictions alone (no GPU needed)
    python ../shared/bench/gpu_validate.py OUT.jsonl                  on the GPU machine
    python benchmarks/memory_gpu.py --gpu H100 --measured OUT.jsonl   errors and the honesty of the verdicts

The cases come from gpu_validate.py itself, so both sides build the same models.
"""

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path

from optimizing_resources.tools._core.contract import ToolError
from optimizing_resources.tools.estimate_memory import EstimateMemoryRequest, estimate_memory

VALIDATE = Path(__file__).resolve().parents[2] / "shared" / "bench" / "gpu_validate.py"
MIB = 2**20

STEP = """
import contextlib, importlib.util, sys
import torch
spec = importlib.util.spec_from_file_location("gpu_validate", {path!r})
validate = importlib.util.module_from_spec(spec)
spec.loader.exec_module(validate)

def make_step(case):
    from torch.nn.attention import SDPBackend, sdpa_kernel
    _, kind, k = next(c for c in validate.CASES if c[0] == case)
    if kind.startswith("llama"):
        torch.set_default_dtype(torch.bfloat16)
    model, loss_fn, batch = validate.setup(kind, k, validate.define_models())
    model.train()
    params = [p for p in model.parameters() if p.requires_grad]
    if kind == "resnet":
        optimizer = torch.optim.SGD(params, 0.1, momentum=0.9)
    else:
        options = {{"fused": dict(fused=True), "loop": dict(foreach=False)}}.get(k.get("opt"), {{}})
        optimizer = torch.optim.AdamW(params, **options)
    amp = {{None: None, "bf16": torch.bfloat16, "fp16": torch.float16}}[k.get("amp")]
    backend = {{"math": SDPBackend.MATH, "efficient": SDPBackend.EFFICIENT_ATTENTION}}.get(k.get("sdpa"))

    def step(model, _batch, optimizer):
        with sdpa_kernel(backend) if backend is not None else contextlib.nullcontext():
            for _ in range(min(k.get("accum", 1), 2)):
                xs = batch()
                with torch.autocast("cuda", amp) if amp else contextlib.nullcontext():
                    loss = loss_fn(model, *xs)
                loss.backward()
                del loss, xs
            if k.get("clip"):
                torch.nn.utils.clip_grad_norm_(params, k["clip"])
            optimizer.step()
            optimizer.zero_grad()

    return {{"model": model, "batch": None, "optimizer": optimizer, "step": step}}
"""


def predict(case: str, step: Path, gpu: str) -> dict[str, object]:
    """The prediction for one case, or why there is none."""
    request = EstimateMemoryRequest(
        step=f"{step}:make_step", arguments={"case": case}, gpu=gpu, remedies=[], python=sys.executable
    )
    try:
        report = estimate_memory(request)
    except ToolError as error:
        return {"id": case, "error": str(error)}
    return {
        "id": case,
        "allocated": report.peak_allocated_bytes,
        "reserved": report.peak_reserved_bytes,
        "device": report.device_bytes,
        "fits": report.fits,
        "peak_at": report.peak_at,
    }


def compare(predictions: list[dict[str, object]], measured: Path) -> None:
    """Errors of the allocated peak, and how honest the verdicts were."""
    truth = {row["id"]: row for row in map(json.loads, measured.read_text(encoding="utf-8").splitlines())}
    errors, wrong = [], 0
    for row in predictions:
        real = truth.get(row["id"], {})
        if "peak_allocated" not in real or "error" in row:
            continue
        if real["oom"]:
            wrong += row["fits"] == "fits"
            continue
        error = row["allocated"] / real["peak_allocated"] - 1
        errors.append(abs(error))
        print(
            f"{row['id']:36s} {row['allocated'] / MIB:9.0f} {real['peak_allocated'] / MIB:9.0f} {error:+7.1%}"
        )
    ranked = sorted(errors)
    print(
        f"{len(errors)} cases: median {statistics.median(errors):.1%}, P90 {ranked[int(0.9 * (len(ranked) - 1))]:.1%}"
    )
    print(f'"fits" for a case that ran out of memory: {wrong}')


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gpu", default="H100")
    parser.add_argument("--only", default="")
    parser.add_argument("--measured", type=Path, help="the output of gpu_validate.py")
    parser.add_argument("--out", type=Path, help="write the predictions there, JSON lines")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        step = Path(scratch) / "validate_step.py"
        step.write_text(STEP.format(path=str(VALIDATE)), encoding="utf-8")
        cases = [line for line in _case_ids() if options.only in line]
        predictions = []
        for case in cases:
            row = predict(case, step, options.gpu)
            predictions.append(row)
            if "error" in row:
                print(f"{case:36s} {row['error']}", flush=True)
            else:
                print(
                    f"{case:36s} {row['allocated'] / MIB:9.0f} {row['reserved'] / MIB:9.0f} MiB {row['fits']}",
                    flush=True,
                )
    if options.out:
        options.out.write_text("".join(json.dumps(row) + "\n" for row in predictions), encoding="utf-8")
    if options.measured:
        compare(predictions, options.measured)


def _case_ids() -> list[str]:
    import importlib.util

    spec = importlib.util.spec_from_file_location("gpu_validate", VALIDATE)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return [case[0] for case in module.CASES]


if __name__ == "__main__":
    main()
