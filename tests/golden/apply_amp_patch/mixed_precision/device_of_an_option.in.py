import argparse

import torch

parser = argparse.ArgumentParser()
parser.add_argument("--device", type=str, default="cpu")
args = parser.parse_args()
net = torch.nn.Linear(4, 1).to(args.device)
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
for x, y in data:
    optimizer.zero_grad()
    loss = torch.nn.functional.mse_loss(net(x.to(args.device)), y.to(args.device))
    loss.backward()
    optimizer.step()
