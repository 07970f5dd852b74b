import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.distributions import Categorical

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Policy(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.value = nn.Linear(4, 8), nn.Linear(8, 1)
        self.actor = nn.Sequential(nn.Linear(8, 2), nn.Softmax(dim=-1))

    def forward(self, x):
        x = F.relu(self.body(x))
        return self.actor(x), self.value(x)

    def evaluate(self, state, action):
        probs, value = self.forward(state)
        dist = Categorical(probs)
        return dist.log_prob(action), value, dist.entropy()


policy = Policy().to(device)
optimizer = torch.optim.Adam(policy.parameters(), lr=3e-4)


def update(states, actions, advantages, returns):
    log_prob, value, entropy = policy.evaluate(states.to(device), actions.to(device))
    loss = (-log_prob * advantages - 0.01 * entropy).mean() + F.mse_loss(value, returns)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


for batch in memory:
    update(*batch)
