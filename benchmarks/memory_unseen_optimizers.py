"""make_step functions around optimizers for memory_unseen.py: sparse, fused, hand-written, gradients of gradients."""

import copy

import torch
import torch.nn.functional as F
from memory_unseen_loops import mlp, rows
from memory_unseen_steps import classify, made
from torch import nn


def sparse_adam():
    model = nn.ModuleDict({"table": nn.Embedding(20000, 32, sparse=True), "head": nn.Linear(32, 1)})
    dense = torch.optim.Adam(model["head"].parameters())
    sparse = torch.optim.SparseAdam(list(model["table"].parameters()))

    def step(model, batch, optimizer):
        ids, y = batch
        loss = F.mse_loss(model["head"](model["table"](ids).mean(1)).squeeze(1), y)
        loss.backward()
        for one in (dense, sparse):
            one.step()
            one.zero_grad()

    return {
        "model": model,
        "batch": (torch.randint(0, 20000, (512, 20)), torch.rand(512)),
        "optimizer": dense,
        "step": step,
    }


def sparse_adam_only():
    model = nn.EmbeddingBag(50000, 64, sparse=True, mode="mean")
    return {
        "model": model,
        "batch": torch.randint(0, 50000, (256, 30)),
        "loss": lambda m, b: m(b).square().mean(),
        "optimizer": torch.optim.SparseAdam(list(model.parameters())),
    }


class Int8Momentum(torch.optim.Optimizer):
    def __init__(self, params, lr=1e-3, beta=0.9):
        super().__init__(params, {"lr": lr, "beta": beta})

    @torch.no_grad()
    def step(self, closure=None):
        for g in self.param_groups:
            for p in g["params"]:
                if p.grad is None:
                    continue
                st = self.state[p]
                if not st:
                    st["q"] = torch.zeros_like(p, dtype=torch.int8)
                    st["s"] = torch.ones((), device=p.device)
                m = st["q"].float() * st["s"]
                m.mul_(g["beta"]).add_(p.grad)
                st["s"] = m.abs().max() / 127
                st["q"] = (m / st["s"]).round().clamp_(-127, 127).to(torch.int8)
                p.add_(m, alpha=-g["lr"])


def eight_bit_by_hand():
    return made(mlp(1024), rows(), classify, Int8Momentum)


def adam_foreach():
    return made(mlp(1024), rows(), classify, torch.optim.Adam, foreach=True)


def adam_loop():
    return made(mlp(1024), rows(), classify, torch.optim.Adam, foreach=False)


def adamw_fused():
    return made(mlp(1024), rows(), classify, torch.optim.AdamW, fused=True)


def sgd_fused():
    return made(mlp(1024), rows(), classify, torch.optim.SGD, momentum=0.9, fused=True)


def adam_amsgrad():
    return made(mlp(1024), rows(), classify, torch.optim.Adam, amsgrad=True, weight_decay=0.01)


def rmsprop_centered():
    return made(mlp(1024), rows(), classify, torch.optim.RMSprop, centered=True, momentum=0.9)


def radam_nadam():
    model = mlp(512)
    a, b = torch.optim.RAdam(model[0].parameters()), torch.optim.NAdam(model[2:].parameters())

    def step(model, batch, opt):
        F.cross_entropy(model(batch[0]), batch[1]).backward()
        for o in (a, b):
            o.step()
            o.zero_grad()

    return {"model": model, "batch": rows(), "optimizer": a, "step": step}


def muon():
    model = nn.Sequential(nn.Linear(256, 512, bias=False), nn.ReLU(), nn.Linear(512, 256, bias=False))
    return made(
        model,
        (torch.randn(64, 256), torch.randn(64, 256)),
        lambda m, b: F.mse_loss(m(b[0]), b[1]),
        torch.optim.Muon,
    )


def sharpness_aware():
    model = mlp(1024)
    opt = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)

    def step(model, batch, opt):
        F.cross_entropy(model(batch[0]), batch[1]).backward()
        with torch.no_grad():
            norm = torch.stack([p.grad.norm() for p in model.parameters()]).norm()
            moved = [p.grad * (0.05 / (norm + 1e-12)) for p in model.parameters()]
            for p, e in zip(model.parameters(), moved, strict=False):
                p.add_(e)
        opt.zero_grad()
        F.cross_entropy(model(batch[0]), batch[1]).backward()
        with torch.no_grad():
            for p, e in zip(model.parameters(), moved, strict=False):
                p.sub_(e)
        opt.step()
        opt.zero_grad()

    return {"model": model, "batch": rows(), "optimizer": opt, "step": step}


def hessian_vector():
    model = nn.Sequential(nn.Linear(64, 256), nn.Tanh(), nn.Linear(256, 1))

    def loss(m, b):
        y = F.mse_loss(m(b[0]), b[1])
        g = torch.autograd.grad(y, list(m.parameters()), create_graph=True)
        return y + sum((x * x).sum() for x in g)

    return made(model, (torch.randn(128, 64), torch.randn(128, 1)), loss)


