import torch
from apex import amp

net = torch.nn.Linear(2, 3).cuda()
opt = torch.optim.SGD(net.parameters(), lr=0.1)
if use_apex:
    net, opt = amp.initialize(net, opt, opt_level="O1")
for x, y in data:
    opt.zero_grad()
    loss = torch.nn.functional.mse_loss(net(x.cuda()), y.cuda())
    loss.backward()
    opt.step()
