"""More make_step functions for memory_unseen.py: families of models that none of the other files holds."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from memory_unseen_steps import Made, made
from torch import nn


def squared(model: Any, batch: Any) -> torch.Tensor:
    return F.mse_loss(model(batch[0]), batch[1])


def classified(model: Any, batch: Any) -> torch.Tensor:
    return F.cross_entropy(model(batch[0]), batch[1])


class Perceiver(nn.Module):
    """A few latents read a long input, then each other."""

    def __init__(self) -> None:
        super().__init__()
        self.latents = nn.Parameter(torch.randn(32, 128) * 0.02)
        self.read = nn.ModuleList(
            [nn.MultiheadAttention(128, 4, kdim=96, vdim=96, batch_first=True) for _ in range(2)]
        )
        self.think = nn.ModuleList(
            [nn.TransformerEncoderLayer(128, 4, 256, batch_first=True) for _ in range(2)]
        )
        self.head = nn.Linear(128, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = self.latents.expand(len(x), -1, -1)
        for read, think in zip(self.read, self.think, strict=True):
            z = think(z + read(z, x, x)[0])
        return self.head(z.mean(1))


def perceiver() -> Made:
    return made(Perceiver(), (torch.randn(8, 512, 96), torch.randint(0, 10, (8,))), classified)


class TimeMix(nn.Module):
    """RWKV's weighted sum, one step after the other."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.decay, self.first = nn.Parameter(torch.zeros(width)), nn.Parameter(torch.zeros(width))
        self.mix = nn.Parameter(torch.rand(3, width))
        self.key, self.value, self.gate, self.out = (nn.Linear(width, width, bias=False) for _ in range(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        before = F.pad(x, (0, 0, 1, -1))
        k, v, r = (
            layer(x * m + before * (1 - m))
            for layer, m in zip((self.key, self.value, self.gate), self.mix, strict=True)
        )
        top, bottom, highest = (
            torch.zeros_like(x[:, 0]),
            torch.zeros_like(x[:, 0]),
            torch.full_like(x[:, 0], -1e38),
        )
        out = []
        for t in range(x.shape[1]):
            new = torch.maximum(highest, self.first + k[:, t])
            a, b = (highest - new).exp(), (self.first + k[:, t] - new).exp()
            out.append((a * top + b * v[:, t]) / (a * bottom + b))
            new = torch.maximum(highest - self.decay.exp(), k[:, t])
            a, b = (highest - self.decay.exp() - new).exp(), (k[:, t] - new).exp()
            top, bottom, highest = a * top + b * v[:, t], a * bottom + b, new
        return self.out(r.sigmoid() * torch.stack(out, 1))


def rwkv() -> Made:
    model = nn.Sequential(nn.Linear(16, 96), TimeMix(96), nn.LayerNorm(96), TimeMix(96), nn.Linear(96, 16))
    return made(model, (torch.randn(4, 48, 16), torch.randn(4, 48, 16)), squared)


class MatrixMemory(nn.Module):
    """xLSTM's mLSTM in its parallel form, with gates in the exponent."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.gates, self.norm = nn.Linear(128, 384), nn.Linear(128, 8), nn.GroupNorm(4, 128)
        self.up, self.down = nn.Linear(128, 256), nn.Linear(256, 128)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows, time, _ = x.shape
        q, k, v = (part.view(rows, time, 4, 32).transpose(1, 2) for part in self.qkv(x).chunk(3, -1))
        enter, forget = self.gates(x).transpose(1, 2)[..., None].chunk(2, 1)
        total = F.logsigmoid(forget).cumsum(2)
        weights = total - total.transpose(2, 3) + enter.transpose(2, 3)
        weights = weights.masked_fill(
            ~torch.ones(time, time, dtype=torch.bool, device=x.device).tril(), -torch.inf
        )
        highest = weights.amax(-1, keepdim=True)
        scores = q @ k.transpose(-1, -2) / math.sqrt(32) * (weights - highest).exp()
        h = scores / torch.maximum(scores.sum(-1, keepdim=True).abs(), (-highest).exp()) @ v
        h = self.norm(h.transpose(1, 2).reshape(rows * time, 128)).view(rows, time, 128)
        return x + self.down(F.gelu(self.up(h)))


def xlstm() -> Made:
    model = nn.Sequential(nn.Embedding(500, 128), MatrixMemory(), MatrixMemory(), nn.Linear(128, 500))
    ids = torch.randint(0, 500, (4, 96))
    return made(model, (ids, ids), lambda m, b: F.cross_entropy(m(b[0]).flatten(0, 1), b[1].flatten()))


class LongConvolution(nn.Module):
    """Hyena: filters from a small network of the place, applied by FFT, between gates."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.short = nn.Linear(64, 192), nn.Conv1d(192, 192, 3, padding=2, groups=192)
        self.filters = nn.Sequential(nn.Linear(9, 64), nn.SiLU(), nn.Linear(64, 64))
        self.bias, self.leave = nn.Parameter(torch.randn(64)), nn.Linear(64, 64)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        time = x.shape[1]
        a, b, v = self.short(self.enter(x).transpose(1, 2))[..., :time].chunk(3, 1)
        place = torch.linspace(0, 1, time, device=x.device)[:, None]
        waves = torch.cat(
            [place, *(f(place * math.tau * n) for n in range(1, 5) for f in (torch.sin, torch.cos))], -1
        )
        kernel = (self.filters(waves) * torch.exp(-4 * place)).T
        v = v * a
        spectrum = torch.fft.rfft(v, n=2 * time) * torch.fft.rfft(kernel, n=2 * time)
        y = torch.fft.irfft(spectrum, n=2 * time)[..., :time] + v * self.bias[:, None]
        return x + self.leave((y * b).transpose(1, 2))


def hyena() -> Made:
    model = nn.Sequential(LongConvolution(), nn.LayerNorm(64), LongConvolution(), nn.Linear(64, 8))
    return made(model, (torch.randn(4, 512, 64), torch.randn(4, 512, 8)), squared)


class DiagonalState(nn.Module):
    """S4D: a Vandermonde product makes the kernel, in complex numbers."""

    def __init__(self, width: int, states: int = 32) -> None:
        super().__init__()
        self.C = nn.Parameter(torch.view_as_real(torch.randn(width, states, dtype=torch.cfloat)))
        self.step, self.D = nn.Parameter(torch.rand(width) - 5), nn.Parameter(torch.randn(width))
        self.real = nn.Parameter(torch.log(0.5 * torch.ones(width, states)))
        self.imaginary = nn.Parameter(math.pi * torch.arange(states).repeat(width, 1).float())
        self.out = nn.Sequential(nn.Conv1d(width, 2 * width, 1), nn.GLU(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        time, step = x.shape[-1], self.step.exp()
        A = -self.real.exp() + 1j * self.imaginary
        powers = (A * step[:, None])[..., None] * torch.arange(time, device=x.device)
        C = torch.view_as_complex(self.C) * (torch.exp(A * step[:, None]) - 1) / A
        kernel = 2 * torch.einsum("hn,hnl->hl", C, torch.exp(powers)).real
        y = torch.fft.irfft(torch.fft.rfft(x, n=2 * time) * torch.fft.rfft(kernel, n=2 * time), n=2 * time)
        return x + self.out(F.gelu(y[..., :time] + x * self.D[:, None]))


def s4d() -> Made:
    model = nn.Sequential(DiagonalState(48), nn.BatchNorm1d(48), DiagonalState(48), nn.AdaptiveAvgPool1d(1),
                          nn.Flatten(), nn.Linear(48, 10))  # fmt: skip
    return made(model, (torch.randn(8, 48, 256), torch.randint(0, 10, (8,))), classified)


class HashGrid(nn.Module):
    """Instant-NGP in plain torch: corners hashed into tables, mixed by distance."""

    def __init__(self) -> None:
        super().__init__()
        self.tables = nn.ParameterList([nn.Parameter(torch.rand(1 << 14, 2) * 1e-4) for _ in range(8)])
        self.net = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 4))
        self.register_buffer("primes", torch.tensor([1, 2654435761, 805459861]))
        self.register_buffer("corners", torch.tensor([[i >> 2 & 1, i >> 1 & 1, i & 1] for i in range(8)]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found = []
        for level, table in enumerate(self.tables):
            scaled = x * 16 * 1.5**level
            low = scaled.floor().long()
            share = (scaled - low)[:, None]
            corner = low[:, None] + self.corners
            product = corner * self.primes
            index = (product[..., 0] ^ product[..., 1] ^ product[..., 2]) % (1 << 14)
            weight = torch.where(self.corners == 1, share, 1 - share).prod(-1, keepdim=True)
            found.append((table[index] * weight).sum(1))
        return self.net(torch.cat(found, -1))


def hash_grid() -> Made:
    return made(HashGrid(), (torch.rand(4096, 3), torch.rand(4096, 4)), squared)


class Coupling(nn.Module):
    """Real NVP: half of the numbers scale and move the other half."""

    def __init__(self, turned: bool) -> None:
        super().__init__()
        self.turned = turned
        self.net = nn.Sequential(
            nn.Linear(32, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 64)
        )

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        a, b = x.chunk(2, 1)
        a, b = (b, a) if self.turned else (a, b)
        scale, shift = self.net(a).chunk(2, 1)
        scale = scale.tanh()
        b = b * scale.exp() + shift
        return torch.cat([b, a] if self.turned else [a, b], 1), scale.sum(1)


def normalizing_flow() -> Made:
    def loss(model: Any, batch: torch.Tensor) -> torch.Tensor:
        x, volume = batch, torch.zeros(len(batch), device=batch.device)
        for layer in model:
            x, more = layer(x)
            volume = volume + more
        prior = torch.distributions.Normal(torch.zeros(64, device=x.device), torch.ones(64, device=x.device))
        return -(prior.log_prob(x).sum(1) + volume).mean()

    return made(nn.ModuleList([Coupling(bool(at % 2)) for at in range(6)]), torch.randn(512, 64), loss)


class Equilibrium(nn.Module):
    """A deep equilibrium layer: solved without gradients, one step with, and a solve in the backward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer, self.head = nn.Linear(256, 256), nn.Linear(64, 256), nn.Linear(256, 10)
        self.norm = nn.LayerNorm(256)

    def f(self, z: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return self.norm(torch.tanh(self.inner(z) / 2 + self.outer(x)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            z = torch.zeros(len(x), 256, device=x.device)
            for _ in range(20):
                z = self.f(z, x)
        z = self.f(z, x)
        start = z.detach().requires_grad_()
        again = self.f(start, x)

        def solve(gradient: torch.Tensor) -> torch.Tensor:
            g = gradient
            for _ in range(10):
                g = torch.autograd.grad(again, start, g, retain_graph=True)[0] + gradient
            return g

        if z.requires_grad:
            z.register_hook(solve)
        return self.head(z)


def deep_equilibrium() -> Made:
    return made(Equilibrium(), (torch.randn(256, 64), torch.randint(0, 10, (256,))), classified)


def neural_ode() -> Made:
    """Runge-Kutta by hand, all stages in the graph."""
    model = nn.Sequential(nn.Linear(33, 128), nn.Tanh(), nn.Linear(128, 128), nn.Tanh(), nn.Linear(128, 32))

    def loss(model: Any, batch: Any) -> torch.Tensor:
        def f(t: float, y: torch.Tensor) -> torch.Tensor:
            return model(torch.cat([y, torch.full_like(y[:, :1], t)], 1))

        y, h, path = batch[0], 1 / 12, []
        for at in range(12):
            t = at * h
            k1 = f(t, y)
            k2 = f(t + h / 2, y + h / 2 * k1)
            k3 = f(t + h / 2, y + h / 2 * k2)
            k4 = f(t + h, y + h * k3)
            y = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
            path.append(y)
        return F.l1_loss(torch.stack(path, 1), batch[1])

    return made(model, (torch.randn(256, 32), torch.randn(256, 12, 32)), loss)


NAMES = ["perceiver", "rwkv", "xlstm", "hyena", "s4d", "hash_grid", "normalizing_flow", "deep_equilibrium",
         "neural_ode"]  # fmt: skip
