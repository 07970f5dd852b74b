"""More make_step functions for memory_unseen.py: updates written by hand, torch.func, checkpoints in odd places."""

import copy
import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from memory_unseen_families import squared
from memory_unseen_steps import Made, made
from memory_unseen_training import own, tower
from torch import nn
from torch.utils.checkpoint import checkpoint


class ByHand(torch.optim.Optimizer):
    """An optimizer as people write one: a rule for a weight, its gradient and its state."""

    def __init__(
        self,
        weights: Any,
        rule: Callable[[torch.Tensor, torch.Tensor, dict[str, Any]], None],
        lr: float = 1e-3,
    ) -> None:
        self.rule = rule
        super().__init__(weights, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self.rule(weight, weight.grad, self.state[weight])


def trained_by(rule: Any) -> Made:
    model = tower(256, 1024, 1024, 1000)
    batch = (torch.randn(64, 256), torch.randint(0, 1000, (64,)))
    return {"model": model, "batch": batch, "loss": lambda m, b: F.cross_entropy(m(b[0]), b[1]),
            "optimizer": ByHand(model.parameters(), rule)}  # fmt: skip


def lion() -> Made:
    def rule(w: torch.Tensor, g: torch.Tensor, state: dict[str, Any]) -> None:
        if not state:
            state["mean"] = torch.zeros_like(w)
        w.mul_(1 - 1e-4)
        update = state["mean"].clone().mul_(0.9).add(g, alpha=0.1).sign_()
        w.add_(update, alpha=-1e-3)
        state["mean"].mul_(0.99).add_(g, alpha=0.01)

    return trained_by(rule)


def adafactor() -> Made:
    def rule(w: torch.Tensor, g: torch.Tensor, state: dict[str, Any]) -> None:
        square = g**2 + 1e-30
        if w.dim() < 2:
            state["all"] = state.get("all", torch.zeros_like(w)).lerp(square, 0.1)
            update = g / state["all"].sqrt()
        else:
            state["rows"] = state.get("rows", torch.zeros_like(w[:, 0])).lerp(square.mean(1), 0.1)
            state["columns"] = state.get("columns", torch.zeros_like(w[0])).lerp(square.mean(0), 0.1)
            scale = (state["rows"] / state["rows"].mean()).rsqrt().unsqueeze(1)
            update = torch.mul(scale, state["columns"].rsqrt().unsqueeze(0)).mul_(g)
        update.div_((update.norm() / math.sqrt(update.numel())).clamp_(min=1.0))
        w.add_(update, alpha=-1e-3)

    return trained_by(rule)


def shampoo() -> Made:
    def root(matrix: torch.Tensor) -> torch.Tensor:
        values, vectors = torch.linalg.eigh(matrix + 1e-6 * torch.eye(len(matrix), device=matrix.device))
        return vectors @ torch.diag(values.clamp_min(1e-12) ** -0.25) @ vectors.T

    def rule(w: torch.Tensor, g: torch.Tensor, state: dict[str, Any]) -> None:
        if w.dim() < 2:
            w.add_(g, alpha=-1e-3)
            return
        if not state:
            state["left"] = torch.eye(w.shape[0], device=w.device) * 1e-3
            state["right"] = torch.eye(w.shape[1], device=w.device) * 1e-3
        state["left"] += g @ g.T
        state["right"] += g.T @ g
        w.add_(root(state["left"]) @ g @ root(state["right"]), alpha=-1e-3)

    return trained_by(rule)


def sophia() -> Made:
    """Every step a product with the Hessian, for an estimate of its diagonal."""
    model, means, curves = tower(128, 512, 512, 10), {}, {}

    def step(model: Any, batch: Any, optimizer: Any) -> None:
        weights = list(model.parameters())
        loss = F.cross_entropy(model(batch[0]), batch[1])
        slopes = torch.autograd.grad(loss, weights, create_graph=True)
        signs = [torch.randint_like(w, 0, 2) * 2 - 1 for w in weights]
        products = torch.autograd.grad(
            sum((g * s).sum() for g, s in zip(slopes, signs, strict=True)), weights
        )
        with torch.no_grad():
            for at, (w, g, s, h) in enumerate(zip(weights, slopes, signs, products, strict=True)):
                means[at] = means.get(at, torch.zeros_like(w)) * 0.96 + g * 0.04
                curves[at] = curves.get(at, torch.zeros_like(w)) * 0.99 + s * h * 0.01
                w.sub_((means[at] / (0.04 * curves[at]).clamp_min(1e-12)).clamp_(-1, 1) * 1e-3)

    return own(model, (torch.randn(256, 128), torch.randint(0, 10, (256,))), step)


def lookahead() -> Made:
    model = tower(256, 1024, 1024, 10)
    fast = torch.optim.AdamW(model.parameters())
    slow = [w.detach().clone() for w in model.parameters()]

    def step(model: Any, batch: Any, optimizer: Any) -> None:
        for _ in range(3):
            optimizer.zero_grad()
            F.cross_entropy(model(batch[0]), batch[1]).backward()
            optimizer.step()
        for kept, w in zip(slow, model.parameters(), strict=True):
            kept.add_(w.data - kept, alpha=0.5)
            w.data.copy_(kept)

    return own(model, (torch.randn(64, 256), torch.randint(0, 10, (64,))), step, fast)


def beam_of_losses() -> Made:
    """Several heads and noises; only the best sequence of choices is trained."""
    model = nn.ModuleDict(
        {"body": tower(64, 512, 512), "heads": nn.ModuleList([nn.Linear(512, 64) for _ in range(4)])}
    )

    def loss(model: Any, batch: Any) -> torch.Tensor:
        beam = [(torch.zeros(len(batch[0]), device=batch[0].device), batch[0])]
        for _ in range(2):
            wider = []
            for cost, x in beam:
                h = model["body"](x).relu()
                for head in model["heads"]:
                    y = head(h)
                    wider.append((cost + F.mse_loss(y, batch[1], reduction="none").mean(1), y))
            costs = torch.stack([cost for cost, _ in wider])
            beam = [(c, wider[at][1]) for at, c in enumerate(costs.sort(0).values[:3])]
        return torch.stack([cost for cost, _ in beam]).min(0).values.mean()

    return made(model, (torch.randn(256, 64), torch.randn(256, 64)), loss)


def private_gradients() -> Made:
    """torch.func: a gradient of each sample, clipped, as in private training."""
    model = tower(32, 64, 64, 4)

    def step(model: Any, batch: Any, optimizer: Any) -> None:
        weights = {name: w.detach() for name, w in model.named_parameters()}

        def one(weights: Any, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return F.cross_entropy(torch.func.functional_call(model, weights, (x[None],)), y[None])

        slopes = torch.func.vmap(torch.func.grad(one), (None, 0, 0))(weights, *batch)
        norms = torch.stack([g.flatten(1).norm(dim=1) for g in slopes.values()]).norm(dim=0)
        factor = (1 / (norms + 1e-6)).clamp(max=1)
        for name, w in model.named_parameters():
            g = torch.einsum("n,n...->...", factor, slopes[name])
            w.grad = (g + torch.randn_like(g)) / len(factor)
        optimizer.step()

    return own(model, (torch.randn(128, 32), torch.randint(0, 4, (128,))), step)


def ensemble() -> Made:
    """torch.func: five models as one, by stacked weights."""
    members = [tower(64, 256, 256, 10) for _ in range(5)]
    stacked, _ = torch.func.stack_module_state(members)
    base = copy.deepcopy(members[0]).to("meta")
    model = nn.ParameterDict(
        {name.replace(".", "_"): nn.Parameter(w.detach()) for name, w in stacked.items()}
    )
    names = list(stacked)

    def loss(model: Any, batch: Any) -> torch.Tensor:
        weights = {name: model[name.replace(".", "_")] for name in names}
        call = lambda w, x: torch.func.functional_call(base, w, (x,))  # noqa: E731
        y = torch.func.vmap(call, (0, None))(weights, batch[0])
        return F.cross_entropy(y.flatten(0, 1), batch[1].repeat(5))

    return made(model, (torch.randn(256, 64), torch.randint(0, 10, (256,))), loss)


def checkpoints_in_odd_places() -> Made:
    """The loss under a checkpoint, and one checkpoint within another, with dropout."""
    model = nn.ModuleList([nn.Sequential(nn.Linear(256, 1024), nn.GELU(), nn.Dropout(0.1), nn.Linear(1024, 256))
                           for _ in range(4)])  # fmt: skip
    model.append(nn.Linear(256, 5000))

    def pair(x: torch.Tensor, at: int) -> torch.Tensor:
        x = x + checkpoint(model[at], x, use_reentrant=False)
        return x + checkpoint(model[at + 1], x, use_reentrant=False)

    def loss(model: Any, batch: Any) -> torch.Tensor:
        x = batch[0]
        for at in (0, 2):
            x = checkpoint(pair, x, at, use_reentrant=False)
        return checkpoint(lambda h: F.cross_entropy(model[4](h), batch[1]), x, use_reentrant=False)

    return made(model, (torch.randn(512, 256), torch.randint(0, 5000, (512,))), loss)


class LocalAttention(nn.Module):
    """A band and a few global tokens as a mask; positions by rotation."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(128, 384), nn.Linear(128, 128)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows, time, _ = x.shape
        q, k, v = self.qkv(x).view(rows, time, 3, 4, 32).permute(2, 0, 3, 1, 4)
        angle = torch.outer(
            torch.arange(time, device=x.device), 1e4 ** -(torch.arange(16, device=x.device) / 16)
        )
        turn = torch.polar(torch.ones_like(angle), angle)
        q, k = (
            torch.view_as_real(torch.view_as_complex(t.reshape(*t.shape[:-1], 16, 2)) * turn).flatten(-2)
            for t in (q, k)
        )
        at = torch.arange(time, device=x.device)
        mask = ((at[:, None] - at).abs() < 16) | (at < 4) | (at[:, None] < 4)
        scores = (q @ k.transpose(-1, -2) / math.sqrt(32)).masked_fill(~mask, -torch.inf)
        return x + self.out((scores.softmax(-1) @ v).transpose(1, 2).reshape(x.shape))


def sparse_attention() -> Made:
    model = nn.Sequential(LocalAttention(), nn.LayerNorm(128), LocalAttention(), nn.Linear(128, 16))
    return made(model, (torch.randn(4, 192, 128), torch.randn(4, 192, 16)), squared)


NAMES = ["lion", "adafactor", "shampoo", "sophia", "lookahead", "beam_of_losses", "private_gradients", "ensemble",
         "checkpoints_in_odd_places", "sparse_attention"]  # fmt: skip
