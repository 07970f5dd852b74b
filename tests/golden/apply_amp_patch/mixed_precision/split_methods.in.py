import torch
import torch.nn as nn


class Pix:
    def __init__(self, opt):
        self.device = torch.device("cuda:0")
        self.netG = nn.Conv2d(3, 3, 3).to(self.device)
        self.netD = nn.Conv2d(6, 1, 3).to(self.device)
        self.criterion = nn.MSELoss()
        self.optimizer_G = torch.optim.Adam(self.netG.parameters())
        self.optimizer_D = torch.optim.Adam(self.netD.parameters())

    def set_input(self, batch):
        self.real_A = batch["A"].to(self.device)
        self.real_B = batch["B"].to(self.device)

    def forward(self):
        self.fake_B = self.netG(self.real_A)

    def backward_D(self):
        pred_fake = self.netD(torch.cat((self.real_A, self.fake_B), 1).detach())
        loss_fake = self.criterion(pred_fake, torch.zeros_like(pred_fake))
        pred_real = self.netD(torch.cat((self.real_A, self.real_B), 1))
        loss_real = self.criterion(pred_real, torch.ones_like(pred_real))
        self.loss_D = (loss_fake + loss_real) * 0.5
        self.loss_D.backward()

    def backward_G(self):
        pred = self.netD(torch.cat((self.real_A, self.fake_B), 1))
        self.loss_G = self.criterion(pred, torch.ones_like(pred))
        self.loss_G.backward()

    def optimize_parameters(self):
        self.forward()
        self.optimizer_D.zero_grad()
        self.backward_D()
        self.optimizer_D.step()
        self.optimizer_G.zero_grad()
        self.backward_G()
        self.optimizer_G.step()
