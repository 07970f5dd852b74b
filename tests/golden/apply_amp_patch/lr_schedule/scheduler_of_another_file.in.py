import torch
from helpers import Polynomial

net = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
decay = Polynomial(optimizer)
for epoch in range(100):
    for x, y in data:
        loss = torch.nn.functional.mse_loss(net(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    decay.step()
