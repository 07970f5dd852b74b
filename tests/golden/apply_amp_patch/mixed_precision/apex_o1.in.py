import torch
from apex import amp

net, head = torch.nn.Linear(2, 3).cuda(), torch.nn.Linear(3, 1).cuda()
opt = torch.optim.SGD(net.parameters(), lr=0.1)
net, opt = amp.initialize(net, opt, opt_level="O1")
for x, y in data:
    opt.zero_grad()
    loss = torch.nn.functional.mse_loss(net(x.cuda()), y.cuda())
    with amp.scale_loss(loss, opt) as scaled_loss:
        scaled_loss.backward()
    torch.nn.utils.clip_grad_norm_(amp.master_params(opt), 1.0)
    opt.step()
