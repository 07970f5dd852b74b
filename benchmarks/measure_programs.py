"""Training programs with one planted cause each, and healthy ones, as text."""

from pathlib import Path

_START = """
import time
import torch
from torch import nn
torch.manual_seed(0)
"""
_MLP = """
model = nn.Sequential(nn.Linear(512, 1024), nn.ReLU(), nn.Linear(1024, 1024), nn.ReLU(), nn.Linear(1024, 10))
data = torch.utils.data.TensorDataset(torch.randn(20000, 512), torch.randint(0, 10, (20000,)))
"""
_LOOP = """
loader = torch.utils.data.DataLoader(data, batch_size=BATCH, shuffle=True)
optimizer = torch.optim.AdamW(model.parameters())
for epoch in range(3):
    for x, y in loader:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        AFTER
    print(epoch, loss.item())
"""


def loop(batch: int, after: str = "pass") -> str:
    return _LOOP.replace("BATCH", str(batch)).replace("AFTER", after)


_SLOW = """
class Slow(torch.utils.data.Dataset):
    def __len__(self):
        return 20000
    def __getitem__(self, n):
        time.sleep(0.002)
        return torch.randn(512), n % 10
data = Slow()
"""
_RETAINED = """
class Log:
    losses = []
loader = torch.utils.data.DataLoader(data, batch_size=128, shuffle=True)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
for x, y in loader:
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(x), y)
    loss.backward(retain_graph=True)
    optimizer.step()
    Log.losses.append(loss)
"""
_SWAPPED = """
kept = torch.zeros(300_000_000, dtype=torch.uint8)
"""
PLANTED = {
    "slow_loader": (_START + _MLP + _SLOW + loop(64), "data_loader_bound"),
    "item_every_step": (
        _START + _MLP + "total = 0.0\n" + loop(128, "total += loss.item()"),
        "synchronization",  # on an accelerator; on a CPU a note with its cost, which is nothing
    ),
    "retained_graph": (_START + _MLP + _RETAINED, "leak"),
    "tiny_batches": (_START + _MLP.replace("1024", "64") + loop(1), "tiny_batches"),
    "oversubscription": (_START + "torch.set_num_threads(16)\n" + _MLP + loop(512), "cpu_oversubscription"),
    "swap": (_START + _MLP + _SWAPPED + loop(128, "kept.add_(1)"), "swap"),
}

_CNN = """
model = nn.Sequential(
    nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
    nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(512, 10),
)
data = torch.utils.data.TensorDataset(torch.randn(4000, 3, 32, 32), torch.randint(0, 10, (4000,)))
"""
_TRANSFORMER = """
class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(1000, 128)
        layer = nn.TransformerEncoderLayer(128, 4, 256, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 2)
        self.head = nn.Linear(128, 10)
    def forward(self, tokens):
        return self.head(self.layers(self.embed(tokens)).mean(1))
model = Model()
data = torch.utils.data.TensorDataset(torch.randint(0, 1000, (4000, 64)), torch.randint(0, 10, (4000,)))
"""
_LSTM = """
class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(16, 128, batch_first=True)
        self.head = nn.Linear(128, 10)
    def forward(self, x):
        return self.head(self.lstm(x)[0][:, -1])
model = Model()
data = torch.utils.data.TensorDataset(torch.randn(4000, 50, 16), torch.randint(0, 10, (4000,)))
"""
_ACCUMULATING = """
loader = torch.utils.data.DataLoader(data, batch_size=64, shuffle=True)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
for number, (x, y) in enumerate(loader):
    loss = nn.functional.cross_entropy(model(x), y) / 2
    loss.backward()
    if number % 2:
        optimizer.step()
        optimizer.zero_grad()
    if number % 50 == 0:
        print(number, loss.item())
"""
_EVALUATING = """
loader = torch.utils.data.DataLoader(data, batch_size=64, shuffle=True)
optimizer = torch.optim.Adam(model.parameters())
for epoch in range(40):
    for number, (x, y) in zip(range(20), loader):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        right = sum((model(x).argmax(1) == y).sum().item() for number, (x, y) in zip(range(10), loader))
    print(epoch, loss.item(), right)
"""
HEALTHY = {
    "mlp": (_START + _MLP + loop(256), None),
    "cnn": (_START + _CNN + loop(64), None),
    "transformer": (_START + _TRANSFORMER + loop(32), None),
    "lstm": (_START + _LSTM + loop(32), None),
    "accumulation": (_START + _CNN + _ACCUMULATING, None),
    "evaluation": (_START + _TRANSFORMER + _EVALUATING, None),
}


def pressed_into_swap(python: str, script: Path) -> list[str]:
    """The program under a memory cgroup (v1) smaller than it, beside a swap file; root only. Both end with it."""
    launcher = script.with_name("pressed.sh")
    launcher.write_text(
        f"""set -e
swap=$(mktemp /var/tmp/swapXXXXXX); group=/sys/fs/cgroup/memory/measure-$$
chmod 600 $swap; dd if=/dev/zero of=$swap bs=1M count=700 status=none; mkswap -q $swap; swapon $swap
trap 'swapoff $swap; rm -f $swap; rmdir $group' EXIT
mkdir $group; echo 400M > $group/memory.limit_in_bytes
(echo $BASHPID > $group/cgroup.procs; exec {python} {script})
""",
        encoding="utf-8",
    )
    return ["bash", str(launcher)]
