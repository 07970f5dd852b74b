import torch

model = torch.load("model.pt")
with torch.no_grad():
    for x in data:
        print(model(x).argmax())
