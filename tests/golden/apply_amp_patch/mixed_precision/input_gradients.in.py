import torch
from torch import nn
net = nn.Linear(3, 3).cuda()
opt = torch.optim.SGD(net.parameters(), 0.1)
def fgsm(x, y):
    x.requires_grad_(True)
    loss = nn.functional.cross_entropy(net(x), y)
    net.zero_grad()
    loss.backward()
    return x + 0.1 * x.grad.sign()
for x, y in data:
    adv = fgsm(x, y)
    opt.zero_grad()
    loss = nn.functional.cross_entropy(net(adv.detach()), y)
    loss.backward()
    opt.step()
