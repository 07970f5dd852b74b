"""Peak of a one-operator training step, predicted and measured, over torch's own table of operators and modules.

    python benchmarks/memory_operators.py STATE.jsonl [NAME...]

The samples are those of torch's tests (`torch.testing._internal`, which needs expecttest, numpy and scipy), scaled up
by the constants that their shapes are written in. What STATE.jsonl holds already is not run again. Written at the end:
the table of the operators that are off by more than one percent. Needs fork (Linux, macOS).
"""

import contextlib
import functools
import importlib
import json
import os
import signal
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from multiprocessing import Pipe, get_context
from pathlib import Path
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.testing._internal import common_methods_invocations as operators
from torch.testing._internal import common_modules as modules
from torch.utils import _pytree as pytree

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "tools"))
ENGINE = "optimizing_resources.tools.estimate_memory.engine"
SIZES = {"XS": 16, "S": 64, "M": 128, "L": 256}  # of the samples' dimensions; torch's own are 3, 5, 10 and 20
ROWS = 64  # times as many samples for a module
LARGEST_BYTES, LEAST_BYTES, SAMPLES, SECONDS = 8 << 20, 32 << 10, 6, 90
AS_WRITTEN, LARGE, TALLER = 0, 1, 2  # how samples are made larger
RATIO, SLACK_BYTES = 0.01, 100  # what counts as off
HALF = ("matmul", "mm", "bmm", "addmm", "nn.functional.linear", "nn.functional.conv2d", "softmax", "log_softmax",
        "nn.functional.layer_norm", "nn.functional.cross_entropy", "nn.functional.scaled_dot_product_attention",
        "nn.functional.gelu", "nn.functional.silu", "einsum", "nn.functional.batch_norm", "cdist")  # fmt: skip


def rescale(sizes: dict[str, int] | None, rows: bool) -> None:
    """Let the samples of torch's tests be large."""
    for module in [m for name, m in sys.modules.items() if name.startswith("torch.testing._internal")]:
        for constant, size in (sizes or {}).items():
            if isinstance(getattr(module, constant, None), int):
                setattr(module, constant, size)
    torch.testing._utils.freeze_rng_state = (
        contextlib.nullcontext
    )  # its copy of the state is no part of an operator
    original = torch.testing.make_tensor

    def longer(*shape: Any, **options: Any) -> torch.Tensor:
        shape = tuple(shape[0]) if len(shape) == 1 and not isinstance(shape[0], int) else shape
        return original((shape[0] * ROWS, *shape[1:]) if len(shape) > 1 else shape, **options)

    def taller(*shape: Any, **options: Any) -> torch.Tensor:
        """For shapes that are written out: only those of three dimensions and more are sure to have a batch."""
        shape = tuple(shape[0]) if len(shape) == 1 and not isinstance(shape[0], int) else shape
        small = len(shape) > 2 and torch.Size(shape).numel() < LEAST_BYTES // 4
        return original((shape[0] * ROWS, *shape[1:]) if small else shape, **options)

    modules.make_tensor = longer if sizes else original
    operators.make_tensor = taller if rows else original


class Holder(torch.nn.Module):
    """The tensors of a sample that want gradients, and perhaps a module."""

    def __init__(self, module: Any, tensors: list[torch.Tensor]) -> None:
        super().__init__()
        self.module = module
        self.tensors = torch.nn.ParameterList(tensors)


def copied(tensor: torch.Tensor, fake: bool) -> torch.Tensor:
    """A tensor of the same strides, without values where the world has none."""
    plain = 0 not in tensor.stride() and tensor.layout is torch.strided
    new = torch.empty_strided(
        tensor.shape, tensor.stride() if plain else contiguous(tensor.shape), dtype=tensor.dtype
    )
    return new if fake else new.copy_(tensor.detach())


def contiguous(shape: torch.Size) -> list[int]:
    strides = [1]
    for size in reversed(shape[1:]):
        strides.insert(0, strides[0] * max(size, 1))
    return strides[: len(shape)]


def total(value: Any) -> Any:
    """Something that every differentiable output takes part in."""
    outputs = [t for t in pytree.tree_leaves(value) if isinstance(t, torch.Tensor) and t.requires_grad]
    parts = [(t * 2).sum() for t in outputs]
    loss = sum(parts[1:], parts[0])
    return loss.abs() if loss.is_complex() else loss