def per_sample_gradients():
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
    opt = torch.optim.SGD(model.parameters(), 0.1)

    def step(model, batch, opt):
        weights = {k: v.detach() for k, v in model.named_parameters()}

        def one(w, x, y):
            return F.cross_entropy(torch.func.functional_call(model, w, (x[None],)), y[None])

        g = torch.func.vmap(torch.func.grad(one), in_dims=(None, 0, 0))(weights, *batch)
        norms = torch.stack([v.flatten(1).norm(dim=1) for v in g.values()]).norm(dim=0)
        scale = (1.0 / (norms + 1e-6)).clamp(max=1.0)
        for k, p in model.named_parameters():
            p.grad = (g[k] * scale.view(-1, *[1] * p.dim())).mean(0)
        opt.step()
        opt.zero_grad()

    return {
        "model": model,
        "batch": (torch.randn(64, 64), torch.randint(0, 10, (64,))),
        "optimizer": opt,
        "step": step,
    }


def schedule_free_like():
    class Averaging(torch.optim.Optimizer):
        def __init__(self, params, lr=1e-3):
            super().__init__(params, {"lr": lr, "k": 0})

        @torch.no_grad()
        def step(self, closure=None):
            for g in self.param_groups:
                live = [p for p in g["params"] if p.grad is not None]
                for p in live:
                    if "z" not in self.state[p]:
                        self.state[p]["z"], self.state[p]["v"] = p.clone(), torch.zeros_like(p)
                v, z, gr = (
                    [self.state[p]["v"] for p in live],
                    [self.state[p]["z"] for p in live],
                    [p.grad for p in live],
                )
                torch._foreach_mul_(v, 0.99)
                torch._foreach_addcmul_(v, gr, gr, 0.01)
                d = torch._foreach_sqrt(v)
                torch._foreach_add_(d, 1e-8)
                torch._foreach_div_(gr, d)
                torch._foreach_lerp_(live, z, weight=0.1)
                torch._foreach_sub_(z, gr, alpha=g["lr"])

    return made(mlp(1024), rows(), classify, Averaging)


def no_optimizer_class():
    model = mlp(1024)

    def step(model, batch, opt):
        loss = F.cross_entropy(model(batch[0]), batch[1])
        grads = torch.autograd.grad(loss, list(model.parameters()))
        with torch.no_grad():
            for p, g in zip(model.parameters(), grads, strict=False):
                p -= 0.1 * g

    return {"model": model, "batch": rows(), "optimizer": None, "step": step}


def q_learning():
    online = nn.Sequential(nn.Linear(8, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 4))
    target = copy.deepcopy(online)
    opt = torch.optim.Adam(online.parameters())

    def step(model, batch, opt):
        s, a, r, n, d = batch
        with torch.no_grad():
            best = target(n).gather(1, online(n).argmax(1, keepdim=True)).squeeze(1)
            y = r + 0.99 * best * (1 - d)
        q = online(s).gather(1, a[:, None]).squeeze(1)
        loss = F.smooth_l1_loss(q, y)
        opt.zero_grad()
        loss.backward()
        nn.utils.clip_grad_value_(online.parameters(), 10)
        opt.step()
        target.load_state_dict(online.state_dict())

    n = 512
    batch = (torch.randn(n, 8), torch.randint(0, 4, (n,)), torch.randn(n), torch.randn(n, 8), torch.rand(n))
    return {"model": nn.ModuleList([online, target]), "batch": batch, "optimizer": opt, "step": step}


def memory_bank():
    model = mlp(512, 64)
    bank = F.normalize(torch.randn(8000, 64))
    opt = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)

    def step(model, batch, opt):
        nonlocal bank
        x, place = batch
        bank = bank.to(x.device)
        y = F.normalize(model(x))
        loss = F.cross_entropy(y @ bank.t() / 0.07, place)
        opt.zero_grad()
        loss.backward()
        opt.step()
        with torch.no_grad():
            bank[place] = F.normalize(0.5 * bank[place] + 0.5 * y)

    return {
        "model": model,
        "batch": (torch.randn(64, 256), torch.randperm(8000)[:64]),
        "optimizer": opt,
        "step": step,
    }


NAMES = [
    "sparse_adam",
    "sparse_adam_only",
    "eight_bit_by_hand",
    "adam_foreach",
    "adam_loop",
    "adamw_fused",
    "sgd_fused",
    "adam_amsgrad",
    "rmsprop_centered",
    "radam_nadam",
    "muon",
    "sharpness_aware",
    "hessian_vector",
    "per_sample_gradients",
    "schedule_free_like",
    "no_optimizer_class",
    "q_learning",
    "memory_bank",
]
