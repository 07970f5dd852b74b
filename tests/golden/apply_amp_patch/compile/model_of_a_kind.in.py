import torch


def train(model):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for x, y in data:
        loss = torch.nn.functional.mse_loss(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


if __name__ == "__main__":
    if kind == "wide":
        model = torch.nn.Linear(64, 1)
    else:
        model = torch.nn.Linear(4, 1)
    train(model)
