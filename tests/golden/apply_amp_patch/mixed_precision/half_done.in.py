import torch

scaler = torch.amp.GradScaler("cuda")
for x in data:
    with torch.autocast("cuda", dtype=torch.float16):
        loss = net(x).mean()
    scaler.scale(loss).backward()
    torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
    scaler.step(optimizer)
    scaler.update()
