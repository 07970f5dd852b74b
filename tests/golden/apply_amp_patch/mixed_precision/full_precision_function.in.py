import torch
import torch.nn.functional as F
from torch.distributions import Normal


class Policy(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.body = torch.nn.Linear(8, 64)
        self.mean, self.log_std = torch.nn.Linear(64, 2), torch.nn.Linear(64, 2)

    def forward(self, state):
        h = F.relu(self.body(state))
        return self.mean(h), self.log_std(h).clamp(-20, 2)

    def sample(self, state):
        mean, log_std = self.forward(state)
        z = Normal(mean, log_std.exp()).rsample()
        action = torch.tanh(z)
        return action, Normal(mean, log_std.exp()).log_prob(z) - torch.log(1 - action.pow(2) + 1e-6)


policy, critic = Policy().cuda(), torch.nn.Linear(10, 1).cuda()
optimizer = torch.optim.Adam(policy.parameters(), lr=3e-4)
for state in loader:
    state = state.cuda()
    action, log_prob = policy.sample(state)
    value = critic(torch.cat([state, action], 1))
    spectrum = torch.fft.rfft(value.squeeze(1)).abs()
    loss = (0.2 * log_prob - value).mean() + spectrum.mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
