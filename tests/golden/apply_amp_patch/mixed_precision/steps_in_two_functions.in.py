import torch
from torch import nn
a, b = nn.Linear(3, 3).cuda(), nn.Linear(3, 3).cuda()
oa = torch.optim.Adam(a.parameters())
ob = torch.optim.Adam(b.parameters())
def step_a():
    oa.step()
def step_b():
    ob.step()
for x, y in data:
    oa.zero_grad(); ob.zero_grad()
    loss = nn.functional.mse_loss(b(a(x)), y)
    loss.backward()
    step_a()
    step_b()
