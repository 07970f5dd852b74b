import torch
from torch import nn

net = nn.Linear(3, 1).cuda()
opt = torch.optim.LBFGS(net.parameters(), lr=0.1)
for it in range(10):
    def closure():
        opt.zero_grad()
        loss = ((net(x) - y) ** 2).mean()
        loss.backward()
        return loss
    opt.step(closure)
