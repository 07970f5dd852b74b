"""LitGPT's models with LoRA on queries and values, for memory_published.py, written anew from its commit 8641822."""

import torch
from torch import nn
from torch.nn import functional as F

KINDS = {  # layers, heads, width, inner, vocabulary, share of a head that is rotated, Llama's block, one norm a block
    "phi-1.5": (24, 32, 2048, 8192, 51200, 0.5, False, True),
    "stablelm-alpha-3b": (16, 32, 4096, 16384, 50688, 0.25, False, False),
    "llama-2-7b": (32, 32, 4096, 11008, 32000, 1.0, True, False),
    "llama-2-13b": (40, 40, 5120, 13824, 32000, 1.0, True, False),
}
RANK, CHUNK = 8, 128


class Rms(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        """In fp32, as from commit 6178c7c of 24 October 2023 on, three days before the table was committed."""
        kind, x = x.dtype, x.float()
        mean = torch.mean(x * x, dim=-1, keepdim=True)
        return (self.weight * (x * torch.rsqrt(mean + 1e-5))).to(kind)


class AdaptedQkv(nn.Module):
    """A frozen projection; what the adapter adds to query and value is padded with zeros for the key."""

    def __init__(self, width, bias):
        super().__init__()
        self.base, self.dropout = nn.Linear(width, 3 * width, bias), nn.Dropout(0.05)
        self.adapter_a = nn.Parameter(torch.zeros(2 * RANK, width))
        self.adapter_b = nn.Parameter(torch.zeros(2 * width, RANK))
        self.places = [*range(width), *range(2 * width, 3 * width)]

    def forward(self, x):
        base = self.base(x)
        low = F.linear(self.dropout(x), self.adapter_a)
        added = F.conv1d(low.transpose(-2, -1), self.adapter_b.unsqueeze(-1), groups=2).transpose(-2, -1)
        return base + self._padded(added) * (16 / RANK)

    def _padded(self, added):
        turned = added.transpose(0, 1)
        shape = (*turned.shape[:-1], self.base.out_features)
        places = torch.tensor(self.places, device=added.device)
        whole = turned.new_zeros(shape).view(-1, shape[-1])
        whole = whole.index_copy(1, places, turned.reshape(-1, turned.shape[-1]))
        return whole.view(shape).transpose(0, 1)


class Gated(nn.Module):
    def __init__(self, width, inner):
        super().__init__()
        self.gate, self.up = nn.Linear(width, inner, False), nn.Linear(width, inner, False)
        self.down = nn.Linear(inner, width, False)

    def forward(self, x):
        gate = self.gate(x)
        up = self.up(x)
        return self.down(F.silu(gate) * up)


class Block(nn.Module):
    def __init__(self, heads, width, inner, share, llama, one_norm):
        super().__init__()
        norm = Rms if llama else nn.LayerNorm
        self.heads, self.llama, self.turned = heads, llama, int(share * (width // heads))
        self.norm1, self.norm2 = norm(width), None if one_norm else norm(width)
        self.qkv, self.out = AdaptedQkv(width, not llama), nn.Linear(width, width, not llama)
        plain = nn.Sequential(nn.Linear(width, inner), nn.GELU(), nn.Linear(inner, width))
        self.mlp = Gated(width, inner) if llama else plain

    def rotate(self, x, cos, sin):
        part = x[..., : self.turned]
        half = self.turned // 2
        turned = torch.cat((-part[..., half:], part[..., :half]), dim=-1)
        part = ((part * cos) + (turned * sin)).type_as(part)
        return torch.cat((part, x[..., self.turned :]), dim=-1)

    def attention(self, x, cos, sin):
        b, t, c = x.shape
        parts = self.qkv(x).view(b, t, self.heads, 3, -1).permute(0, 2, 3, 1, 4).split(1, dim=2)
        q, k, v = (p.reshape(b, self.heads, t, -1) for p in parts)
        q, k = self.rotate(q, cos, sin), self.rotate(k, cos, sin)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(y.transpose(1, 2).reshape(b, t, c))

    def forward(self, x, cos, sin):
        normed = self.norm1(x)
        y = self.attention(normed, cos, sin)
        if self.llama:
            x = x + y
            return x + self.mlp(self.norm2(x))
        return x + y + self.mlp(normed if self.norm2 is None else self.norm2(x))


class Gpt(nn.Module):
    def __init__(self, kind, length):
        super().__init__()
        layers, heads, width, inner, vocab, share, llama, one_norm = KINDS[kind]
        self.tok, self.head = nn.Embedding(vocab, width), nn.Linear(width, vocab, bias=one_norm)
        self.blocks = nn.ModuleList(Block(heads, width, inner, share, llama, one_norm) for _ in range(layers))
        self.norm = (Rms if llama else nn.LayerNorm)(width)
        self.turned, self.length = self.blocks[0].turned, length

    def tables(self):
        """The rotary tables stay in fp32 beside half weights."""
        for name in ("cos", "sin"):
            self.register_buffer(name, torch.zeros(self.length, self.turned))
        return self

    def forward(self, ids):
        x = self.tok(ids)
        for block in self.blocks:
            x = block(x, self.cos, self.sin)
        x = self.norm(x)
        return [self.head(part).float() for part in x.split(CHUNK, dim=1)]


def lora(kind, length, batch_size=1):
    """One micro-batch of the longest sample, weights in bfloat16; the chunked logits live through the backward pass."""
    model = Gpt(kind, length).bfloat16().tables().train()
    for name, weight in model.named_parameters():
        weight.requires_grad_("adapter" in name)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=3e-4)
    batch = tuple(torch.randint(0, 1000, (batch_size, length)) for _ in range(2))

    def step(model, batch, optimizer):
        logits = model(batch[0])
        logits[-1] = logits[-1][..., :-1, :]
        targets = batch[1][..., 1:].split(CHUNK, dim=1)
        losses = [
            F.cross_entropy(part.reshape(-1, part.size(-1)), target.reshape(-1), reduction="none")
            for part, target in zip(logits, targets, strict=True)
        ]
        torch.cat(losses).mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    return {"model": model, "batch": batch, "step": step, "optimizer": optimizer}
