import torch

model = torch.nn.Linear(4, 1).cuda()
optimizer = torch.optim.Adam(model.parameters())


def loss_of(batch):
    with torch.cuda.amp.autocast():
        output = model(batch)
    return output.float().pow(2).mean()


for batch in data:
    loss = loss_of(batch)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
