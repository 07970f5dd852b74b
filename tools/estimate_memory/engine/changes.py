"""Remedies as changes of what make_step returned. Each is applied before the model is placed on the device."""

import functools

import torch
from torch.utils import _pytree as pytree
from torch.utils.checkpoint import checkpoint

from .fake import Declined

LORA_RANK = 16
EIGHT_BIT_BLOCK = 256  # bitsandbytes: one fp32 scale per block of this many elements
EIGHT_BIT_FROM = 4096  # and tensors with fewer elements keep fp32 state


class NotApplicable(Exception):
    """Why a remedy does nothing for this step."""


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


def gradient_checkpointing(made, study, factor):
    """Every repeated block recomputed in the backward pass."""
    blocks = blocks_of(made["model"])
    if not blocks:
        raise NotApplicable("no list of repeated blocks was found in the model")
    for block in blocks:
        block.forward = functools.partial(checkpoint, block.forward, use_reentrant=False)


def fused_optimizer(made, study, factor):
    """fused=True: no parameter-sized temporaries at the step."""
    optimizer = made["optimizer"]
    if not any("fused" in group for group in optimizer.param_groups):
        raise NotApplicable(f"{type(optimizer).__name__} has no fused form")
    if all(group.get("fused") for group in optimizer.param_groups):
        raise NotApplicable("the optimizer is fused already")
    for group in optimizer.param_groups:
        group.update(fused=True, foreach=False)
    optimizer.defaults.update(fused=True, foreach=False)


class EightBitState(torch.optim.Optimizer):
    """Adam's two moments in one byte per element and a scale per block; `paged`: in host memory."""

    def __init__(self, params, moments, paged):
        super().__init__(params, {})
        self.moments, self.paged = moments, paged

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None or self.state[p] or self.paged:
                    continue
                small = p.numel() < EIGHT_BIT_FROM
                for moment in range(self.moments):
                    self.state[p][moment] = torch.empty(
                        p.numel(), dtype=torch.float32 if small else torch.uint8, device=p.device
                    )
                    if not small:
                        scales = -(-p.numel() // EIGHT_BIT_BLOCK)
                        self.state[p][f"scale{moment}"] = torch.empty(scales, device=p.device)


def _moments(optimizer):
    """How many state tensors of a weight's size the optimizer keeps."""
    name = type(optimizer).__name__.lower()
    if "adam" in name or "lamb" in name or "lion" in name:
        return 1 if "lion" in name else 2
    if "sgd" in name or "rmsprop" in name:
        return int(any(group.get("momentum") for group in optimizer.param_groups))
    raise NotApplicable(f"no eight-bit form of {type(optimizer).__name__} is known")


def eight_bit_optimizer(made, study, factor, paged=False):
    """State in eight bits, as bitsandbytes keeps it."""
    moments = _moments(made["optimizer"])
    if not moments:
        raise NotApplicable("the optimizer keeps no state of a weight's size")
    groups = [{"params": group["params"]} for group in made["optimizer"].param_groups]
    made["optimizer"] = EightBitState(groups, moments, paged)


def paged_optimizer(made, study, factor):
    """Eight-bit state in managed memory, which leaves the card under pressure."""
    eight_bit_optimizer(made, study, factor, paged=True)


def cpu_offload(made, study, factor):
    """Optimizer state and its step on the host: gradients go there, weights come back."""
    groups = [{"params": group["params"]} for group in made["optimizer"].param_groups]
    made["optimizer"] = EightBitState(groups, 0, paged=True)


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


def optimizer_in_backward(made, study, factor):
    """Each weight is updated as soon as its gradient is there, and the gradient freed."""
    if made.get("accumulation_steps", 1) > 1:
        raise NotApplicable("gradients must survive between the micro-batches of an accumulation")
    optimizer = made["optimizer"]
    single = {}
    for group in optimizer.param_groups:
        options = {key: value for key, value in group.items() if key != "params"}
        for p in group["params"]:
            if p.requires_grad:
                single[p] = _rebuilt(optimizer, [{"params": [p], **options}])

    def update(p):
        single[p].step()
        single[p].zero_grad()

    for p in single:
        p.register_post_accumulate_grad_hook(update)
    made["optimizer"] = _Spread(single)


class _Spread:
    """Stands for the many one-weight optimizers, whose steps the backward pass takes."""

    def __init__(self, single):
        self.single = single

    def step(self):
        pass

    def zero_grad(self):
        pass

    @property
    def state(self):
        return {p: state for optimizer in self.single.values() for p, state in optimizer.state.items()}


def _rebuilt(optimizer, groups):
    try:
        return type(optimizer)(groups)
    except TypeError as error:
        raise NotApplicable(f"{type(optimizer).__name__} cannot be built from groups alone") from error


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
    made["optimizer"] = _rebuilt(made["optimizer"], [{"params": trainable, **options}])


def _only_trainable(made):
    optimizer = made["optimizer"]
    groups = [
        {**group, "params": [p for p in group["params"] if p.requires_grad]}
        for group in optimizer.param_groups
    ]
    made["optimizer"] = _rebuilt(optimizer, [group for group in groups if group["params"]])


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
        activations_offloaded, zero_grad_none,
    )
}  # fmt: skip
CHANGES["allocator_settings"] = CHANGES["model_reduction"] = CHANGES["sharding"] = unchanged


class Change:
    """Several remedies at once, applied in an order in which they do not disturb each other."""

    ORDER = ("channels_last", "pure_bf16", "freezing", "lora", "gradient_checkpointing", "mixed_precision",
             "gradient_accumulation", "fused_optimizer", "eight_bit_optimizer", "paged_optimizer", "cpu_offload",
             "activations_offloaded", "optimizer_in_backward", "zero_grad_none")  # fmt: skip

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
