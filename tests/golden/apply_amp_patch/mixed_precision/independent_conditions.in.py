import torch
from torch import nn

actor, critic = nn.Linear(3, 1).cuda(), nn.Linear(3, 1).cuda()
actor_opt = torch.optim.Adam(actor.parameters())
critic_opt = torch.optim.Adam(critic.parameters())
for step, (s, r) in enumerate(memory):
    value = critic(s)
    critic_loss = (value - r).pow(2).mean()
    actor_loss = -critic(actor(s)).mean()
    (critic_loss + actor_loss).backward()
    if step % 2 == 0:
        critic_opt.step()
    if step % 3 == 0:
        actor_opt.step()
    critic_opt.zero_grad()
    actor_opt.zero_grad()