def step_of(
    call: Callable[..., Any], build: Any, arguments: Any, half: bool, fake: bool
) -> Callable[[], Any]:
    """make_step for one sample."""
    leaves, spec = pytree.tree_flatten(arguments)

    def wants(leaf: Any) -> bool:
        return isinstance(leaf, torch.Tensor) and leaf.requires_grad

    def make_step() -> dict[str, Any]:
        model = Holder(build() if build else None, [copied(leaf, fake) for leaf in leaves if wants(leaf)])
        batch = [copied(leaf, fake) for leaf in leaves if isinstance(leaf, torch.Tensor) and not wants(leaf)]

        def loss(model: Any, batch: Any) -> Any:
            trained, given = iter(model.tensors), iter(batch)
            new = [
                next(trained if wants(leaf) else given) if isinstance(leaf, torch.Tensor) else leaf
                for leaf in leaves
            ]
            args, kwargs = pytree.tree_unflatten(new, spec)
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                return total(call(model.module, *args, **kwargs))

        return {
            "model": model,
            "batch": batch,
            "loss": loss,
            "optimizer": torch.optim.SGD(model.parameters(), 0.1),
        }

    return make_step


def cases(name: str, scaled: int) -> Iterator[tuple[str, Any, Any, Any]]:
    """(what the sample is, call, build, arguments) of an operator or module: few and of different kinds."""
    kind, label, variant = name.split(":")
    rescale(SIZES if scaled else None, scaled == TALLER)
    torch.manual_seed(0)
    if kind == "module":
        info = next(m for m in modules.module_db if m.name == label)
        for given in info.module_inputs_func(info, "cpu", torch.float32, requires_grad=True, training=True):
            made = given.constructor_input
            build = functools.partial(info.module_cls, *made.args, **made.kwargs)
            arguments = (given.forward_input.args, given.forward_input.kwargs)
            yield described(made.kwargs, arguments), lambda module, *a, **k: module(*a, **k), build, arguments
        return
    info = next(o for o in operators.op_db if o.name == label and o.variant_test_name == variant)
    for given in info.sample_inputs("cpu", torch.float32, requires_grad=True):
        arguments = ((given.input, *given.args), given.kwargs)
        yield described({}, arguments), lambda module, *a, **k: info.op(*a, **k), None, arguments


def described(options: Any, arguments: Any) -> str:
    def short(value: Any) -> Any:
        return "x".join(map(str, value.shape)) if isinstance(value, torch.Tensor) else value

    args, kwargs = pytree.tree_map(short, arguments)
    return f"{args} {kwargs} {options or ''}"


def chosen(name: str, scaled: int) -> list[tuple[str, Any, Any, Any]]:
    """The largest sample of each kind."""
    found: dict[str, Any] = {}
    for case in cases(name, scaled):
        leaves = pytree.tree_leaves(case[3])
        tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
        size = sum(t.numel() * t.element_size() for t in tensors)
        if size > LARGEST_BYTES or any(t.layout is not torch.strided for t in tensors):
            continue
        sort = str(
            [
                leaf.dim()
                if isinstance(leaf, torch.Tensor)
                else type(leaf)
                if isinstance(leaf, int)
                else leaf
                for leaf in leaves
            ]
        )
        if sort not in found or size > found[sort][0]:
            found[sort] = (size, case)
    return [case for _, case in sorted(found.values(), key=lambda pair: -pair[0])[:SAMPLES]]


def answers(name: str, scaled: int, measure: str, pipe: Any) -> None:
    """Sends a figure or a sentence per sample."""
    quiet()
    signal.alarm(SECONDS)
    half = name.endswith(":bf16")
    picked = chosen(name.removesuffix(":bf16"), scaled)
    if measure == "predicted":
        importlib.import_module(f"{ENGINE}.simulate").install("cpu", {})
    for what, call, build, arguments in picked:
        torch.manual_seed(0)
        make_step = step_of(call, build, arguments, half, measure == "predicted")
        try:
            pipe.send((what, {"measured": measured, "predicted": predicted}[measure](make_step)))
        except Exception as error:
            pipe.send((what, f"{type(error).__name__}: {error}"[:200]))
    pipe.send(None)


