import torch
import torch.nn as nn


class Discriminator(nn.Module):
    def __init__(self, ngpu):
        super().__init__()
        self.ngpu = ngpu
        self.main = nn.Sequential(
            nn.Conv2d(3, 8, 4, 2, 1, bias=False),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(8, 1, 4, 1, 0, bias=False),
            nn.Sigmoid(),  # the probability that an image is real
        )

    def forward(self, input):
        if input.is_cuda and self.ngpu > 1:
            output = nn.parallel.data_parallel(self.main, input, range(self.ngpu))
        else:
            output = self.main(input)
        return output.view(-1, 1).squeeze(1)


netD = Discriminator(2).cuda()
criterion = nn.BCELoss()
optimizer = torch.optim.Adam(netD.parameters(), lr=2e-4)
for real, label in loader:
    netD.zero_grad()
    output = netD(real.cuda())
    loss = criterion(output, label.cuda())
    loss.backward()
    optimizer.step()
torch.save({"netD": netD.state_dict(), "step": 1}, "netD.pth")
