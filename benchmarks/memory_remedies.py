"""The remedy table against real CPU steps to which each remedy was applied by hand.

    python benchmarks/memory_remedies.py [FAMILY...]

The families are those of tests/tools/memory_families.py. The truth is the allocator's own events over two real
steps on one thread; it shares no code with the engine. Remedies of a card alone (offload, paging, sharding, the
allocator's settings) have no truth on a CPU. Needs fork (Linux, macOS).
"""

import importlib
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from memory_unseen import ENGINE, in_a_fork
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils import checkpoint as recompute

TESTS = Path(__file__).resolve().parents[1] / "tests" / "tools"
sys.path.insert(0, str(TESTS))
CARD = {
    "caching": False,
    "name": "cpu",
    "bf16": True,
    "half_flops": 1e12,
    "single_flops": 5e11,
    "bandwidth": 2e10,
}
LAYERS = [f"body.layers.{n}" for n in range(4)]
# family -> the repeated blocks, and what lies before them
BLOCKS = {
    "encoder": (LAYERS[:3], ["embed"]), "decoder": ([f"blocks.{n}" for n in range(4)], ["tokens"]),
    "vit": (LAYERS, ["first", "place", "patches"]), "patchtst": (LAYERS[:2], ["place", "embed"]),
    "resnet": (["4", "5", "6", "7"], ["0", "1"]), "nhits": ([f"blocks.{n}" for n in range(3)], []),
}  # fmt: skip
RANK = 16
PARTS = 2
Made = dict[str, Any]


def mixed_precision(made: Made, family: str) -> None:
    loss = made["loss"]

    def cast(model: nn.Module, batch: Any) -> Any:
        with torch.autocast("cpu", torch.bfloat16):
            return loss(model, batch)

    made["loss"] = cast


def recomputed(block: nn.Module, options: dict[str, Any]) -> type[nn.Module]:
    """A class derived from the block's own, as a script would write it."""

    class Recomputed(type(block)):  # type: ignore[misc]
        def forward(self, *args: Any, **kwargs: Any) -> Any:
            return recompute.checkpoint(super().forward, *args, use_reentrant=False, **options, **kwargs)

    return Recomputed


def gradient_checkpointing(made: Made, family: str, **options: Any) -> None:
    for name in BLOCKS[family][0]:
        block = made["model"].get_submodule(name)
        block.__class__ = recomputed(block, options)


def selective_checkpointing(made: Made, family: str) -> None:
    aten = torch.ops.aten
    kept = [aten.mm.default, aten.addmm.default, aten.bmm.default, aten.baddbmm.default, aten.convolution.default,
            aten._scaled_dot_product_flash_attention_for_cpu.default]  # fmt: skip

    def contexts() -> Any:
        return recompute.create_selective_checkpoint_contexts(kept)

    gradient_checkpointing(made, family, context_fn=contexts)


def _optimizer(made: Made, **options: Any) -> None:
    """The family's optimizer over what can be trained."""
    trainable = [p for p in made["model"].parameters() if p.requires_grad]
    if isinstance(made["optimizer"], torch.optim.SGD):
        made["optimizer"] = torch.optim.SGD(trainable, 0.1, momentum=0.9, **options)
    else:
        made["optimizer"] = torch.optim.AdamW(trainable, **options)


