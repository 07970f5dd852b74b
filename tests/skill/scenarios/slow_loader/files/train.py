"""A model that is quick and data that is slow."""

import sys
import time

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

STEPS = int(sys.argv[1]) if len(sys.argv) > 1 else 200


class Pictures(Dataset):
    def __len__(self):
        return 16 * STEPS

    def __getitem__(self, index):
        time.sleep(0.03)  # decoding
        return torch.randn(32, generator=torch.Generator().manual_seed(index)), index % 2


if __name__ == "__main__":
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step, (x, y) in enumerate(DataLoader(Pictures(), batch_size=16)):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        if step % 10 == 0:
            print(f"step {step} loss {loss.item():.3f}", flush=True)
