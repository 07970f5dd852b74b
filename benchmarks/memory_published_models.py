"""Models of published measurements for memory_published.py, written anew from the sources' scripts.

What matters for memory is kept: which operations run in which order, what the loop still holds, when gradients are
freed. Sources are named in memory_published_rows.csv.
"""

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint


class Norm(nn.Module):
    """Layer norm in single operations."""

    def __init__(self, width):
        super().__init__()
        self.scale, self.shift = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))

    def forward(self, x):
        mean = x.mean(-1, keepdim=True)
        var = x.var(-1, keepdim=True, unbiased=False)
        return self.scale * ((x - mean) / torch.sqrt(var + 1e-5)) + self.shift


class Gelu(nn.Module):
    """The tanh form in single operations."""

    def forward(self, x):
        inner = torch.sqrt(torch.tensor(2.0 / torch.pi)) * (x + 0.044715 * torch.pow(x, 3))
        return 0.5 * x * (1 + torch.tanh(inner))


class ScoresAttention(nn.Module):
    """Explicit causal scores; `length`: of a mask that is kept as a buffer, else it is made in every pass."""

    def __init__(self, width, heads, length):
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.out, self.dropout = nn.Linear(width, width), nn.Dropout(0.1)
        self.register_buffer("mask", torch.triu(torch.ones(length, length), diagonal=1) if length else None)

    def forward(self, x):
        b, t, c = x.shape
        key, query, value = (
            f(x).view(b, t, self.heads, -1).transpose(1, 2) for f in (self.key, self.query, self.value)
        )
        scores = query @ key.transpose(2, 3)
        if self.mask is None:
            mask = torch.triu(torch.ones(t, t, dtype=torch.bool, device=x.device), diagonal=1)
        else:
            mask = self.mask.bool()[:t, :t]
        scores.masked_fill_(mask, -torch.inf)
        weights = self.dropout(torch.softmax(scores / key.shape[-1] ** 0.5, dim=-1))
        return self.out((weights @ value).transpose(1, 2).reshape(b, t, c))


class FusedAttention(nn.Module):
    """scaled_dot_product_attention over one projection."""

    def __init__(self, width, heads, causal=True, bias=False):
        super().__init__()
        self.heads, self.causal = heads, causal
        self.qkv, self.out = nn.Linear(width, 3 * width, bias), nn.Linear(width, width)

    def forward(self, x):
        b, t, c = x.shape
        q, k, v = self.qkv(x).view(b, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        dropout = 0.1 if self.causal and self.training else 0.0
        y = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, is_causal=self.causal)
        return self.out(y.transpose(1, 2).reshape(b, t, c))


class GptBlock(nn.Module):
    def __init__(self, width, heads, mask_length, plain, fused):
        super().__init__()
        norm = Norm if plain else nn.LayerNorm
        self.norm1, self.norm2 = norm(width), norm(width)
        self.attention = FusedAttention(width, heads) if fused else ScoresAttention(width, heads, mask_length)
        gelu = Gelu() if plain else nn.GELU(approximate="tanh")
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), gelu, nn.Linear(4 * width, width))
        self.dropout = nn.Dropout(0.1)

    def forward(self, x):
        x = x + self.dropout(self.attention(self.norm1(x)))
        return x + self.dropout(self.mlp(self.norm2(x)))


class Gpt(nn.Module):
    """GPT-2 small, untied. plain: norms and GELU in single operations; fused: with a fused attention."""

    def __init__(self, vocab=50257, length=1024, kept_mask=False, plain=True, fused=False):
        super().__init__()
        width, heads, layers = 768, 12, 12
        self.tok, self.pos = nn.Embedding(vocab, width), nn.Embedding(length, width)
        self.dropout = nn.Dropout(0.1)
        mask_length = length if kept_mask else 0
        self.blocks = nn.Sequential(
            *(GptBlock(width, heads, mask_length, plain, fused) for _ in range(layers))
        )
        self.norm = (Norm if plain else nn.LayerNorm)(width)
        self.head = nn.Linear(width, vocab, bias=False)

    def forward(self, ids):
        x = self.tok(ids) + self.pos(torch.arange(ids.shape[1], device=ids.device))
        return self.head(self.norm(self.blocks(self.dropout(x))))


