import torch
from torch import nn
net = nn.Linear(3, 3).cuda()
opt = torch.optim.SGD(net.parameters(), 0.1)
for x, y in data:
    opt.zero_grad()
    try:
        loss = nn.functional.cross_entropy(net(x), y)
        loss.backward()
    except RuntimeError as e:
        print(e)
        continue
    opt.step()
