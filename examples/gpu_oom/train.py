"""Trains a GPT-2-sized model on tokens; on a 16 GB card the first step runs out of memory (see train.log).

train.log was composed by hand in the format of PyTorch 2.6, with figures that follow from this model; it was not
recorded. `make_step` is what estimate_memory and the other tools that need the model itself call.
"""

import torch
from torch import nn
from torch.nn import functional as F

VOCABULARY, CONTEXT, WIDTH, HEADS, LAYERS = 50257, 1024, 768, 12, 12


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.before_attention, self.before_mlp = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))

    def forward(self, x):
        batch, length, _ = x.shape
        heads = self.qkv(self.before_attention(x)).view(batch, length, 3, HEADS, -1).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(*heads, is_causal=True)
        x = x + self.out(attended.transpose(1, 2).reshape(batch, length, WIDTH))
        return x + self.mlp(self.before_mlp(x))


class Gpt(nn.Module):
    def __init__(self):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(VOCABULARY, WIDTH), nn.Embedding(CONTEXT, WIDTH)
        self.blocks = nn.Sequential(*[Block() for _ in range(LAYERS)])
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, VOCABULARY, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, tokens):
        x = self.tokens(tokens) + self.positions.weight[: tokens.shape[1]]
        return self.head(self.norm(self.blocks(x)))


def loss_of(model, batch):
    inputs, targets = batch
    return F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten())


def make_step(batch_size=16, length=CONTEXT):
    """One training step as the tools want it: model, batch, loss and optimizer."""
    model = Gpt()
    batch = tuple(torch.randint(VOCABULARY, (batch_size, length)) for _ in range(2))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)
    return {"model": model, "batch": batch, "loss": loss_of, "optimizer": optimizer}


def main(steps=1000, batch_size=16):
    device = torch.device("cuda")
    model = Gpt().to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)
    data = torch.utils.data.TensorDataset(torch.randint(VOCABULARY, (steps * batch_size, CONTEXT + 1)))
    loader = torch.utils.data.DataLoader(data, batch_size=batch_size, shuffle=True)
    for step, (tokens,) in enumerate(loader):
        tokens = tokens.to(device)
        loss = loss_of(model, (tokens[:, :-1], tokens[:, 1:]))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if step % 10 == 0:
            print(f"step {step} loss {loss.item():.3f}", flush=True)


if __name__ == "__main__":
    main()