def freezing(made: Made, family: str) -> None:
    blocks, before = BLOCKS[family]
    frozen = (*before, *blocks[: len(blocks) // 2])
    for name, p in made["model"].named_parameters():
        p.requires_grad_(not any(name == part or name.startswith(part + ".") for part in frozen))
    _optimizer(made)


class Lora(nn.Module):
    """As peft has it: two small layers beside the frozen one, and a scale."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base = base
        self.a = nn.Linear(base.in_features, RANK, bias=False)
        self.b = nn.Linear(RANK, base.out_features, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.base(x)
        return result + self.b(self.a(x)) * 2.0


def lora(made: Made, family: str) -> None:
    model = made["model"]
    model.requires_grad_(False)
    for block in BLOCKS[family][0]:
        for name, layer in list(model.get_submodule(block).named_modules()):
            if type(layer) is nn.Linear:
                model.set_submodule(f"{block}.{name}", Lora(layer))
    _optimizer(made)


def fused_optimizer(made: Made, family: str) -> None:
    _optimizer(made, fused=True)


def optimizer_in_backward(made: Made, family: str) -> None:
    """As in PyTorch's tutorial on saving memory by fusing the optimizer step into the backward pass."""
    sgd = isinstance(made["optimizer"], torch.optim.SGD)
    own = {
        p: torch.optim.SGD([p], 0.1, momentum=0.9) if sgd else torch.optim.AdamW([p])
        for p in made["model"].parameters()
    }

    def update(p: torch.Tensor) -> None:
        own[p].step()
        own[p].zero_grad()

    for p in own:
        p.register_post_accumulate_grad_hook(update)
    made["optimizer"] = None


def pure_bf16(made: Made, family: str) -> None:
    made["model"].bfloat16()
    batch = made["batch"]
    parts = batch if isinstance(batch, tuple) else (batch,)
    parts = tuple(t.bfloat16() if t.is_floating_point() else t for t in parts)
    made["batch"] = parts if isinstance(batch, tuple) else parts[0]


def channels_last(made: Made, family: str) -> None:
    made["model"].to(memory_format=torch.channels_last)
    made["batch"] = tuple(
        t.contiguous(memory_format=torch.channels_last) if t.dim() == 4 else t for t in made["batch"]
    )


def unchanged(made: Made, family: str) -> None:
    """Accumulation and smaller models are arguments of the family."""


# In the order in which they are applied.
HAND: dict[str, Callable[[Made, str], None]] = {
    f.__name__: f for f in (channels_last, pure_bf16, freezing, lora, gradient_checkpointing,
                            selective_checkpointing, mixed_precision, fused_optimizer, optimizer_in_backward)
}  # fmt: skip
HAND["gradient_accumulation"] = HAND["model_reduction"] = unchanged
OF_ANY = ["mixed_precision", "gradient_accumulation", "fused_optimizer", "optimizer_in_backward", "pure_bf16"]
OF_BLOCKS = ["gradient_checkpointing", "selective_checkpointing", "freezing", "lora",
             "gradient_accumulation+gradient_checkpointing", "mixed_precision+gradient_checkpointing",
             "lora+mixed_precision", "pure_bf16+gradient_checkpointing"]  # fmt: skip
REMEDIES = {
    **dict.fromkeys(("mlp", "gru", "lstm", "dlinear", "scan", "tied"), OF_ANY),
    **{name: [*OF_ANY, "channels_last"] for name in ("cnn", "unet", "segmenter")},
    **{name: [*OF_ANY, *OF_BLOCKS] for name in BLOCKS},
}
REMEDIES["resnet"] = [name for name in [*REMEDIES["resnet"], "channels_last"] if "lora" not in name]
REMEDIES["decoder"].append("model_reduction")
NO_BATCH = {"scan"}  # its batch is no argument


def measured(family: str, ids: tuple[str, ...]) -> int:
    """Bytes at the peak of two real steps with the remedies applied by hand."""
    runs, families = (importlib.import_module(name) for name in ("memory_runs", "memory_families"))
    make = getattr(families, family)
    parts = PARTS if "gradient_accumulation" in ids else 1

    def make_step() -> Made:
        arguments = {}
        if parts > 1 and family not in NO_BATCH:
            arguments["batch_size"] = make.__defaults__[0] // parts
        if "model_reduction" in ids:
            arguments["width"] = 64
        made: Made = make(**arguments)
        for name, apply in HAND.items():
            if name in ids:
                apply(made, family)
        if parts > 1 and family in NO_BATCH:
            made["batch"] = made["batch"][: len(made["batch"]) // parts].clone()
        made["step"] = _loop(made["loss"], parts)
        return made

    torch.manual_seed(0)
    found: int = runs.truth(make_step)
    return found


def _loop(loss_of: Callable[..., torch.Tensor], parts: int) -> Callable[..., None]:
    kept = []  # as the variable of a loop in a script

    def step(model: nn.Module, batch: Any, optimizer: Any) -> None:
        for _ in range(parts):
            loss = loss_of(model, batch) / parts if parts > 1 else loss_of(model, batch)
            kept[:] = [loss]
            loss.backward()
        if optimizer is not None:
            optimizer.step()
            optimizer.zero_grad()

    return step


def predicted(family: str, ids: tuple[str, ...]) -> int | str:
    """The bytes of the engine's row, or why there is none."""
    simulate, variants, load = (
        importlib.import_module(f"{ENGINE}.{n}") for n in ("simulate", "variants", "load")
    )
    request = {"kind": "cpu", "card": CARD, "arguments": {}, "batch_argument": None, "limits": None,
               "model_arguments": ["width"] if "model_reduction" in ids else [], "remedies": []}  # fmt: skip
    simulate.install("cpu", CARD)
    study = simulate.Study(
        load.load(f"{TESTS / 'memory_families.py'}:{family}"), request, lambda *progress: None
    )
    found = variants.rows(study, ids)
    return int(found[0]["peak_allocated_bytes"])


def compare(family: str, remedy: str) -> float | None:
    ids = tuple(remedy.split("+")) if remedy else ()
    real = in_a_fork(lambda name: measured(name, ids), family)
    ours = in_a_fork(lambda name: predicted(name, ids), family)
    if not isinstance(real, int) or not isinstance(ours, int):
        print(f"{family:10s} {remedy:46s} {real} {ours}"[:230], flush=True)
        return None
    error = ours / real - 1
    print(f"{family:10s} {remedy:46s} {real:12,d} {ours:12,d} {error:+8.2%}", flush=True)
    return abs(error)


def main() -> None:
    importlib.import_module(f"{ENGINE}.simulate")
    importlib.import_module("memory_runs")
    with FakeTensorMode():
        torch.ones(1) * 2  # loads what torch loads late, once, before the forks
    errors = [
        error
        for family in sys.argv[1:] or REMEDIES
        for remedy in REMEDIES[family]
        if (error := compare(family, remedy)) is not None
    ]
    close = sum(error <= 0.02 for error in errors)
    print(
        f"{close} of {len(errors)} within 2 %, median {statistics.median(errors):.2%}, worst {max(errors):.1%}"
    )


if __name__ == "__main__":
    main()
