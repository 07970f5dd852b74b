"""A training step of a 124-million-weight GPT, as estimate_memory wants it.

optimizing-resources call estimate_memory '{"step": "examples/gpt_step.py:make_step", "gpu": "T4"}'
"""

import torch
import torch.nn.functional as F
from torch import nn


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm_1, self.norm_2 = nn.LayerNorm(width, bias=False), nn.LayerNorm(width, bias=False)
        self.qkv, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.up, self.down = nn.Linear(width, 4 * width, bias=False), nn.Linear(4 * width, width, bias=False)

    def forward(self, x_BTC):
        batch, length, width = x_BTC.shape
        parts = self.qkv(self.norm_1(x_BTC)).split(width, 2)
        q, k, v = (p.view(batch, length, self.heads, width // self.heads).transpose(1, 2) for p in parts)
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x_BTC = x_BTC + self.out(attended.transpose(1, 2).contiguous().view(batch, length, width))
        return x_BTC + self.down(F.gelu(self.up(self.norm_2(x_BTC))))


class Gpt(nn.Module):
    def __init__(self, vocabulary, length, width, layers, heads):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(vocabulary, width), nn.Embedding(length, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm, self.head = nn.LayerNorm(width, bias=False), nn.Linear(width, vocabulary, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, ids_BT):
        x_BTC = self.tokens(ids_BT) + self.positions(torch.arange(ids_BT.shape[1], device=ids_BT.device))
        for block in self.blocks:
            x_BTC = block(x_BTC)
        return self.head(self.norm(x_BTC))


def make_step(batch_size=12, length=1024, width=768, layers=12, heads=12, vocabulary=50304):
    model = Gpt(vocabulary, length, width, layers, heads)
    tokens = torch.randint(0, vocabulary, (2, batch_size, length))

    def loss(model, batch):
        inputs, targets = batch
        logits = model(inputs)
        return F.cross_entropy(logits.view(-1, logits.size(-1)), targets.view(-1))

    return {
        "model": model,
        "batch": (tokens[0], tokens[1]),
        "loss": loss,
        "optimizer": torch.optim.AdamW(model.parameters(), lr=3e-4),
    }
