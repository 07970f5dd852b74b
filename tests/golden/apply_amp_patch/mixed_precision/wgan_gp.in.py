import torch
import torch.autograd as autograd
import torch.nn as nn

cuda = torch.cuda.is_available()
G, D = nn.Linear(8, 16), nn.Linear(16, 1)
if cuda:
    G.cuda()
    D.cuda()
optimizer_G = torch.optim.Adam(G.parameters())
optimizer_D = torch.optim.Adam(D.parameters())


def penalty(D, real, fake):
    alpha = torch.rand(real.size(0), 1)
    mixed = (alpha * real + (1 - alpha) * fake).requires_grad_(True)
    out = D(mixed)
    grad = autograd.grad(out, mixed, torch.ones_like(out), create_graph=True, retain_graph=True)[0]
    return ((grad.norm(2, dim=1) - 1) ** 2).mean()


for i, real in enumerate(dataloader):
    optimizer_D.zero_grad()
    fake = G(torch.randn(real.size(0), 8))
    d_loss = -D(real).mean() + D(fake).mean() + 10 * penalty(D, real.data, fake.data)
    d_loss.backward()
    optimizer_D.step()
    if i % 5 == 0:
        optimizer_G.zero_grad()
        g_loss = -D(G(torch.randn(real.size(0), 8))).mean()
        g_loss.backward()
        optimizer_G.step()
