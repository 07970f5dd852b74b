import torch
from torchdiffeq import odeint

field = torch.nn.Linear(2, 2).cuda()
optimizer = torch.optim.Adam(field.parameters())
for y0, t, y in data:
    optimizer.zero_grad()
    loss = torch.nn.functional.l1_loss(odeint(field, y0, t), y)
    loss.backward()
    optimizer.step()
