import torch

net = torch.nn.Linear(2, 3).cuda()
critic = torch.nn.Linear(3, 1).cuda()
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
for x, y in data:
    optimizer.zero_grad()
    features = net(x.cuda())
    loss = torch.nn.functional.mse_loss(features, y.cuda())
    loss.backward()
    optimizer.step()
    print(critic(features.detach()))
