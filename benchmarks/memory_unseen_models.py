"""Further models for memory_unseen.py: diffusion, graphs, experts, spectra, boxes, quantization-aware layers."""

import copy
import math

import torch
import torch.nn.functional as F
from memory_unseen_loops import rows
from memory_unseen_steps import classify, made
from torch import nn


class Cross(nn.Module):
    def __init__(self, width, context):
        super().__init__()
        self.norm, self.q = nn.GroupNorm(8, width), nn.Linear(width, width, bias=False)
        self.kv, self.out = nn.Linear(context, 2 * width, bias=False), nn.Linear(width, width)

    def forward(self, x, context):
        b, c, h, w = x.shape
        q = self.q(self.norm(x).flatten(2).transpose(1, 2)).view(b, h * w, 4, c // 4).transpose(1, 2)
        k, v = self.kv(context).view(b, -1, 2, 4, c // 4).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, h * w, c)
        return x + self.out(y).transpose(1, 2).view(b, c, h, w)


class Res(nn.Module):
    def __init__(self, inner, outer, time):
        super().__init__()
        self.a = nn.Sequential(nn.GroupNorm(8, inner), nn.SiLU(), nn.Conv2d(inner, outer, 3, padding=1))
        self.t = nn.Linear(time, outer)
        self.b = nn.Sequential(
            nn.GroupNorm(8, outer), nn.SiLU(), nn.Dropout(0.1), nn.Conv2d(outer, outer, 3, padding=1)
        )
        self.skip = nn.Conv2d(inner, outer, 1) if inner != outer else nn.Identity()

    def forward(self, x, t):
        return self.skip(x) + self.b(self.a(x) + self.t(F.silu(t))[:, :, None, None])


class LatentUNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.enter = nn.Conv2d(4, 32, 3, padding=1)
        self.time = nn.Sequential(nn.Linear(32, 64), nn.SiLU(), nn.Linear(64, 64))
        self.down = nn.ModuleList([Res(32, 32, 64), Res(32, 64, 64), Res(64, 128, 64)])
        self.pools = nn.ModuleList([nn.Conv2d(c, c, 3, 2, 1) for c in (32, 64)])
        self.cross = Cross(128, 96)
        self.up = nn.ModuleList([Res(128 + 64, 64, 64), Res(64 + 32, 32, 64)])
        self.leave = nn.Sequential(nn.GroupNorm(8, 32), nn.SiLU(), nn.Conv2d(32, 4, 3, padding=1))

    def forward(self, x, t, context):
        f = torch.exp(-math.log(10000) * torch.arange(16, device=x.device) / 16)
        t = self.time(torch.cat([(t[:, None] * f).sin(), (t[:, None] * f).cos()], 1))
        x, kept = self.enter(x), []
        for i, block in enumerate(self.down):
            x = block(x, t)
            if i < 2:
                kept.append(x)
                x = self.pools[i](x)
        x = self.cross(x, context)
        for block in self.up:
            x = block(torch.cat([F.interpolate(x, scale_factor=2.0, mode="nearest"), kept.pop()], 1), t)
        return self.leave(x)


def latent_diffusion_ema():
    model = LatentUNet()
    ema = copy.deepcopy(model).requires_grad_(False).eval()
    opt = torch.optim.AdamW(model.parameters(), lr=1e-4)
    alphas = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000), 0)

    def step(model, batch, opt):
        x, c = batch
        t = torch.randint(0, 1000, (x.shape[0],), device=x.device)
        noise = torch.randn_like(x)
        a = alphas.to(x.device)[t].view(-1, 1, 1, 1)
        loss = F.mse_loss(model(a.sqrt() * x + (1 - a).sqrt() * noise, t.float(), c), noise)
        opt.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()
        with torch.no_grad():
            for p, q in zip(model.parameters(), ema.parameters(), strict=False):
                q.lerp_(p, 0.001)

    return {
        "model": model,
        "batch": (torch.randn(4, 4, 32, 32), torch.randn(4, 20, 96)),
        "optimizer": opt,
        "step": step,
    }


class MessagePassing(nn.Module):
    def __init__(self, w=64):
        super().__init__()
        self.enter, self.edge = nn.Linear(16, w), nn.Linear(8, w)
        self.msg = nn.Sequential(nn.Linear(3 * w, w), nn.ReLU(), nn.Linear(w, w))
        self.cell, self.head = nn.GRUCell(w, w), nn.Linear(w, 1)

    def forward(self, x, index, e, graph):
        h, e = self.enter(x), self.edge(e)
        s, t = index
        for _ in range(3):
            m = self.msg(torch.cat([h[s], h[t], e], 1))
            agg = torch.zeros_like(h).scatter_reduce(
                0, t[:, None].expand_as(m), m, "mean", include_self=False
            )
            h = self.cell(agg, h)
        pooled = torch.zeros(32, h.shape[1], device=h.device).scatter_add_(0, graph[:, None].expand_as(h), h)
        return self.head(pooled)


def message_passing():
    batch = (
        torch.randn(1000, 16),
        torch.randint(0, 1000, (2, 4000)),
        torch.randn(4000, 8),
        torch.randint(0, 32, (1000,)).sort()[0],
        torch.randn(32, 1),
    )
    return made(MessagePassing(), batch, lambda m, b: F.smooth_l1_loss(m(*b[:-1]), b[-1]))


