"""Measurements of a CUDA card, and our predictions beside them: peaks, verdicts, largest batches, and their gates.

    python benchmarks/memory_gpu.py measure OUT.jsonl --seconds 540     on the card; nothing of ours is asked there
    python benchmarks/memory_gpu.py compare OUT.jsonl --gpu H200        anywhere: predictions, errors, gates
    python benchmarks/memory_gpu.py measure OUT.jsonl --dry --gpu H200  no card: a faked truth three percent above
                                                                        ours, one small model (two minutes, two cores)

Every row is written as soon as it is known, and a second `measure` into the same file takes up what is missing, so a
limit on time costs nothing. Rows: what the card takes beside the allocator; six models under seven limits set with
set_per_process_memory_fraction, from a tenth below what they reserve to half as much again; the largest batch that
runs within twice that; the 29 cases of gpu_validate.py, each in a process of its own. --validate names that script, by
default shared/bench/gpu_validate.py inside the checkout or beside it. `compare` ends with 1 when a gate fails.
"""

import argparse
import functools
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import memory_gates
from optimizing_resources.tools._core.contract import ToolError
from optimizing_resources.tools.estimate_memory import (
    EstimateMemoryReport,
    EstimateMemoryRequest,
    estimate_memory,
)

ROOT = Path(__file__).resolve().parents[1]
OVERHEADS = ROOT / "tools" / "estimate_memory" / "engine" / "overheads.py"
MIB = 2**20
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
Row = dict[str, Any]


class Log:
    """The file of rows: what is known already, and each new row written at once."""

    def __init__(self, path: Path, ends: float) -> None:
        self.path, self.ends = path, ends
        self.rows = read(path) if path.exists() else []

    def known(self, **key: Any) -> Row | None:
        return next((row for row in self.rows if all(row.get(k) == v for k, v in key.items())), None)

    def add(self, row: Row) -> Row:
        self.rows.append(row)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        print(json.dumps(row)[:200], flush=True)
        return row

    @property
    def late(self) -> bool:
        return time.monotonic() > self.ends


def read(path: Path) -> list[Row]:
    """Complete lines; a last one that was cut off is left out."""
    lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    return [json.loads(line) for line in lines]


