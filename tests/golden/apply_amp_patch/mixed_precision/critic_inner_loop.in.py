import torch
from torch import nn

dev = "cuda:0"
netG, netD = nn.Linear(8, 16).to(dev), nn.Linear(16, 1).to(dev)
optG = torch.optim.RMSprop(netG.parameters())
optD = torch.optim.RMSprop(netD.parameters())
for step in range(100):
    for _ in range(5):
        optD.zero_grad()
        d = netD(netG(torch.randn(4, 8, device=dev))).mean() - netD(sample()).mean()
        d.backward()
        optD.step()
        for p in netD.parameters():
            p.data.clamp_(-0.01, 0.01)
    optG.zero_grad()
    (-netD(netG(torch.randn(4, 8, device=dev))).mean()).backward()
    optG.step()
