import torch
from helpers import batches

layer = torch.nn.TransformerEncoderLayer(8, 2).cuda()
optimizer = torch.optim.Adam(layer.parameters())
for x, y in batches:
    optimizer.zero_grad()
    loss = torch.nn.functional.mse_loss(layer(x), y)
    loss.backward()
    optimizer.step()