class SortedMoE(nn.Module):
    """tokens sorted by expert, split by counts as lists"""

    def __init__(self, w=64, n=4):
        super().__init__()
        self.gate = nn.Linear(w, n)
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(w, 4 * w), nn.SiLU(), nn.Linear(4 * w, w)) for _ in range(n)
        )

    def forward(self, x):
        w, i = self.gate(x).softmax(-1).topk(2)
        flat = i.flatten()
        order = flat.argsort()
        counts = torch.bincount(flat, minlength=len(self.experts)).tolist()
        tokens = order // 2
        parts = x[tokens].split(counts)
        y = torch.cat([e(p) for e, p in zip(self.experts, parts, strict=False)])
        out = torch.zeros_like(x)
        return out.index_add(0, tokens, y * w.flatten()[order][:, None])


def experts_sorted():
    return made(
        SortedMoE(), (torch.randn(512, 64), torch.randn(512, 64)), lambda m, b: F.mse_loss(m(b[0]), b[1])
    )


def channels_last_conv():
    model = nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(True),
        nn.Conv2d(32, 64, 3, 2, 1),
        nn.BatchNorm2d(64),
        nn.ReLU(True),
        nn.Conv2d(64, 64, 3, padding=1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 10),
    ).to(memory_format=torch.channels_last)
    batch = (torch.randn(8, 3, 64, 64).to(memory_format=torch.channels_last), torch.randint(0, 10, (8,)))
    return made(model, batch, classify, torch.optim.SGD, momentum=0.9)


class Spectral(nn.Module):
    def __init__(self, w=16, m=8):
        super().__init__()
        self.enter, self.m = nn.Conv2d(1, w, 1), m
        self.weights = nn.ParameterList(
            nn.Parameter(torch.randn(w, w, m, m, dtype=torch.cfloat) / w) for _ in range(3)
        )
        self.local = nn.ModuleList(nn.Conv2d(w, w, 1) for _ in range(3))
        self.leave = nn.Conv2d(w, 1, 1)

    def forward(self, x):
        x = self.enter(x)
        for w, c in zip(self.weights, self.local, strict=False):
            f = torch.fft.rfft2(x)
            out = torch.zeros_like(f)
            out[:, :, : self.m, : self.m] = torch.einsum("bixy,ioxy->boxy", f[:, :, : self.m, : self.m], w)
            x = F.gelu(torch.fft.irfft2(out, s=x.shape[-2:]) + c(x))
        return self.leave(x)


def fourier_operator():
    return made(
        Spectral(),
        (torch.randn(8, 1, 64, 64), torch.randn(8, 1, 64, 64)),
        lambda m, b: F.mse_loss(m(b[0]), b[1]),
    )


class Norms(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.utils.parametrizations.spectral_norm(nn.Linear(256, 512))
        self.b = nn.utils.parametrizations.weight_norm(nn.Linear(512, 512))
        self.c = nn.utils.parametrizations.orthogonal(nn.Linear(512, 10))

    def forward(self, x):
        return self.c(F.leaky_relu(self.b(F.leaky_relu(self.a(x), 0.2)), 0.2))


def parametrized():
    return made(Norms(), rows(128), classify)


def quantization_aware():
    class Fq(nn.Module):
        def __init__(self, layer):
            super().__init__()
            self.layer = layer

        def forward(self, x):
            w = torch.fake_quantize_per_channel_affine(
                self.layer.weight,
                torch.full((self.layer.weight.shape[0],), 0.01, device=x.device),
                torch.zeros(self.layer.weight.shape[0], dtype=torch.int32, device=x.device),
                0,
                -128,
                127,
            )
            x = torch.fake_quantize_per_tensor_affine(x, 0.05, 0, -128, 127)
            return F.linear(x, w, self.layer.bias)

    model = nn.Sequential(Fq(nn.Linear(256, 512)), nn.ReLU(), Fq(nn.Linear(512, 10)))
    return made(model, rows(256), classify)


class Anchors(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 32, 3, 2, 1), nn.ReLU(), nn.Conv2d(32, 64, 3, 2, 1), nn.ReLU())
        self.cls, self.box = nn.Conv2d(64, 3 * 5, 3, padding=1), nn.Conv2d(64, 3 * 4, 3, padding=1)

    def forward(self, x):
        f = self.body(x)
        return self.cls(f).permute(0, 2, 3, 1).reshape(len(x), -1, 5), self.box(f).permute(
            0, 2, 3, 1
        ).reshape(len(x), -1, 4)


def detection_with_matching():
    def loss(m, b):
        x, boxes, labels = b
        c, r = m(x)
        total = x.new_zeros(())
        g = torch.rand(c.shape[1], 4, device=x.device)
        for i in range(len(x)):
            lt = torch.max(g[:, None, :2], boxes[i][None, :, :2])
            rb = torch.min(g[:, None, 2:], boxes[i][None, :, 2:])
            inter = (rb - lt).clamp(min=0).prod(2)
            best, which = inter.max(1)
            fg = torch.nonzero(best > 0.01).squeeze(1)
            total = total + F.smooth_l1_loss(r[i, fg], boxes[i][which[fg]], reduction="sum") / max(
                1, fg.numel()
            )
            target = torch.zeros(c.shape[1], dtype=torch.long, device=x.device)
            target[fg] = labels[i][which[fg]]
            total = total + F.cross_entropy(c[i], target)
        return total / len(x)

    boxes = torch.rand(2, 6, 4).sort(-1)[0]
    return made(
        Anchors(),
        (torch.randn(2, 3, 96, 96), boxes, torch.randint(1, 5, (2, 6))),
        loss,
        torch.optim.SGD,
        momentum=0.9,
    )


NAMES = [
    "latent_diffusion_ema",
    "message_passing",
    "experts_sorted",
    "channels_last_conv",
    "fourier_operator",
    "parametrized",
    "quantization_aware",
    "detection_with_matching",
]
