"""Training loops for memory_unseen.py: a small GPT checkpointed, adapted, accumulated, in other precisions."""

import torch
import torch.nn.functional as F
from memory_unseen_steps import classify, made
from torch import nn
from torch.utils.checkpoint import checkpoint, checkpoint_sequential


class Block(nn.Module):
    def __init__(self, w=128, h=4):
        super().__init__()
        self.h, self.n1, self.n2 = h, nn.LayerNorm(w), nn.LayerNorm(w)
        self.qkv, self.o = nn.Linear(w, 3 * w), nn.Linear(w, w)
        self.m = nn.Sequential(nn.Linear(w, 4 * w), nn.GELU(approximate="tanh"), nn.Linear(4 * w, w))

    def forward(self, x):
        b, t, w = x.shape
        q, k, v = self.qkv(self.n1(x)).view(b, t, 3, self.h, w // self.h).permute(2, 0, 3, 1, 4)
        x = x + self.o(
            F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(b, t, w)
        )
        return x + self.m(self.n2(x))


class Gpt(nn.Module):
    def __init__(self, w=128, layers=4, vocab=2000, tied=True, mode=None):
        super().__init__()
        self.e, self.p = nn.Embedding(vocab, w), nn.Parameter(torch.randn(128, w) * 0.02)
        self.blocks = nn.ModuleList(Block(w) for _ in range(layers))
        self.n, self.head, self.mode = nn.LayerNorm(w), nn.Linear(w, vocab, bias=False), mode
        if tied:
            self.head.weight = self.e.weight

    def forward(self, i):
        x = self.e(i) + self.p[: i.shape[1]]
        if self.mode == "sequential":
            x = checkpoint_sequential(nn.Sequential(*self.blocks), 2, x, use_reentrant=True)
        else:
            for block in self.blocks:
                x = checkpoint(block, x, use_reentrant=self.mode == "reentrant") if self.mode else block(x)
        return self.head(self.n(x))


def lm(m, b):
    return F.cross_entropy(m(b[:, :-1]).flatten(0, 1), b[:, 1:].flatten())


def ids():
    return torch.randint(0, 2000, (4, 65))


def tied_embeddings():
    return made(Gpt(), ids(), lm, torch.optim.AdamW)


def checkpoint_reentrant():
    return made(Gpt(mode="reentrant"), ids(), lm, torch.optim.AdamW)


def checkpoint_not_reentrant():
    return made(Gpt(mode="new"), ids(), lm, torch.optim.AdamW)


def checkpoint_in_segments():
    return made(Gpt(mode="sequential"), ids(), lm, torch.optim.AdamW)


class Lora(nn.Module):
    def __init__(self, base, r=8):
        super().__init__()
        self.base = base.requires_grad_(False)
        self.a, self.b, self.d = (
            nn.Linear(base.in_features, r, bias=False),
            nn.Linear(r, base.out_features, bias=False),
            nn.Dropout(0.05),
        )
        nn.init.zeros_(self.b.weight)

    def forward(self, x):
        return self.base(x) + self.b(self.a(self.d(x))) * 2


def lora_on_a_frozen_base():
    model = Gpt(tied=False).requires_grad_(False)
    for block in model.blocks:
        block.qkv, block.o = Lora(block.qkv), Lora(block.o)
    return made(model, ids(), lm, torch.optim.AdamW)


def accumulation_by_hand():
    model = Gpt()
    opt = torch.optim.AdamW(model.parameters(), lr=1e-3)

    def step(model, batch, opt):
        total = 0.0
        for part in batch.chunk(2):
            loss = lm(model, part) / 2
            loss.backward()
            total += loss.detach()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()
        opt.zero_grad(set_to_none=True)

    return {"model": model, "batch": ids(), "optimizer": opt, "step": step}


def bf16_model():
    model = Gpt().to(torch.bfloat16)
    return made(model, ids(), lambda m, b: lm(m, b).float(), torch.optim.AdamW)


def chunked_loss():
    def loss(m, b):
        x = m.e(b[:, :-1]) + m.p[:64]
        for block in m.blocks:
            x = block(x)
        x = m.n(x).flatten(0, 1)
        y = b[:, 1:].flatten()
        parts = [
            checkpoint(lambda h, t: F.cross_entropy(m.head(h), t, reduction="sum"), h, t, use_reentrant=False)
            for h, t in zip(x.chunk(4), y.chunk(4), strict=False)
        ]
        return sum(parts) / len(y)

    return made(Gpt(), ids(), loss, torch.optim.AdamW)


def adafactor():
    return made(Gpt(), ids(), lm, torch.optim.Adafactor)


def mlp(width=512, out=10):
    return nn.Sequential(
        nn.Linear(256, width), nn.GELU(), nn.Linear(width, width), nn.GELU(), nn.Linear(width, out)
    )


def rows(n=64, width=256, classes=10):
    return torch.randn(n, width), torch.randint(0, classes, (n,))


def autocast_and_scaler():
    model = mlp(1024)
    opt = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)

    def step(model, batch, opt):
        device = batch[0].device.type
        scaler = torch.amp.GradScaler(device)
        with torch.autocast(device, torch.bfloat16):
            loss = F.cross_entropy(model(batch[0]), batch[1])
        scaler.scale(loss).backward()
        scaler.unscale_(opt)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(opt)
        scaler.update()
        opt.zero_grad()

    return {"model": model, "batch": rows(), "optimizer": opt, "step": step}


