"""Predictions beside a CUDA machine's own measurements: peaks, verdicts, largest batches, and the gates for them.

    python benchmarks/memory_gpu.py --gpu H100                        on that machine: everything (about ten minutes)
    python benchmarks/memory_gpu.py --gpu H100 --measured OUT.jsonl   peaks only, against a file of gpu_validate.py
    python benchmarks/memory_gpu.py --gpu H100 --dry                  no GPU: a faked truth three percent above ours,
                                                                      one small model (two minutes on two idle cores)

Peaks: the 29 cases of gpu_validate.py, each measured in a process of its own. Verdicts: six models under seven limits
set with set_per_process_memory_fraction, from a tenth below what they reserve to half as much again. Largest batches:
bisected on the card under one limit. The exit code is 1 when a gate fails.
"""

import argparse
import functools
import importlib.util
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import memory_gates
from optimizing_resources.tools._core.contract import ToolError
from optimizing_resources.tools.estimate_memory import (
    EstimateMemoryReport,
    EstimateMemoryRequest,
    estimate_memory,
)

VALIDATE = Path(__file__).resolve().parents[2] / "shared" / "bench" / "gpu_validate.py"
MIB, GIB = 2**20, 2**30
RATIOS = (0.9, 0.97, 1.03, 1.08, 1.15, 1.3, 1.5)  # limits, in parts of what the step reserves without one
MODELS = {  # name -> kind and options of gpu_validate.py, batch
    "mlp": ("mlp", {}, 8192),
    "resnet50": ("resnet", {}, 64),
    "resnet50_bf16": ("resnet", {"amp": "bf16"}, 128),
    "patchtst": ("patchtst", {}, 64),
    "gpt124": ("gpt", {}, 12),
    "gpt124_bf16": ("gpt", {"amp": "bf16"}, 24),
}
DRY_MODELS = ["mlp"]

STEP = """
import contextlib, importlib.util, sys
import torch
spec = importlib.util.spec_from_file_location("gpu_validate", {path!r})
validate = importlib.util.module_from_spec(spec)
spec.loader.exec_module(validate)
MODELS = {models!r}

def make_step(case):
    _, kind, k = next(c for c in validate.CASES if c[0] == case)
    return made(kind, k)

def sized(model, batch_size):
    "A plain step: one batch made beforehand, one backward pass, one step of the optimizer."
    kind, k, _ = MODELS[model]
    k = dict(k, B=batch_size)
    net, loss_fn, batch, optimizer, amp = parts(kind, k)

    def loss(net, xs):
        with torch.autocast("cuda", amp) if amp else contextlib.nullcontext():
            return loss_fn(net, *xs)

    return {{"model": net, "batch": tuple(batch()), "loss": loss, "optimizer": optimizer}}

def usual(model, rows):
    "The same under names that ask for no search of the largest batch."
    return sized(model, rows)

def parts(kind, k):
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
    return model, loss_fn, batch, optimizer, {{None: None, "bf16": torch.bfloat16, "fp16": torch.float16}}[k.get("amp")]

def made(kind, k):
    from torch.nn.attention import SDPBackend, sdpa_kernel
    model, loss_fn, batch, optimizer, amp = parts(kind, k)
    params = [p for p in model.parameters() if p.requires_grad]
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

TRUTH = """
import gc, json, sys
import torch
sys.path.insert(0, {folder!r})
import validate_step

def reserved(model, batch, limit=None):
    'Bytes reserved at most by three steps, or None when they run out of memory under the limit.'
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, (limit or total) / total))
    torch.cuda.reset_peak_memory_stats()
    made = loss = None
    try:
        made = validate_step.sized(model, batch)
        for _ in range(3):
            loss = made["loss"](made["model"], made["batch"])
            loss.backward()
            made["optimizer"].step()
            made["optimizer"].zero_grad()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_reserved()
    except torch.cuda.OutOfMemoryError:
        return None
    finally:
        made = loss = None
        gc.collect()
        torch._C._cuda_clearCublasWorkspaces()
        torch.cuda.empty_cache()

torch.set_default_device("cuda")
for line in sys.stdin:
    print(json.dumps(reserved(*json.loads(line))), flush=True)
