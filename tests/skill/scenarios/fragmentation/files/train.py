"""Trains a small text classifier."""

import argparse

import torch
from torch import nn

parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, default=2000)
parser.add_argument("--batch-size", type=int, default=32)
parser.add_argument("--length", type=int, default=512)
arguments = parser.parse_args()

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Classifier(nn.Module):
    def __init__(self, width=512, layers=8, classes=20):
        super().__init__()
        self.tokens = nn.Embedding(30000, width)
        layer = nn.TransformerEncoderLayer(width, 8, 4 * width, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.head = nn.Linear(width, classes)

    def forward(self, tokens):
        return self.head(self.encoder(self.tokens(tokens)).mean(dim=1))


def batches(steps):
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        tokens = torch.randint(30000, (arguments.batch_size, arguments.length), generator=generator)
        yield tokens, tokens[:, 0] % 20


torch.manual_seed(0)
model = Classifier().to(device)
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
total = 0.0
for step, (tokens, labels) in enumerate(batches(arguments.steps)):
    tokens, labels = tokens.to(device), labels.to(device)
    optimizer.zero_grad()
    loss = criterion(model(tokens), labels)
    loss.backward()
    optimizer.step()
    total += loss.item()
    if step % 20 == 0:
        print(f"step {step} loss {loss.item():.4f} mean {total / (step + 1):.4f}", flush=True)
