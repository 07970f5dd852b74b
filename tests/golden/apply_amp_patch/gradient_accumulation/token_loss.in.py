import torch
import torch.nn as nn

model = nn.Linear(4, 9).cuda()
criterion = nn.CrossEntropyLoss(ignore_index=0)
optimizer = torch.optim.Adam(model.parameters())
for tokens, labels in data:
    logits = model(tokens)
    loss = criterion(logits.view(-1, 9), labels.view(-1))
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
