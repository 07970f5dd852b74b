import torch
from torch.autograd import Function

class Reverse(Function):
    @staticmethod
    def forward(ctx, x, w):
        ctx.save_for_backward(w)
        return x * w

    @staticmethod
    def backward(ctx, grad):
        (w,) = ctx.saved_tensors
        return -grad * w, None

net = torch.nn.Linear(2, 3).cuda()
opt = torch.optim.SGD(net.parameters(), lr=0.1)
for x, y in data:
    opt.zero_grad()
    loss = torch.nn.functional.mse_loss(Reverse.apply(net(x.cuda()), w), y.cuda())
    loss.backward()
    opt.step()
