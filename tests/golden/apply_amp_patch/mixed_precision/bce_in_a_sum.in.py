import torch
from torch import nn
class Engine:
    def __init__(self, net):
        self.net = net.cuda()
        self.opt = torch.optim.Adam(self.net.parameters())
        self.crit = nn.BCELoss()
    def epoch(self, loader):
        for x, y in loader:
            self.opt.zero_grad()
            out = self.net(x.cuda())
            loss = self.crit(out, y.cuda()) + 0.1 * self.net.penalty()
            loss.backward()
            self.opt.step()
