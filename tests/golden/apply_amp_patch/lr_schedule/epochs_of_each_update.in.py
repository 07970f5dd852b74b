import torch


class Agent:
    def __init__(self):
        self.policy = torch.nn.Linear(4, 1)
        self.optimizer = torch.optim.Adam(self.policy.parameters())

    def update(self, states, returns):
        for _ in range(8):
            loss = torch.nn.functional.mse_loss(self.policy(states), returns)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
