import torch

policy = torch.nn.Linear(4, 2).cuda()
log_alpha = torch.zeros(1, requires_grad=True, device="cuda")
policy_optimizer = torch.optim.Adam(policy.parameters())
alpha_optimizer = torch.optim.Adam([log_alpha])
for state in data:
    log_prob = policy(state).log_softmax(-1)
    loss = (log_alpha.exp().detach() * log_prob).mean()
    policy_optimizer.zero_grad()
    loss.backward()
    policy_optimizer.step()
    alpha_loss = -(log_alpha * (log_prob + 1.0).detach()).mean()
    alpha_optimizer.zero_grad()
    alpha_loss.backward()
    alpha_optimizer.step()
torch.save(dict(policy=policy.state_dict(), optimizer=policy_optimizer.state_dict()), "last.pt")