def measured(make_step: Any) -> int:
    found: int = importlib.import_module("memory_runs").truth(make_step)
    return found


def predicted(make_step: Any) -> list[Any]:
    step, simulate = (importlib.import_module(f"{ENGINE}.{name}") for name in ("step", "simulate"))
    trace = step.simulate(make_step, {}, "cpu", {"caching": False})
    found = simulate.peak(trace, "cpu", {"caching": False})
    return [found["peak_allocated_bytes"], [f"{c['operation']} {c['direction']}" for c in trace.caveats]]


def quiet() -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)


def in_a_fork(name: str, scaled: int, measure: str) -> list[Any]:
    here, there = Pipe()
    child = get_context("fork").Process(target=answers, args=(name, scaled, measure, there))
    child.start()
    there.close()
    found = []
    try:
        while (answer := here.recv()) is not None:
            found.append(answer)
    except EOFError:
        found.append(("", f"the process ended after {len(found)} samples"))
    finally:
        child.kill()
        child.join()
    return found


def run(name: str) -> list[dict[str, Any]]:
    """A row per sample: of the largest samples that run, and as torch wrote them where none of these does."""
    rows: list[dict[str, Any]] = []
    for scaled in (TALLER, LARGE, AS_WRITTEN):
        real = in_a_fork(name, scaled, "measured")
        good = {what: value for what, value in real if isinstance(value, int)}
        new = set(good) - {row["what"] for row in rows}
        if not new or (scaled == AS_WRITTEN and rows):
            continue
        ours = dict(in_a_fork(name, scaled, "predicted"))
        rows += [
            {"name": name, "what": what, "real": good[what], "ours": ours.get(what)} for what in sorted(new)
        ]
        if name.startswith("module"):
            break
    return rows or [{"name": name, "what": str(real[:1])[:300], "real": None}]


def names() -> list[str]:
    """operator:NAME:VARIANT, with :bf16 those under autocast, module:NAME:."""
    able = [o for o in operators.op_db if o.supports_autograd and torch.float32 in o.supported_dtypes("cpu")]
    listed = [f"operator:{o.name}:{o.variant_test_name}" for o in able]
    half = [f"operator:{o.name}:{o.variant_test_name}:bf16" for o in able if o.name in HALF]
    return listed + [f"module:{m.name}:" for m in modules.module_db] + half


def miss(row: dict[str, Any]) -> bool:
    if not isinstance(row["ours"], list):
        return False
    return abs(row["ours"][0] - row["real"]) > RATIO * row["real"] + SLACK_BYTES


def table(rows: list[dict[str, Any]]) -> None:
    ran = [row for row in rows if row["real"] is not None]
    compared = [row for row in ran if isinstance(row["ours"], list)]
    missed = [row for row in compared if miss(row)]
    silent = [row for row in missed if not row["ours"][1]]
    count = Counter({"no sample runs": len(rows) - len(ran), "declined": len(ran) - len(compared)})
    print(
        f"{len({r['name'] for r in rows})} operators and modules, {len(compared)} steps compared; {dict(count)}"
    )
    print(f"off by more than 1 %: {len(missed)}, of these without a caveat {len(silent)}")
    for row in sorted(missed, key=lambda row: (bool(row["ours"][1]), row["name"])):
        error, said = row["ours"][0] / row["real"] - 1, ", ".join(row["ours"][1])
        print(
            f"{error:+8.1%} {row['real']:10d} {row['name'][:60]:44s} {row['what'][:90]}  {said and f'(said: {said})'}"
        )
    for row in ran:
        if not isinstance(row["ours"], list):
            print(f"declined {row['name'][:60]:44s} {row['what'][:60]} {row['ours']}")


def main() -> None:
    state = Path(sys.argv[1])
    rows = [json.loads(line) for line in state.read_text().splitlines()] if state.exists() else []
    done = {row["name"] for row in rows}
    importlib.import_module(f"{ENGINE}.simulate")
    importlib.import_module("memory_runs")
    with FakeTensorMode():
        torch.ones(1) * 2  # loads what torch loads late, once, before the forks
    with state.open("a") as file:
        for name in sys.argv[2:] or names():
            if name in done:
                continue
            new = run(name)
            rows += new
            file.write("".join(json.dumps(row) + "\n" for row in new))
            file.flush()
    table(rows)


if __name__ == "__main__":
    main()
