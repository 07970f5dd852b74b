import torch
import torch.nn as nn
import torch.nn.functional as F

device = torch.device("cuda")
net = nn.Linear(4, 3).to(device)
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
checkpoint = torch.load("last.pt")
net.load_state_dict(checkpoint["net"])
optimizer.load_state_dict(checkpoint["optimizer"])
for x, y in loader:
    optimizer.zero_grad()
    out = net(x.to(device))
    loss = F.cross_entropy(out, y.to(device))
    loss.backward()
    optimizer.step()
    scores = out.detach().cpu().numpy()
    classes = out.argmax(1).cpu().numpy()
torch.save({
    "net": net.state_dict(),
    "optimizer": optimizer.state_dict(),  # with momentum
}, "last.pt")
