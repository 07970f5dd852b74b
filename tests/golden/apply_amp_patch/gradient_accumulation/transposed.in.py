import torch
from torch.utils.data import DataLoader

rnn = torch.nn.LSTM(8, 8).cuda()
optimizer = torch.optim.Adam(rnn.parameters())
for x, y in DataLoader(dataset, batch_size=8):
    x = x.permute(1, 0, 2)
    optimizer.zero_grad()
    loss = torch.nn.functional.mse_loss(rnn(x)[1][0], y)
    loss.backward()
    optimizer.step()
