"""More make_step functions for memory_unseen.py: ways of training that none of the other files holds."""

import copy
import itertools
import math
from typing import Any

import torch
import torch.nn.functional as F
from memory_unseen_steps import Made, classify, made
from torch import nn


def tower(*widths: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for enter, leave in itertools.pairwise(widths):
        layers += [nn.Linear(enter, leave), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def own(model: nn.Module, batch: Any, step: Any, optimizer: Any = None) -> Made:
    optimizer = optimizer or torch.optim.Adam(model.parameters(), lr=1e-3)
    return {"model": model, "batch": batch, "optimizer": optimizer, "step": step}


def langevin() -> Made:
    """An energy model; its negatives walk downhill first."""
    model = nn.Sequential(nn.Conv2d(3, 32, 3, 1, 1), nn.SiLU(), nn.Conv2d(32, 64, 4, 2, 1), nn.SiLU(),
                          nn.Conv2d(64, 64, 4, 2, 1), nn.SiLU(), nn.Flatten(), nn.Linear(4096, 1))  # fmt: skip

    def step(model: Any, batch: torch.Tensor, optimizer: Any) -> None:
        x = torch.rand_like(batch).requires_grad_()
        for weight in model.parameters():
            weight.requires_grad_(False)
        for _ in range(5):
            x.data.add_(torch.randn_like(x), alpha=0.005)
            model(x).sum().backward()
            x.data.add_(x.grad.clamp(-0.03, 0.03), alpha=-10)
            x.grad.zero_()
        for weight in model.parameters():
            weight.requires_grad_(True)
        true, false = model(torch.cat([batch, x.detach()])).chunk(2)
        optimizer.zero_grad()
        (true.mean() - false.mean() + 0.1 * (true**2 + false**2).mean()).backward()
        optimizer.step()

    return own(model, torch.rand(16, 3, 32, 32), step)


def actor_critic() -> Made:
    """DDPG: two optimizers and slow copies of both networks."""
    model = nn.ModuleDict({"actor": tower(24, 256, 256, 6), "critic": tower(30, 256, 256, 1)})
    slow = copy.deepcopy(model).requires_grad_(False)
    critic_optimizer = torch.optim.Adam(model["critic"].parameters(), 1e-3)

    def step(model: Any, batch: Any, optimizer: Any) -> None:
        state, action, reward, later = batch
        with torch.no_grad():
            target = reward + 0.99 * slow["critic"](torch.cat([later, slow["actor"](later).tanh()], 1))
        critic_loss = F.mse_loss(model["critic"](torch.cat([state, action], 1)), target)
        critic_optimizer.zero_grad()
        critic_loss.backward()
        critic_optimizer.step()
        actor_loss = -model["critic"](torch.cat([state, model["actor"](state).tanh()], 1)).mean()
        optimizer.zero_grad()
        actor_loss.backward()
        optimizer.step()
        with torch.no_grad():
            for new, kept in zip(model.parameters(), slow.parameters(), strict=True):
                kept.lerp_(new, 0.005)

    batch = (torch.randn(512, 24), torch.randn(512, 6), torch.randn(512, 1), torch.randn(512, 24))
    return own(model, batch, step, torch.optim.Adam(model["actor"].parameters(), 1e-4))


class World(nn.Module):
    """Dreamer's recurrent state: encoder, GRU, categories drawn straight through, decoder."""

    def __init__(self) -> None:
        super().__init__()
        self.encode, self.decode = tower(48, 256, 128), tower(384, 256, 48)
        self.cell = nn.GRUCell(128 + 4, 256)
        self.prior, self.posterior = tower(256, 128, 128), tower(384, 128, 128)

    def forward(self, seen: torch.Tensor, done: torch.Tensor) -> torch.Tensor:
        h, z, loss = seen.new_zeros(len(seen), 256), seen.new_zeros(len(seen), 128), seen.new_zeros(())
        for t in range(seen.shape[1]):
            h = self.cell(torch.cat([z, done[:, t]], 1), h)
            prior = self.prior(h).view(-1, 8, 16).log_softmax(-1)
            after = self.posterior(torch.cat([h, self.encode(seen[:, t])], 1)).view(-1, 8, 16).log_softmax(-1)
            drawn = F.one_hot(torch.distributions.Categorical(logits=after).sample(), 16) + after.exp()
            z = (drawn - after.exp().detach()).flatten(1)
            loss = loss + F.mse_loss(self.decode(torch.cat([h, z], 1)), seen[:, t])
            loss = loss + F.kl_div(prior, after, log_target=True, reduction="batchmean")
        return loss


def world_model() -> Made:
    return made(World(), (torch.randn(32, 16, 48), torch.randn(32, 16, 4)), lambda m, b: m(*b))


def instance_bank() -> Made:
    """Instance discrimination: each sample against a bank of all, which is then updated in place."""
    model = nn.Sequential(nn.Conv2d(3, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.ReLU(), nn.AdaptiveAvgPool2d(4),
                          nn.Flatten(), nn.Linear(512, 64))  # fmt: skip
    model.register_buffer("bank", F.normalize(torch.randn(20000, 64)))

    def loss(model: Any, batch: Any) -> torch.Tensor:
        x, index = batch
        y = F.normalize(model(x))
        found = F.cross_entropy(y @ model.bank.clone().T / 0.07, index)
        with torch.no_grad():
            model.bank[index] = F.normalize(model.bank[index] * 0.5 + y * 0.5)
        return found

    return made(model, (torch.randn(64, 3, 32, 32), torch.randint(0, 20000, (64,))), loss, torch.optim.SGD)


def distillation() -> Made:
    """A frozen teacher in a closure; logits and features."""
    teacher, student = tower(128, 1024, 1024, 1000).eval(), tower(128, 256, 256, 1000)
    fit = nn.Linear(256, 1024)

    def loss(model: Any, batch: Any) -> torch.Tensor:
        with torch.no_grad():
            hidden = teacher[:4](batch[0])
            soft = F.softmax(teacher[4](hidden) / 4, -1)
        mine = model["student"][:4](batch[0])
        y = model["student"][4](mine)
        found = F.kl_div(F.log_softmax(y / 4, -1), soft, reduction="batchmean") * 16
        return found + F.cross_entropy(y, batch[1]) + F.mse_loss(model["fit"](mine), hidden)

    model = nn.ModuleDict({"student": student, "fit": fit})
    return made(model, (torch.randn(256, 128), torch.randint(0, 1000, (256,))), loss, torch.optim.AdamW)


def conflicting_tasks() -> Made:
    """PCGrad: the gradient of each task, projected where two disagree."""
    model = nn.ModuleDict(
        {"body": tower(64, 512, 512), "heads": nn.ModuleList([nn.Linear(512, 4) for _ in range(3)])}
    )

    def step(model: Any, batch: Any, optimizer: Any) -> None:
        shared, slopes = list(model["body"].parameters()), []
        y = model["body"](batch[0])
        for head, target in zip(model["heads"], batch[1:], strict=True):
            optimizer.zero_grad()
            F.mse_loss(head(y), target).backward(retain_graph=True)
            slopes.append(torch.cat([w.grad.flatten() for w in shared]))
        mended = []
        for at, g in enumerate(slopes):
            g = g.clone()
            for other, h in enumerate(slopes):
                inner = torch.dot(g, h)
                if other != at and inner < 0:
                    g -= inner / h.norm() ** 2 * h
            mended.append(g)
        total, place = torch.stack(mended).mean(0), 0
        for w in shared:
            w.grad = total[place : place + w.numel()].view_as(w).clone()
            place += w.numel()
        optimizer.step()

    return own(model, (torch.randn(128, 64), *(torch.randn(128, 4) for _ in range(3))), step)


def r1_penalty() -> Made:
    """StyleGAN's penalty on true samples, in a backward pass of its own."""
    model = nn.Sequential(nn.Conv2d(3, 32, 3, 1, 1), nn.LeakyReLU(0.2), nn.Conv2d(32, 64, 3, 1, 1), nn.LeakyReLU(0.2),
                          nn.AvgPool2d(2), nn.Flatten(), nn.Linear(16384, 1))  # fmt: skip

    def step(model: Any, batch: torch.Tensor, optimizer: Any) -> None:
        optimizer.zero_grad()
        F.softplus(-model(batch)).mean().backward()
        true = batch.detach().requires_grad_(True)
        slope = torch.autograd.grad(model(true).sum(), true, create_graph=True)[0]
        (slope.square().sum((1, 2, 3)).mean() * 5).backward()
        optimizer.step()

    return own(model, torch.randn(8, 3, 32, 32), step)


class Experts(nn.Module):
    """Top-1 experts with a capacity, dispatched by products with one-hot places."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(64, 8, bias=False)
        self.enter, self.leave = (
            nn.Parameter(torch.randn(8, 64, 256) / 8),
            nn.Parameter(torch.randn(8, 256, 64) / 16),
        )

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        chance = self.gate(x).softmax(-1)
        best, chosen = chance.max(-1)
        one = F.one_hot(chosen, 8).float()
        place = (one.cumsum(0) * one).sum(-1).long() - 1
        room = len(x) // 8 * 5 // 4
        slot = F.one_hot(place.clamp(max=room), room + 1).float()[:, :room]
        route = one[:, :, None] * slot[:, None]
        taken = torch.einsum("nec,nd->ecd", route, x)
        y = torch.bmm(F.relu(torch.bmm(taken, self.enter)), self.leave)
        balance = 8 * (one.mean(0) * chance.mean(0)).sum()
        return x + torch.einsum("nec,ecd->nd", route * best[:, None, None], y), balance


def experts_with_capacity() -> Made:
    def loss(model: Any, batch: Any) -> torch.Tensor:
        y, balance = model["experts"](model["enter"](batch[0]))
        return F.mse_loss(model["head"](y), batch[1]) + balance / 100

    model = nn.ModuleDict({"enter": nn.Linear(32, 64), "experts": Experts(), "head": nn.Linear(64, 8)})
    return made(model, (torch.randn(1024, 32), torch.randn(1024, 8)), loss)


def ragged_loop() -> Made:
    """Samples of different lengths, one after the other; losses in a list."""
    model = nn.Sequential(nn.Linear(32, 256), nn.Tanh(), nn.Linear(256, 256), nn.Tanh(), nn.Linear(256, 8))

    def loss(model: Any, batch: Any) -> torch.Tensor:
        losses = [
            F.cross_entropy(model(x).mean(0, keepdim=True), y[None]) for x, y in zip(*batch, strict=True)
        ]
        return torch.stack(losses).topk(4).values.mean()

    samples = [torch.randn(20 + 13 * at, 32) for at in range(12)]
    return made(model, (samples, list(torch.randint(0, 8, (12,)))), loss)


def stochastic_depth() -> Made:
    """Residual branches dropped per sample, on images, under autocast."""

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(
                nn.GroupNorm(4, 64), nn.Conv2d(64, 64, 3, 1, 1), nn.GELU(), nn.Conv2d(64, 64, 1)
            )

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            keep = x.new_empty(len(x), 1, 1, 1).bernoulli_(0.8).div_(0.8)
            return x + self.body(x) * keep

    def loss(model: Any, batch: Any) -> torch.Tensor:
        with torch.autocast(batch[0].device.type, torch.bfloat16):
            return classify(model, batch)

    model = nn.Sequential(nn.Conv2d(3, 64, 4, 4), Block(), Block(), Block(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                          nn.Linear(64, 10))  # fmt: skip
    return made(model, (torch.randn(8, 3, 64, 64), torch.randint(0, 10, (8,))), loss, torch.optim.AdamW)


def gumbel_codes() -> Made:
    model = nn.ModuleDict(
        {"enter": tower(128, 512, 32 * 64), "codes": nn.Embedding(64, 16), "leave": tower(512, 512, 128)}
    )

    def loss(model: Any, batch: torch.Tensor) -> torch.Tensor:
        logits = model["enter"](batch).view(-1, 32, 64)
        drawn = F.gumbel_softmax(logits, tau=0.7, hard=True)
        back = model["leave"]((drawn @ model["codes"].weight).flatten(1))
        q = logits.softmax(-1)
        return F.mse_loss(back, batch) + (q * (q.clamp_min(1e-9).log() + math.log(64))).sum(-1).mean() / 100

    return made(model, torch.randn(256, 128), loss)


def hooks_that_keep() -> Made:
    """Activations collected by hooks for a penalty, and a list of all outputs that lives on."""
    model, kept, history = tower(128, 512, 512, 512, 10), [], []
    for layer in model:
        if isinstance(layer, nn.ReLU):
            layer.register_forward_hook(lambda module, given, result: kept.append(result))

    def loss(model: Any, batch: Any) -> torch.Tensor:
        kept.clear()
        y = model(batch[0])
        history.append(y.detach())
        return F.cross_entropy(y, batch[1]) + sum(h.abs().mean() for h in kept) / 1000

    return made(model, (torch.randn(512, 128), torch.randint(0, 10, (512,))), loss)


NAMES = ["langevin", "actor_critic", "world_model", "instance_bank", "distillation", "conflicting_tasks", "r1_penalty",
         "experts_with_capacity", "ragged_loop", "stochastic_depth", "gumbel_codes", "hooks_that_keep"]  # fmt: skip
