from layers import *
from losses import *

net = torch.nn.DataParallel(Net()).cuda()
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
for x, y in data:
    optimizer.zero_grad()
    loss = criterion(net(x.cuda()), y.cuda())
    loss.backward()
    optimizer.step()