def measure(log: Log, truth: Truth, models: list[str]) -> None:
    """Verdicts and largest batches, model by model."""
    for model in models:
        batch = MODELS[model][2]
        whole = _reserved(log, truth, model, batch, None)
        for ratio in RATIOS if whole else ():
            _reserved(log, truth, model, batch, int((whole or 0) * ratio))
        if whole and not log.late and not log.known(what="largest", model=model):
            resolution = max(1, batch // 50)
            found = bisect(functools.partial(truth, model), 2 * whole, batch, resolution)
            log.add(
                {
                    "what": "largest",
                    "model": model,
                    "limit": 2 * whole,
                    "batch": found,
                    "step": 2 * resolution,
                }
            )


def _reserved(log: Log, truth: Truth, model: str, batch: int, limit: int | None) -> int | None:
    key = {"what": "reserved", "model": model, "batch": batch, "limit": limit}
    row = log.known(**key)
    if row is None and not log.late:
        row = log.add({**key, "bytes": truth(model, batch, limit)})
    return row["bytes"] if row else None


def bisect(reserved: Callable[[int, int], int | None], limit: int, start: int, resolution: int) -> int:
    """The largest batch that runs, to `resolution`; `start` is known to run."""
    low, high = start, 2 * start
    while reserved(high, limit) is not None:
        low, high = high, 2 * high
    while high - low > resolution:
        middle = (low + high) // 2
        low, high = (low, middle) if reserved(middle, limit) is None else (middle, high)
    return low


def measure_cases(log: Log, validate: Path) -> None:
    """The peaks of gpu_validate.py, and before them what the card takes beside the allocator."""
    if not log.known(what="overheads"):
        log.add({"what": "overheads", **script(OVERHEADS).answer(None)})
    launch = script(validate).launch
    for case in cases(validate):
        if not log.late and not log.known(what="case", id=case[0]):
            log.add({"what": "case", **launch(case)})


def card_truth(folder: Path) -> Truth:
    """Asks a child process that owns the card."""
    text = TRUTH.format(folder=str(folder))
    file = folder / "truth.py"
    file.write_text(text, encoding="utf-8")
    child = subprocess.Popen(
        [sys.executable, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
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

    @functools.cache
    def whole(model: str, batch: int) -> int:
        return predict(step, "usual", {"model": model, "rows": batch}, gpu).peak_reserved_bytes

    def ask(model: str, batch: int, limit: int | None) -> int | None:
        used = int(whole(model, batch) * (1 + low))
        return None if limit is not None and used > limit else used

    return ask


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


def peaks(step: Path, gpu: str, rows: list[Row]) -> Iterator[float]:
    """A line per case that ended; the errors of the allocated peak."""
    for real in rows:
        if real["what"] != "case" or real.get("oom", True):
            continue
        try:
            ours = predict(step, "make_step", {"case": real["id"]}, gpu)
        except ToolError as error:
            print(f"{real['id']:34s} {error}", flush=True)
            continue
        pairs = [(ours.peak_allocated_bytes, real["peak_allocated"]), (ours.peak_reserved_bytes, real["peak_reserved"]),
                 (ours.device_bytes, real["device_used"])]  # fmt: skip
        text = "  ".join(f"{a / MIB:8.0f} {b / MIB:8.0f} {a / b - 1:+7.1%}" for a, b in pairs)
        print(f"{real['id']:34s} {text}", flush=True)
        yield ours.peak_allocated_bytes / real["peak_allocated"] - 1


def verdicts(step: Path, gpu: str, rows: list[Row]) -> Iterator[Row]:
    """Ours and the card's for every model under every limit."""
    whole = {row["model"]: row["bytes"] for row in rows if row["what"] == "reserved" and row["limit"] is None}
    for row in rows:
        if row["what"] != "reserved" or row["limit"] is None:
            continue
        limit, ran = row["limit"], row["bytes"] is not None
        found = predict(step, "usual", {"model": row["model"], "rows": row["batch"]}, gpu, limit).fits
        print(
            f"{row['model']:16s} {limit / MIB:9.0f} MiB  {found:5s} {'ran' if ran else 'out of memory'}",
            flush=True,
        )
        yield {"fits": found, "survived": ran, "room": ran and whole[row["model"]] <= 0.9 * limit}


def batches(step: Path, gpu: str, rows: list[Row]) -> Iterator[Row]:
    """Our largest batches beside the card's."""
    for row in rows:
        if row["what"] != "largest":
            continue
        model, batch = row["model"], MODELS[row["model"]][2]
        edge = predict(step, "sized", {"model": model, "batch_size": batch}, gpu, row["limit"]).largest_batch
        assert edge is not None
        print(f"{model:16s} fits {edge.fits}, not no {edge.not_no}, true {row['batch']}", flush=True)
        yield {
            "model": model,
            "fits": edge.fits,
            "not_no": edge.not_no,
            "truth": row["batch"],
            "step": row["step"],
        }


def compare(step: Path, gpu: str, rows: list[Row]) -> int:
    for row in rows:
        if row["what"] == "overheads":
            print("beside the allocator:", {key: value for key, value in row.items() if key != "what"})
    errors = list(peaks(step, gpu, rows))
    found = [memory_gates.peak_gates(errors)] if errors else [("no peak was measured", [])]
    found.append(memory_gates.verdict_gates(list(verdicts(step, gpu, rows))))
    found.append(memory_gates.batch_gates(list(batches(step, gpu, rows))))
    for text, failed in found:
        print(text, *(f"  FAILED: {reason}" for reason in failed), sep="\n")
    return int(any(failed for _, failed in found))


def script(path: Path) -> Any:
    """A Python file as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def cases(validate: Path) -> list[Any]:
    return list(script(validate).CASES)


def given_validate() -> Path:
    places = [folder / "shared" / "bench" / "gpu_validate.py" for folder in (ROOT, ROOT.parent)]
    return next((place for place in places if place.exists()), places[0])


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("measure", "compare"))
    parser.add_argument("rows", type=lambda name: Path(name).resolve(), help="the file of rows")
    parser.add_argument("--gpu", help="its name in the catalog; for compare and --dry")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin nothing after so many")
    parser.add_argument("--models", nargs="*", help="of verdicts and batches; default all, one with --dry")
    parser.add_argument("--validate", type=Path, default=given_validate())
    parser.add_argument("--dry", action="store_true", help="without a card, against a faked truth")
    options = parser.parse_args()
    if options.gpu is None and (options.dry or options.what == "compare"):
        parser.error("--gpu is needed here")
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)  # artifacts are not wanted
        step = Path(scratch) / "validate_step.py"
        step.write_text(STEP.format(path=str(options.validate.resolve()), models=MODELS), encoding="utf-8")
        if options.what == "compare":
            return compare(step, options.gpu, read(options.rows))
        log = Log(options.rows, time.monotonic() + options.seconds)
        models = options.models or (DRY_MODELS if options.dry else list(MODELS))
        measure(log, dry_truth(step, options.gpu) if options.dry else card_truth(Path(scratch)), models)
        if not options.dry:
            measure_cases(log, options.validate)
    return 0


if __name__ == "__main__":
    sys.exit(main())
