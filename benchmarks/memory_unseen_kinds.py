"""More make_step functions for memory_unseen.py: buffers updated in place, inner loops, mining, sampling."""

import copy
import math
from typing import Any

import torch
import torch.nn.functional as F
from memory_unseen_steps import Made, made
from torch import nn


class MomentumContrast(nn.Module):
    """A teacher that follows the student, and a queue of its keys."""

    def __init__(self) -> None:
        super().__init__()
        self.student = nn.Sequential(
            nn.Conv2d(3, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.ReLU(), nn.Conv2d(32, 64, 3, 2, 1),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 64),
        )  # fmt: skip
        self.teacher = copy.deepcopy(self.student)
        self.teacher.requires_grad_(False)
        self.register_buffer("queue", F.normalize(torch.randn(64, 4096), dim=0))
        self.register_buffer("place", torch.zeros(1, dtype=torch.long))

    def forward(self, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        query = F.normalize(self.student(one), dim=1)
        with torch.no_grad():
            for new, kept in zip(self.student.parameters(), self.teacher.parameters(), strict=True):
                kept.mul_(0.99).add_(new.detach(), alpha=0.01)
            order = torch.randperm(len(other), device=other.device)
            key = F.normalize(self.teacher(other[order]), dim=1)
        scores = torch.cat([(query * key).sum(1, keepdim=True), query @ self.queue.clone()], 1) / 0.07
        at = int(self.place)
        self.queue[:, at : at + len(key)] = key.T
        self.place[0] = (at + len(key)) % 4096
        return scores


def momentum_contrast() -> Made:
    def loss(model: Any, batch: Any) -> torch.Tensor:
        scores = model(*batch)
        return F.cross_entropy(scores, torch.zeros(len(scores), dtype=torch.long, device=scores.device))

    batch = (torch.randn(16, 3, 32, 32), torch.randn(16, 3, 32, 32))
    return made(MomentumContrast(), batch, loss, torch.optim.SGD, momentum=0.9)


def policy_gradient() -> Made:
    """PPO: several passes over shuffled parts of one rollout."""

    def tower(outputs: int) -> nn.Module:
        return nn.Sequential(
            nn.Linear(24, 256), nn.Tanh(), nn.Linear(256, 256), nn.Tanh(), nn.Linear(256, outputs)
        )

    def part(model: Any, rows: Any) -> torch.Tensor:
        state, action, before, advantage, returns = rows
        policy = torch.distributions.Categorical(logits=model["policy"](state))
        ratio = (policy.log_prob(action) - before).exp()
        advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
        gain = torch.min(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage).mean()
        value = (model["value"](state).squeeze(-1) - returns).pow(2).mean()
        return value / 2 - gain - policy.entropy().mean() / 100

    def step(model: Any, batch: Any, optimizer: Any) -> None:
        for rows in torch.randperm(2048, device=batch[0].device).split(512):
            optimizer.zero_grad()
            part(model, [column[rows] for column in batch]).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()

    model = nn.ModuleDict({"policy": tower(6), "value": tower(1)})
    columns = (torch.randn(2048, 24), torch.randint(0, 6, (2048,)), *(torch.randn(2048) for _ in range(3)))
    return {"model": model, "batch": columns, "optimizer": torch.optim.Adam(model.parameters()), "step": step}


class VectorQuantizer(nn.Module):
    """An autoencoder through a code book that follows its data."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Sequential(nn.Conv2d(3, 64, 4, 2, 1), nn.ReLU(), nn.Conv2d(64, 64, 4, 2, 1))
        self.leave = nn.Sequential(
            nn.ConvTranspose2d(64, 64, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(64, 3, 4, 2, 1)
        )
        self.register_buffer("codes", torch.randn(256, 64))
        self.register_buffer("counts", torch.zeros(256))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        z = self.enter(x).permute(0, 2, 3, 1)
        flat = z.reshape(-1, 64)
        nearest = torch.cdist(flat, self.codes).argmin(1)
        chosen = self.codes[nearest].view(z.shape)
        with torch.no_grad():
            hits = F.one_hot(nearest, 256).float()
            self.counts.mul_(0.99).add_(hits.sum(0), alpha=0.01)
            self.codes.mul_(0.99).add_(hits.T @ flat / (self.counts + 1e-5)[:, None], alpha=0.01)
        straight = (z + (chosen - z).detach()).permute(0, 3, 1, 2)
        return self.leave(straight), F.mse_loss(z, chosen.detach())


def vector_quantizer() -> Made:
    def loss(model: Any, batch: torch.Tensor) -> torch.Tensor:
        y, commitment = model(batch)
        return F.mse_loss(y, batch) + commitment / 4

    return made(VectorQuantizer(), torch.randn(8, 3, 32, 32), loss)


def meta_learning() -> Made:
    """MAML: gradients of gradient steps."""
    model = nn.Sequential(nn.Linear(16, 64), nn.Tanh(), nn.Linear(64, 1))

    def loss(model: Any, batch: Any) -> torch.Tensor:
        total = torch.zeros((), device=batch[0].device)
        for x, y, later_x, later_y in zip(*batch, strict=True):
            weights = dict(model.named_parameters())
            for _ in range(3):
                inner = F.mse_loss(torch.func.functional_call(model, weights, (x,)), y)
                slopes = torch.autograd.grad(inner, list(weights.values()), create_graph=True)
                weights = {
                    name: w - 0.01 * slope for (name, w), slope in zip(weights.items(), slopes, strict=True)
                }
            total = total + F.mse_loss(torch.func.functional_call(model, weights, (later_x,)), later_y)
        return total

    return made(model, tuple(torch.randn(4, 32, width) for width in (16, 1, 16, 1)), loss)


def hard_mining() -> Made:
    """The farthest of the same class and the nearest of another, by all distances."""
    model = nn.Sequential(nn.Linear(64, 128), nn.BatchNorm1d(128), nn.PReLU(), nn.Linear(128, 32))

    def loss(model: Any, batch: Any) -> torch.Tensor:
        y = F.normalize(model(batch[0]))
        apart, same = torch.cdist(y, y), batch[1][:, None] == batch[1][None]
        return F.relu(apart.masked_fill(~same, -1).amax(1) - apart.masked_fill(same, 9).amin(1) + 0.2).mean()

    return made(model, (torch.randn(128, 64), torch.randint(0, 10, (128,))), loss, torch.optim.RMSprop)


class Denoiser(nn.Module):
    """A small U-Net with time steps, group norms and attention."""

    def __init__(self) -> None:
        super().__init__()
        self.time = nn.Sequential(nn.Linear(64, 128), nn.SiLU(), nn.Linear(128, 64))
        self.enter, self.down = nn.Conv2d(3, 64, 3, padding=1), nn.Conv2d(64, 64, 3, 2, 1)
        self.norm, self.qkv, self.out = nn.GroupNorm(8, 64), nn.Conv2d(64, 192, 1), nn.Conv2d(64, 64, 1)
        self.up, self.leave = nn.ConvTranspose2d(64, 64, 4, 2, 1), nn.Conv2d(128, 3, 3, padding=1)

    def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        waves = t[:, None].float() * torch.exp(-math.log(1e4) * torch.arange(32, device=x.device) / 32)
        h = F.silu(self.enter(x) + self.time(torch.cat([waves.sin(), waves.cos()], -1))[:, :, None, None])
        low = self.down(h)
        rows, width, high, wide = low.shape
        q, k, v = (
            self.qkv(self.norm(low)).view(rows, 3, 4, width // 4, high * wide).transpose(-1, -2).unbind(1)
        )
        low = low + self.out(F.scaled_dot_product_attention(q, k, v).transpose(-1, -2).reshape(low.shape))
        return self.leave(torch.cat([self.up(low), h], 1))


def denoising() -> Made:
    kept = torch.linspace(0.999, 0.01, 1000)

    def loss(model: Any, batch: torch.Tensor) -> torch.Tensor:
        t, noise = torch.randint(0, 1000, (len(batch),), device=batch.device), torch.randn_like(batch)
        share = kept.to(batch.device)[t][:, None, None, None]
        return F.mse_loss(model(share.sqrt() * batch + (1 - share).sqrt() * noise, t), noise)

    return made(Denoiser(), torch.randn(4, 3, 32, 32), loss, torch.optim.AdamW)


def sparse_recommender() -> Made:
    """Gradients of two tables as lists of rows."""
    tables = nn.ModuleList([nn.Embedding(20000, 32, sparse=True), nn.EmbeddingBag(20000, 32, sparse=True)])
    model = nn.ModuleDict({"tables": tables, "head": nn.Linear(64, 1)})

    def loss(model: Any, batch: Any) -> torch.Tensor:
        x = torch.cat([table(ids) for table, ids in zip(model["tables"], batch, strict=False)], 1)
        return F.binary_cross_entropy_with_logits(model["head"](x).squeeze(1), batch[2])

    batch = (torch.randint(0, 20000, (512,)), torch.randint(0, 20000, (512, 10)), torch.rand(512))
    return made(model, batch, loss, torch.optim.SGD)


NAMES = ["momentum_contrast", "policy_gradient", "vector_quantizer", "meta_learning", "hard_mining", "denoising",
         "sparse_recommender"]  # fmt: skip