class ModuleAttention(nn.Module):
    """torch's own module, as torchvision uses it."""

    def __init__(self, width, heads):
        super().__init__()
        self.inner = nn.MultiheadAttention(width, heads, batch_first=True)

    def forward(self, x):
        return self.inner(x, x, x, need_weights=False)[0]


class GatedMlp(nn.Module):
    """SwiGLU with one projection for both halves."""

    def __init__(self, width, inner):
        super().__init__()
        self.up, self.down = nn.Linear(width, inner), nn.Linear(inner // 2, width)

    def forward(self, x):
        a, b = self.up(x).chunk(2, dim=-1)
        return self.down(F.silu(a) * b)


class VitBlock(nn.Module):
    def __init__(self, width, heads, inner, module, gated):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.attention = (
            ModuleAttention(width, heads) if module else FusedAttention(width, heads, False, True)
        )
        plain = nn.Sequential(nn.Linear(width, inner), nn.GELU(), nn.Linear(inner, width))
        self.mlp = GatedMlp(width, inner) if gated else plain
        self.scales = nn.ParameterList(nn.Parameter(torch.ones(width)) for _ in range(2 * gated))

    def forward(self, x):
        y = self.attention(self.norm1(x))
        x = x + (y * self.scales[0] if len(self.scales) else y)
        y = self.mlp(self.norm2(x))
        return x + (y * self.scales[1] if len(self.scales) else y)


class Vit(nn.Module):
    """A vision transformer at 224 pixels; gated: with SwiGLU and layer scales (DINOv2's giant)."""

    def __init__(
        self, layers, width, heads, inner, patch, classes, module=False, gated=False, recompute=False
    ):
        super().__init__()
        self.recompute = recompute
        self.patches = nn.Conv2d(3, width, patch, patch)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(torch.zeros(1, (224 // patch) ** 2 + 1, width))
        self.blocks = nn.ModuleList(VitBlock(width, heads, inner, module, gated) for _ in range(layers))
        self.norm, self.head = nn.LayerNorm(width, eps=1e-6), nn.Linear(width, classes)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], dim=1) + self.positions
        for block in self.blocks:
            x = checkpoint(block, x, use_reentrant=False) if self.recompute else block(x)
        return self.head(self.norm(x)[:, 0])


def rotated(x, cos, sin):
    """Rotary positions as the two halves of each head."""
    half = x.shape[-1] // 2
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * cos + b * sin, a * (-sin) + b * cos], -1)


def rms(x):
    """RMS norm without a weight, in fp32."""
    y = x.float()
    y = y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + 1e-6)
    return y.type_as(x)


class RotaryBlock(nn.Module):
    def __init__(self, width, heads, length, scale):
        super().__init__()
        self.heads, self.scale = heads, scale
        self.qkv, self.out = nn.Linear(width, 3 * width, False), nn.Linear(width, width, False)
        self.up, self.down = nn.Linear(width, 4 * width, False), nn.Linear(4 * width, width, False)
        self.register_buffer("cos", torch.zeros(length, width // heads // 2))
        self.register_buffer("sin", torch.zeros(length, width // heads // 2))

    def attention(self, x):
        b, t, c = x.shape
        q, k, v = (p.view(b, t, self.heads, -1) for p in self.qkv(x).split(c, dim=2))
        cos, sin = self.cos[None, :, None, :], self.sin[None, :, None, :]
        q, k, v = (p.transpose(1, 2) for p in (rotated(q, cos, sin), rotated(k, cos, sin), v))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(y.transpose(1, 2).contiguous().view(b, t, c))

    def forward(self, x):
        x = x + self.scale * self.attention(rms(x))
        return x + self.down(F.gelu(self.up(rms(x))))


class RotaryGpt(nn.Module):
    """GPT-2 small with rotary positions and RMS norms; the loss reads logits raised to fp32."""

    def __init__(self, vocab=50257, length=1024):
        super().__init__()
        width, heads, layers = 768, 12, 12
        self.tok = nn.Embedding(vocab, width)
        self.blocks = nn.ModuleList(
            RotaryBlock(width, heads, length, (2 * layers) ** -0.5) for _ in range(layers)
        )
        self.head = nn.Linear(width, vocab, bias=False)
        self.tok.weight = self.head.weight

    def forward(self, ids, targets):
        x = self.tok(ids)
        for block in self.blocks:
            x = block(x)
        logits = self.head(rms(x)).float()
        return F.cross_entropy(logits.view(-1, logits.size(-1)), targets.view(-1), ignore_index=-1)
