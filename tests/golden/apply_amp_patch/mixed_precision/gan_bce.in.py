import torch
import torch.nn as nn

Tensor = torch.cuda.FloatTensor if torch.cuda.is_available() else torch.FloatTensor
adversarial_loss = torch.nn.BCELoss()
generator = nn.Sequential(nn.Linear(8, 16), nn.Tanh())
discriminator = nn.Sequential(nn.Linear(16, 1), nn.Sigmoid())
optimizer_G = torch.optim.Adam(generator.parameters())
optimizer_D = torch.optim.Adam(discriminator.parameters())

for epoch in range(2):
    for i, (real_imgs, _) in enumerate(dataloader):
        valid = Tensor(real_imgs.size(0), 1).fill_(1.0)
        fake = Tensor(real_imgs.size(0), 1).fill_(0.0)

        # -- generator
        optimizer_G.zero_grad()
        z = torch.randn(real_imgs.size(0), 8)
        gen_imgs = generator(z)
        g_loss = adversarial_loss(discriminator(gen_imgs), valid)
        g_loss.backward()
        optimizer_G.step()

        # -- discriminator
        optimizer_D.zero_grad()
        real_loss = adversarial_loss(discriminator(real_imgs), valid)
        fake_loss = adversarial_loss(discriminator(gen_imgs.detach()), fake)
        d_loss = (real_loss + fake_loss) / 2
        d_loss.backward()
        optimizer_D.step()