"""

Truth = Callable[
    [str, int, int | None], int | None
]  # model, batch, limit -> bytes reserved, None: out of memory


def predict(
    step: Path, function: str, arguments: dict[str, Any], gpu: str, limit: int | None = None
) -> EstimateMemoryReport:
    """The prediction; a limit is handed over as an out-of-memory message would name it."""
    message = None
    if limit is not None:
        message = (
            f"CUDA out of memory. Tried to allocate 1.00 GiB. GPU 0 has a total capacity of 1000.00 GiB of which "
            f"1000.00 GiB is free. {limit / MIB:.2f} MiB allowed; Of the allocated memory 0 bytes is allocated by "
            f"PyTorch, and 0 bytes is reserved by PyTorch but unallocated."
        )
    return estimate_memory(
        EstimateMemoryRequest(
            step=f"{step}:{function}",
            arguments=arguments,
            gpu=gpu,
            oom_text=message,
            python=sys.executable,
            remedies=[],
        )
    )


def peaks(step: Path, gpu: str, measured: list[dict[str, Any]] | None, only: str) -> tuple[str, list[str]]:
    """A line per case; errors where the machine measured it."""
    truth = {row["id"]: row for row in measured or []}
    errors = []
    for case in (name for name in case_ids() if only in name):
        try:
            ours = predict(step, "make_step", {"case": case}, gpu)
        except ToolError as error:
            print(f"{case:34s} {error}", flush=True)
            continue
        real = truth.get(case, {})
        line = f"{case:34s} {ours.peak_allocated_bytes / MIB:9.0f} {ours.peak_reserved_bytes / MIB:9.0f} MiB"
        if real.get("peak_allocated") and not real["oom"]:
            errors.append(ours.peak_allocated_bytes / real["peak_allocated"] - 1)
            line += f" {real['peak_allocated'] / MIB:9.0f} {errors[-1]:+7.1%}"
            line += f" reserved {ours.peak_reserved_bytes / real['peak_reserved'] - 1:+7.1%}"
        print(line, flush=True)
    return memory_gates.peak_gates(errors) if errors else ("no peak was measured", [])


def verdicts(step: Path, gpu: str, truth: Truth, models: list[str]) -> list[dict[str, Any]]:
    """Every model under every limit."""
    rows = []
    for model in models:
        batch = MODELS[model][2]
        whole = truth(model, batch, None)
        for ratio in RATIOS if whole else ():
            assert whole is not None
            limit = int(whole * ratio)
            found = predict(step, "usual", {"model": model, "rows": batch}, gpu, limit).fits
            used = truth(model, batch, limit)
            row = {
                "fits": found,
                "survived": used is not None,
                "room": used is not None and whole <= 0.9 * limit,
            }
            rows.append(row)
            print(
                f"{model:16s} {limit / MIB:9.0f} MiB  {found:5s} {'ran' if used else 'out of memory'}",
                flush=True,
            )
    return rows


def batches(step: Path, gpu: str, truth: Truth, models: list[str]) -> list[dict[str, Any]]:
    """The largest batch of each model within twice what its usual batch reserves."""
    rows = []
    for model in models:
        batch = MODELS[model][2]
        whole = truth(model, batch, None)
        if whole is None:
            continue
        limit = 2 * whole
        edge = predict(step, "sized", {"model": model, "batch_size": batch}, gpu, limit).largest_batch
        assert edge is not None
        resolution = max(1, batch // 50)
        real = bisect(functools.partial(truth, model), limit, batch, resolution)
        rows.append(
            {"model": model, "fits": edge.fits, "not_no": edge.not_no, "truth": real, "step": 2 * resolution}
        )
        print(f"{model:16s} fits {edge.fits}, not no {edge.not_no}, true {real}", flush=True)
    return rows


def bisect(reserved: Callable[[int, int], int | None], limit: int, start: int, resolution: int) -> int:
    """The largest batch that runs, to `resolution`; `start` is known to run."""
    low, high = start, 2 * start
    while reserved(high, limit) is not None:
        low, high = high, 2 * high
    while high - low > resolution:
        middle = (low + high) // 2
        low, high = (low, middle) if reserved(middle, limit) is None else (middle, high)
    return low


def card_truth(folder: Path) -> Truth:
    """Asks a child process that owns the card."""
    script = folder / "truth.py"
    script.write_text(TRUTH.format(folder=str(folder)), encoding="utf-8")
    child = subprocess.Popen(
        [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdin and child.stdout
    question, answer = child.stdin, child.stdout

    def ask(model: str, batch: int, limit: int | None) -> int | None:
        print(json.dumps([model, batch, limit]), file=question, flush=True)
        found: int | None = json.loads(answer.readline())
        return found

    return ask


def dry_truth(step: Path, gpu: str, low: float = 0.03) -> Truth:
    """A card that reserves `low` more than predicted; out of memory beyond the limit."""
    known: dict[tuple[str, int], int] = {}

    def ask(model: str, batch: int, limit: int | None) -> int | None:
        if (model, batch) not in known:
            arguments = {"model": model, "rows": batch}
            known[model, batch] = predict(step, "usual", arguments, gpu).peak_reserved_bytes
        used = int(known[model, batch] * (1 + low))
        return None if limit is not None and used > limit else used

    return ask


def measure_peaks(only: str, out: Path) -> list[dict[str, Any]]:
    subprocess.run([sys.executable, str(VALIDATE), str(out), "--only", only], check=True)
    return read(out)


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def case_ids() -> list[str]:
    spec = importlib.util.spec_from_file_location("gpu_validate", VALIDATE)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return [case[0] for case in module.CASES]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gpu", required=True, help="its name in the catalog")
    parser.add_argument("--only", default="", help="cases of gpu_validate.py whose id contains this")
    parser.add_argument(
        "--models", nargs="*", help="of the verdicts and batches; default all, one with --dry"
    )
    parser.add_argument(
        "--measured", type=Path, help="an output of gpu_validate.py: compares peaks and stops"
    )
    parser.add_argument("--dry", action="store_true", help="without a GPU, against a faked truth")
    options = parser.parse_args()
    models = options.models or (DRY_MODELS if options.dry else list(MODELS))
    with tempfile.TemporaryDirectory() as scratch:
        step = Path(scratch) / "validate_step.py"
        step.write_text(STEP.format(path=str(VALIDATE), models=MODELS), encoding="utf-8")
        measured = read(options.measured) if options.measured else None
        if measured is None and not options.dry:
            measured = measure_peaks(options.only, Path(scratch) / "measured.jsonl")
        found = [] if options.dry else [peaks(step, options.gpu, measured, options.only)]
        if options.measured is None:
            truth = dry_truth(step, options.gpu) if options.dry else card_truth(Path(scratch))
            found.append(memory_gates.verdict_gates(verdicts(step, options.gpu, truth, models)))
            found.append(memory_gates.batch_gates(batches(step, options.gpu, truth, models)))
    for text, failed in found:
        print(text, *(f"  FAILED: {reason}" for reason in failed), sep="\n")
    return int(any(failed for _, failed in found))


if __name__ == "__main__":
    sys.exit(main())
