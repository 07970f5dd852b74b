import torch
from torch import nn

model = nn.Linear(2, 1)
opt = torch.optim.SGD(model.parameters(), lr=.1)
for x, y in data:
	# grüße
	opt.zero_grad()
	out = model(
		x.cuda()  # to the GPU
	)
	loss = ((out - y.cuda()) ** 2).mean()
	loss.backward(); opt.step()
	text = """as
it is"""