def compiled():
    model = mlp(1024)
    run = torch.compile(model, backend="eager")
    return {
        "model": model,
        "batch": rows(),
        "loss": lambda m, b: F.cross_entropy(run(b[0]), b[1]),
        "optimizer": torch.optim.Adam(model.parameters()),
    }


class Swish(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x.sigmoid()

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        s = x.sigmoid()
        return g * (s * (1 + x * (1 - s)))


class SwishNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(256, 1024), nn.Linear(1024, 1024), nn.Linear(1024, 10)

    def forward(self, x):
        return self.c(Swish.apply(self.b(Swish.apply(self.a(x)))))


def own_function():
    return made(SwishNet(), rows(256), classify)


def two_losses_retained():
    body, a, b = mlp(512, 256), nn.Linear(256, 10), nn.Linear(256, 1)
    model = nn.ModuleList([body, a, b])
    opt = torch.optim.Adam(model.parameters())

    def step(model, batch, opt):
        h = F.relu(body(batch[0]))
        opt.zero_grad()
        F.cross_entropy(a(h), batch[1]).backward(retain_graph=True)
        kept = [p.grad.clone() for p in body.parameters()]
        b(h).square().mean().backward()
        for p, g in zip(body.parameters(), kept, strict=False):
            p.grad.add_(g, alpha=0.5)
        opt.step()

    return {"model": model, "batch": rows(128), "optimizer": opt, "step": step}


def optimizer_in_the_backward_pass():
    model = mlp(1024)
    single = {p: torch.optim.Adam([p], foreach=False) for p in model.parameters()}

    def hook(p):
        single[p].step()
        single[p].zero_grad()

    for p in model.parameters():
        p.register_post_accumulate_grad_hook(hook)

    def step(model, batch, opt):
        F.cross_entropy(model(batch[0]), batch[1]).backward()

    return {"model": model, "batch": rows(), "optimizer": next(iter(single.values())), "step": step}


def distillation():
    teacher, student = mlp(2048).eval(), mlp(256)
    model = nn.ModuleDict({"t": teacher.requires_grad_(False), "s": student})

    def loss(m, b):
        with torch.no_grad():
            t = m["t"](b[0])
        s = m["s"](b[0])
        return (
            F.cross_entropy(s, b[1])
            + F.kl_div(F.log_softmax(s / 2, -1), F.softmax(t / 2, -1), reduction="batchmean") * 4
        )

    return made(model, rows(256), loss)


NAMES = [
    "tied_embeddings",
    "checkpoint_reentrant",
    "checkpoint_not_reentrant",
    "checkpoint_in_segments",
    "lora_on_a_frozen_base",
    "accumulation_by_hand",
    "bf16_model",
    "chunked_loss",
    "adafactor",
    "autocast_and_scaler",
    "compiled",
    "own_function",
    "two_losses_retained",
    "optimizer_in_the_backward_pass",
    "distillation",
]
