"""Remedies as changes of what make_step returned. Each is applied before the model is placed on the device."""

import functools

import torch
from torch.utils import _pytree as pytree
from torch.utils.checkpoint import checkpoint

from .fake import Declined
from .optimizers import (
    NotApplicable,
    cpu_offload,
    eight_bit_optimizer,
    fused_optimizer,
    optimizer_in_backward,
    paged_optimizer,
    rebuilt,
)

LORA_RANK = 16


def mixed_precision(made, study, factor):
    """autocast around the loss, in the half format that the card computes natively."""
    dtype = torch.bfloat16 if study.kind == "cpu" or study.card["bf16"] else torch.float16
    if all(p.dtype != torch.float32 for p in made["model"].parameters()):
        raise NotApplicable("the weights are in half precision already")
    loss = made["loss"]

    def cast_loss(model, batch):
        with torch.autocast(study.kind, dtype):
            return loss(model, batch)

    made["loss"] = cast_loss


def gradient_accumulation(made, study, factor):
    """The batch in `factor` parts. The arguments already ask for the smaller batch where make_step takes one."""
    made["accumulation_steps"] = made.get("accumulation_steps", 1) * factor
    loss = made["loss"]
    made["loss"] = lambda model, batch: loss(model, batch) / factor
    if study.batch_argument is None:
        made["batch"] = pytree.tree_map_only(
            torch.Tensor, lambda t: t[: max(1, t.shape[0] // factor)] if t.dim() else t, made["batch"]
        )


def blocks_of(model):
    """The repeated blocks: children of one class, with parts of their own, of a ModuleList or Sequential."""
    found = []

    def walk(module):
        for child in module.children():
            members = [m for m in child.children() if any(True for _ in m.children())]
            kinds = {type(m) for m in members}
            repeated = isinstance(child, (torch.nn.ModuleList, torch.nn.Sequential)) and any(
                sum(type(m) is kind for m in members) > 1 for kind in kinds
            )
            if repeated:
                found.extend(members)
            else:
                walk(child)

    holder = torch.nn.Module()
    holder.add_module("model", model)
    walk(holder)
    return found


def gradient_checkpointing(made, study, factor, **options):
    """Every repeated block recomputed in the backward pass."""
    blocks = blocks_of(made["model"])
    if not blocks:
        raise NotApplicable("no list of repeated blocks was found in the model")
    for block in blocks:
        block.forward = functools.partial(checkpoint, block.forward, use_reentrant=False, **options)


def selective_checkpointing(made, study, factor):
    """The same, but matrix products and attention are kept: what lies between is cheap to compute again."""
    contexts = getattr(torch.utils.checkpoint, "create_selective_checkpoint_contexts", None)
    if contexts is None:
        raise NotApplicable("this torch has no selective checkpointing")
    gradient_checkpointing(made, study, factor, context_fn=functools.partial(contexts, _KEPT))


_KEPT = [
    getattr(torch.ops.aten, name).default
    for name in ("mm", "addmm", "bmm", "baddbmm", "convolution", "_scaled_dot_product_flash_attention",
                 "_scaled_dot_product_efficient_attention", "_scaled_dot_product_flash_attention_for_cpu")
    if hasattr(torch.ops.aten, name)
]  # fmt: skip


def activations_offloaded(made, study, factor):
    """What autograd keeps for the backward pass waits in host memory (torch.autograd.graph.save_on_cpu)."""
    loss = made["loss"]

    def offloading(model, batch):
        with torch.autograd.graph.save_on_cpu():
            return loss(model, batch)

    made["loss"] = offloading


def zero_grad_none(made, study, factor):
    """Gradients are freed instead of filled with zeros."""
    if "step" not in made:
        raise NotApplicable("gradients are freed after each step already")

    def freeing(zero_grad):
        return lambda *args, **kwargs: zero_grad(set_to_none=True)

    for owner in (made["model"], made["optimizer"]):
        owner.zero_grad = freeing(owner.zero_grad)


def pure_bf16(made, study, factor):
    """Weights, gradients, optimizer state and activations in bfloat16."""
    if study.kind == "cuda" and not study.card["bf16"]:
        raise NotApplicable("the card does not compute bfloat16 natively")
    made["model"].to(torch.bfloat16)
    made["batch"] = pytree.tree_map_only(
        torch.Tensor, lambda t: t.to(torch.bfloat16) if t.is_floating_point() else t, made["batch"]
    )


def freezing(made, study, factor):
    """The first half of the blocks and all that comes before the blocks keep their weights."""
    blocks = blocks_of(made["model"])
    if not blocks:
        raise NotApplicable("no list of repeated blocks was found in the model")
    kept = {p for block in blocks[len(blocks) // 2 :] for p in block.parameters()}
    first = next(blocks[0].parameters(), None)
    before = True
    for p in made["model"].parameters():
        before = before and p is not first
        in_block = any(p is q for block in blocks[: len(blocks) // 2] for q in block.parameters())
        if (before or in_block) and p not in kept:
            p.requires_grad_(False)
    _only_trainable(made)


class LoraLinear(torch.nn.Module):
    """A frozen linear layer and a trainable update of low rank."""

    def __init__(self, base, rank):
        super().__init__()
        self.base = base
        like = {"dtype": base.weight.dtype, "device": base.weight.device}
        self.down = torch.nn.Parameter(torch.zeros(rank, base.in_features, **like))
        self.up = torch.nn.Parameter(torch.zeros(base.out_features, rank, **like))

    def forward(self, x):
        linear = torch.nn.functional.linear
        return self.base(x) + linear(linear(x, self.down), self.up)


def lora(made, study, factor):
    """All weights frozen; every linear layer inside the blocks gets an update of rank LORA_RANK."""
    blocks = blocks_of(made["model"])
    targets = [
        (parent, name, layer)
        for block in blocks
        for parent in block.modules()
        if not isinstance(parent, torch.nn.MultiheadAttention)  # reads its output layer's weight directly
        for name, layer in parent.named_children()
        if type(layer) is torch.nn.Linear
    ]
    if not targets:
        raise NotApplicable("no linear layers inside repeated blocks")
    for p in made["model"].parameters():
        p.requires_grad_(False)
    for parent, name, layer in targets:
        setattr(parent, name, LoraLinear(layer, LORA_RANK))
    options = {k: v for k, v in made["optimizer"].param_groups[0].items() if k != "params"}
    trainable = [p for p in made["model"].parameters() if p.requires_grad]
    made["optimizer"] = rebuilt(made["optimizer"], [{"params": trainable, **options}])


def _only_trainable(made):
    optimizer = made["optimizer"]
    groups = [
        {**group, "params": [p for p in group["params"] if p.requires_grad]}
        for group in optimizer.param_groups
    ]
    made["optimizer"] = rebuilt(optimizer, [group for group in groups if group["params"]])


def channels_last(made, study, factor):
    """Convolutions in NHWC, which tensor cores want; saves the copies into that layout."""
    if not any(isinstance(m, torch.nn.Conv2d) for m in made["model"].modules()):
        raise NotApplicable("the model has no two-dimensional convolution")
    made["model"].to(memory_format=torch.channels_last)
    made["batch"] = pytree.tree_map_only(
        torch.Tensor,
        lambda t: t.contiguous(memory_format=torch.channels_last) if t.dim() == 4 else t,
        made["batch"],
    )


def unchanged(made, study, factor):
    """For remedies that do not touch the step itself."""


CHANGES = {
    f.__name__: f
    for f in (
        mixed_precision, gradient_accumulation, gradient_checkpointing, fused_optimizer, eight_bit_optimizer,
        paged_optimizer, cpu_offload, optimizer_in_backward, pure_bf16, freezing, lora, channels_last,
        activations_offloaded, zero_grad_none, selective_checkpointing,
    )
}  # fmt: skip
CHANGES["allocator_settings"] = CHANGES["model_reduction"] = CHANGES["sharding"] = unchanged


class Change:
    """Several remedies at once, applied in an order in which they do not disturb each other."""

    ORDER = ("channels_last", "pure_bf16", "freezing", "lora", "gradient_checkpointing", "selective_checkpointing",
             "mixed_precision", "gradient_accumulation", "fused_optimizer", "eight_bit_optimizer", "paged_optimizer",
             "cpu_offload", "activations_offloaded", "optimizer_in_backward", "zero_grad_none")  # fmt: skip

    def __init__(self, ids, study, factor=1):
        self.ids, self.study, self.factor = ids, study, factor

    def apply(self, made):
        if made.get("optimizer") is None and "step" not in made:
            raise Declined("Remedies for training need an optimizer", "optimizer None", "`remedies`: []")
        if "step" in made and self.ids != ("zero_grad_none",):
            raise NotApplicable("make_step drives its own step")
        for name in self.ORDER:
            if name in self.ids:
                CHANGES[name](made, self.study, self.factor)
