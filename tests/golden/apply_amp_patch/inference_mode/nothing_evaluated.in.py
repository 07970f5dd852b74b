import torch


def load(path):
    model = torch.nn.Linear(4, 1)
    model.load_state_dict(torch.load(path))
    model.eval()
    return model
