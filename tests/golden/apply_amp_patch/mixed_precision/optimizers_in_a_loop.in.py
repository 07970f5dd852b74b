import torch

nets = [torch.nn.Linear(2, 2).cuda() for _ in range(3)]
optimizers = [torch.optim.Adam(net.parameters()) for net in nets]
for x in data:
    for optimizer in optimizers:
        optimizer.zero_grad()
    loss = sum(net(x.cuda()).pow(2).mean() for net in nets)
    loss.backward()
    for optimizer in optimizers:
        optimizer.step()
