import torch

rnn = torch.nn.LSTM(4, 4).cuda()
optimizer = torch.optim.Adam(rnn.parameters())
hidden = None
for x, y in data:
    optimizer.zero_grad()
    output, hidden = rnn(x, hidden)
    loss = torch.nn.functional.mse_loss(output, y)
    loss.backward()
    optimizer.step()
