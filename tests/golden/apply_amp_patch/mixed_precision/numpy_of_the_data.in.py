import torch
import torch.nn.functional as F


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def forward(self, x):
        x = F.relu(self.layer(x))
        return x


x = torch.linspace(-1, 1, 100).unsqueeze(1)
y = x.pow(2)
net = Net()
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
for step in range(100):
    prediction = net(x)
    loss = F.mse_loss(prediction, y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    plot(x.data.numpy(), prediction.data.numpy())
