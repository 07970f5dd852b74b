import torch
import torch.nn.functional as F
from sklearn.preprocessing import StandardScaler


def train(net, loader, optimizer, scheduler, scaler=StandardScaler()):
    net.train()
    for x, y in loader:
        x = scaler.transform(x)
        out = net(x.cuda())
        optimizer.zero_grad()
        F.cross_entropy(out, y.cuda()).backward()
        optimizer.step()
        scheduler.step()


net = torch.nn.Linear(3, 2).cuda()
optimizer = torch.optim.Adam(net.parameters())
scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)
train(net, loader, optimizer, scheduler)
