import torch
from torch import nn


class Trainer:
    def __init__(self, many):
        self.net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1)).cuda()
        if many:
            self.net = nn.DataParallel(
                self.net,  # on every GPU
                dim=0,
            )
        self.optimizer = torch.optim.Adam(self.net.parameters())

    def step(self, x, y, mask):
        self.optimizer.zero_grad()
        out = self.net(x.cuda()).masked_fill(mask, -1e9)
        loss = torch.nn.functional.mse_loss(out, y.cuda())
        loss.backward()
        self.optimizer.step()

    def save(self, path):
        torch.save({"net": self.net.state_dict(), "optimizer": self.optimizer.state_dict()}, path)
