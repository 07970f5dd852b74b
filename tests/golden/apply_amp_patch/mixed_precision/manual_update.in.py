import torch

model = torch.nn.Linear(2, 1).cuda()
for x, y in data:
    loss = (model(x.cuda()) - y.cuda()).pow(2).mean()
    model.zero_grad()
    loss.backward()
    with torch.no_grad():
        for p in model.parameters():
            p -= 0.01 * p.grad
