"""Remedies that change how the optimizer keeps its state and when it steps; changes.py has the others."""

import torch

from . import caveats

EIGHT_BIT_BLOCK = 256  # bitsandbytes: one fp32 scale per block of this many elements
EIGHT_BIT_FROM = 4096  # and tensors with fewer elements keep fp32 state


class NotApplicable(Exception):
    """Why a remedy does nothing for this step."""


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


def install():
    """LBFGS decides by values when to stop: its step is replaced by one with all that a long run holds."""
    torch.optim.LBFGS.step = _lbfgs_step


@torch.no_grad()
def _lbfgs_step(self, closure):
    """Two evaluations with a full history (torch/optim/lbfgs.py)."""
    caveats.note(
        "LBFGS", "too_high", "its history is taken as full, which a run reaches after history_size iterations"
    )
    closure, state, options = torch.enable_grad()(closure), self.state[self._params[0]], self.param_groups[0]
    loss = closure()
    gradient = self._gather_flat_grad()
    if not state:
        state.update(d=gradient.neg(), prev_flat_grad=gradient.clone(), old_dirs=[], old_stps=[])
        for pair in (state["old_dirs"], state["old_stps"]):
            pair += [torch.empty_like(gradient) for _ in range(options["history_size"])]
    product = gradient.neg()  # these two and the last step's direction are held all the while
    direction = product.mul(1)
    newest = gradient.sub(state["prev_flat_grad"]), direction.mul(1)  # before the oldest pair is dropped
    del newest
    state["prev_flat_grad"].copy_(gradient)
    searched = [torch.empty_like(gradient) for _ in range(5 if options["line_search_fn"] else 0)]
    closure()
    del product, searched
    state["d"] = direction
    return loss


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
                single[p] = rebuilt(optimizer, [{"params": [p], **options}])

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


def rebuilt(optimizer, groups):
    """An optimizer of the same class for other parameter groups."""
    try:
        return type(optimizer)(groups)
    except TypeError as error:
        raise NotApplicable(f"{type(optimizer).__name__} cannot be built from groups alone") from error
