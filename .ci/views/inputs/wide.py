"""Trains a narrow network on very large batches: its activations fill the host's memory, and accumulation helps."""

import torch
from torch import nn

WIDTH, LAYERS, BATCH, STEPS = 256, 8, 16384, 4


def main():
    torch.manual_seed(0)
    model = nn.Sequential(*[nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU()) for _ in range(LAYERS)])
    criterion = nn.MSELoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    inputs = torch.randn(BATCH * STEPS, WIDTH)
    data = torch.utils.data.TensorDataset(inputs, inputs.sum(1, keepdim=True).expand(-1, WIDTH).tanh())
    loader = torch.utils.data.DataLoader(data, batch_size=BATCH)
    for epoch in range(3):
        for batch, target in loader:
            optimizer.zero_grad()
            output = model(batch)
            loss = criterion(output, target)
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch} loss {loss.item():.4f}")


if __name__ == "__main__":
    main()
