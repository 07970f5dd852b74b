import torch

net = torch.nn.DataParallel(torch.nn.Linear(2, 1)).cuda()
optimizer = torch.optim.Adam(net.parameters())
for x, y in data:
    optimizer.zero_grad()
    loss = torch.nn.functional.mse_loss(net(x.cuda()), y.cuda())
    loss.backward()
    optimizer.step()
