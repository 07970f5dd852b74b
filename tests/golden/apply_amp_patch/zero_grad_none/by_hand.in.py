import torch

net = torch.nn.Linear(2, 1)
for x in data:
    net(x).mean().backward()
    optimizer.step()
    for p in net.parameters():
        if p.grad is not None:
            p.grad.data.zero_()
