"""A network for the 1,797 handwritten digits that scikit-learn brings along; run, it trains it and leaves its files."""

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

TRAINING_ROWS = 1000


def factory(width=512):
    return nn.Sequential(
        nn.Linear(64, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 10)
    )


def main():
    torch.manual_seed(0)
    x, y = load_digits(return_X_y=True)
    x = (x / 16).astype(np.float32)
    np.savez("train.npz", x=x[:TRAINING_ROWS], y=y[:TRAINING_ROWS])
    np.savez("test.npz", x=x[TRAINING_ROWS:], y=y[TRAINING_ROWS:])
    model = factory()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(60):
        loss = nn.functional.cross_entropy(
            model(torch.tensor(x[:TRAINING_ROWS])), torch.tensor(y[:TRAINING_ROWS])
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    torch.save(model.state_dict(), "weights.pt")


if __name__ == "__main__":
    main()
