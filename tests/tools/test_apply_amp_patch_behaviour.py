"""Patched scripts run on the CPU: off they compute what they did, on they train alike, accumulated they step alike."""

import re
import runpy
import sys
import warnings
from pathlib import Path

import pytest
from optimizing_resources.tools.apply_amp_patch.codemod import patch
from optimizing_resources.tools.apply_amp_patch.context import Wishes

torch = pytest.importorskip("torch")

CLASSIFIER = """
import torch
from torch import nn

torch.manual_seed(0)
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, 4)).to(device)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
criterion = nn.CrossEntropyLoss()
x, y = torch.randn(203, 20), torch.randint(0, 4, (203,))
losses = []
for epoch in range(12):
    for start in range(0, 203, 32):
        inputs, targets = x[start : start + 32].to(device), y[start : start + 32].to(device)
        optimizer.zero_grad()
        outputs = model(inputs)
        loss = criterion(outputs, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
        scores = outputs.detach().numpy()
weights = [p.detach().clone() for p in model.parameters()]
"""

GAN = """
import torch
from torch import nn

torch.manual_seed(0)
device = torch.device("cpu")
G = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 8)).to(device)
D = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1), nn.Sigmoid()).to(device)
opt_g, opt_d = torch.optim.Adam(G.parameters(), 1e-3), torch.optim.Adam(D.parameters(), 1e-3)
bce = nn.BCELoss()
losses = []
for step in range(40):
    real, ones, zeros = torch.randn(16, 8) + 2, torch.ones(16, 1), torch.zeros(16, 1)
    opt_d.zero_grad()
    fake = G(torch.randn(16, 4).to(device))
    d_loss = bce(D(real), ones) + bce(D(fake.detach()), zeros)
    d_loss.backward()
    opt_d.step()
    opt_g.zero_grad()
    bce(D(fake), ones).backward()
    opt_g.step()
    losses.append(d_loss.item())
weights = [p.detach().clone() for m in (G, D) for p in m.parameters()]
"""

SPLIT = """
import torch
import torch.nn.functional as F


class Trainer:
    def __init__(self):
        torch.manual_seed(1)
        self.device = "cpu"
        self.encoder, self.head = torch.nn.Linear(6, 12).to(self.device), torch.nn.Linear(12, 1).to(self.device)
        self.optimizer = torch.optim.AdamW([*self.encoder.parameters(), *self.head.parameters()], lr=0.01)
        self.losses = []

    def forward(self, x):
        self.features = torch.tanh(self.encoder(x))

    def update(self, loss):
        self.optimizer.zero_grad()
        loss.backward()
        for p in self.head.parameters():
            p.grad.clamp_(-1, 1)
        self.optimizer.step()

    def fit(self):
        for step in range(60):
            x = torch.randn(32, 6)
            self.forward(x)
            loss = F.mse_loss(self.head(self.features), x.sum(1, keepdim=True))
            self.update(loss)
            self.losses.append(loss.item())


trainer = Trainer()
trainer.fit()
losses = trainer.losses
weights = [p.detach().clone() for p in trainer.optimizer.param_groups[0]["params"]]
"""
SCRIPTS = {"classifier": CLASSIFIER, "gan": GAN, "split": SPLIT}


def run(text: str, folder: Path) -> dict:
    path = folder / "script.py"
    path.write_text(text, encoding="utf-8")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "lr_scheduler before optimizer" and the like are the script's own
        try:
            return runpy.run_path(str(path))
        finally:
            torch.set_default_dtype(torch.float32)  # some scripts set another


def mixed(text: str, precision: str) -> str:
    result = patch(text, ["mixed_precision"], Wishes(precision))
    assert result.outcome == "patched", result.sites
    return result.text


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.parametrize("precision", ["auto", "bf16", "fp16"])
def test_with_the_switch_off_a_patched_script_computes_exactly_the_same(name, precision, tmp_path):
    text, count = re.subn(r"(?m)^amp_enabled = .*$", "amp_enabled = False", mixed(SCRIPTS[name], precision))
    assert count == 1
    before, after = run(SCRIPTS[name], tmp_path), run(text, tmp_path)
    assert before["losses"] == after["losses"]
    assert all(torch.equal(a, b) for a, b in zip(before["weights"], after["weights"], strict=True))


@pytest.mark.parametrize("name", SCRIPTS)
def test_bf16_follows_the_full_precision_loss(name, tmp_path):
    before, after = (
        run(SCRIPTS[name], tmp_path)["losses"],
        run(mixed(SCRIPTS[name], "bf16"), tmp_path)["losses"],
    )
    assert len(before) == len(after)
    quarter = len(before) // 4
    mean_before, mean_after = (sum(x[-quarter:]) / quarter for x in (before, after))
    assert before != after and abs(mean_after - mean_before) / abs(mean_before) < 0.05


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_scaler_that_really_scales_gives_the_same_training(name, tmp_path):
    text = re.sub(
        r'GradScaler\("\w+"( if .*? else "cpu")?',
        'GradScaler("cpu", init_scale=1024.0',
        mixed(SCRIPTS[name], "fp16"),
    )
    text = text.replace(
        "amp_dtype = torch.float16", "amp_dtype = torch.bfloat16"
    )  # fp16 is slow and partial on CPUs
    plain = mixed(SCRIPTS[name], "bf16")
    scaled, unscaled = run(text, tmp_path), run(plain, tmp_path)
    assert scaled["amp_scaler"].get_scale() == 1024.0
    assert scaled["losses"] == pytest.approx(unscaled["losses"], rel=1e-2)


MEAN = """
import torch
from torch import nn

torch.manual_seed(0)
torch.set_default_dtype(torch.float64)
model = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
x, y = torch.randn(23, 5), torch.randn(23, 3)
losses, sizes = [], []
for epoch in range(3):
    for inputs, targets in zip(x.split(10), y.split(10)):
        optimizer.zero_grad()
        outputs = model(inputs)
        loss = nn.functional.mse_loss(outputs, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        losses.append(loss.item())
        sizes.append((len(inputs), len(outputs)))
weights = torch.cat([p.detach().flatten() for p in model.parameters()])
"""

TOKENS = """
import torch
from torch import nn

torch.manual_seed(0)
torch.set_default_dtype(torch.float64)
model = nn.Sequential(nn.Embedding(11, 6), nn.Linear(6, 11))
optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
criterion = nn.CrossEntropyLoss(ignore_index=0)
tokens = torch.randint(1, 11, (14, 9))
labels = tokens.roll(1, 1)
for row in range(14):
    labels[row, : row % 10] = 0
labels[9] = 0
losses = []
for epoch in range(3):
    for batch, wanted in zip(tokens.split(6), labels.split(6)):
        logits = model(batch)
        loss = criterion(logits.view(-1, 11), wanted.view(-1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
weights = torch.cat([p.detach().flatten() for p in model.parameters()])
"""


LOADER = """
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
torch.set_default_dtype(torch.float64)
data = TensorDataset(torch.randn(45, 5), {labels})
loader = DataLoader(data, batch_size={size}, shuffle=True{options})
model = torch.nn.Sequential(torch.nn.Linear(5, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 3, 0.5)
losses = []
for epoch in range(2):
    for i, (x, y) in enumerate(loader):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y, ignore_index=0)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.3)
        optimizer.step()
        scheduler.step()
        losses.append(loss.item())
weights = [p.detach().clone() for p in model.parameters()]
"""


@pytest.mark.parametrize(
    ("size", "options", "steps", "divided"),
    [
        (12, "", 4, True),
        (12, ", drop_last=True", 3, True),
        (10, "", 4, False),
        (12, ", collate_fn=default", 4, False),
    ],
)
def test_a_loader_that_hands_out_parts_gives_the_same_steps(size, options, steps, divided, tmp_path):
    """45 samples: the last batch is smaller, and some of the class targets are ignored."""
    text = LOADER.format(labels="torch.randint(0, 3, (45,))", size=size, options=options)
    text = text.replace("TensorDataset\n", "TensorDataset, default_collate as default\n")
    result = patch(text, ["gradient_accumulation"], Wishes(accumulation_steps=steps))
    assert ("micro_size" in result.text) == divided and ("micro_batches(" in result.text) != divided
    before, after = run(text, tmp_path), run(result.text, tmp_path)
    for mine, wanted in zip(after["weights"], before["weights"], strict=True):
        torch.testing.assert_close(mine, wanted, rtol=1e-9, atol=1e-12)
    assert after["losses"] == pytest.approx(before["losses"], rel=1e-9)


DISTRIBUTED = """
import torch
import torch.distributed
from torch.nn.parallel import DistributedDataParallel

torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
exchanged = []


def note(state, bucket):
    exchanged.append(state)
    future = torch.futures.Future()
    future.set_result(bucket.buffer())
    return future


torch.manual_seed(0)
model = DistributedDataParallel(torch.nn.Linear(3, 1))
model.register_comm_hook(None, note)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
x, y = torch.randn(18, 3), torch.randn(18, 1)
losses = []
for inputs, targets in zip(x.split(8), y.split(8)):
    optimizer.zero_grad()
    loss = torch.nn.functional.mse_loss(model(inputs), targets)
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
torch.distributed.destroy_process_group()
weights = [p.detach().clone() for p in model.parameters()]
"""


def test_processes_exchange_gradients_once_per_step(tmp_path):
    result = patch(DISTRIBUTED, ["gradient_accumulation"], Wishes(accumulation_steps=4))
    assert not result.warnings
    before, after = run(DISTRIBUTED, tmp_path), run(result.text, tmp_path)
    assert len(after["exchanged"]) == len(before["exchanged"]) == 3
    for mine, wanted in zip(after["weights"], before["weights"], strict=True):
        torch.testing.assert_close(mine, wanted)


@pytest.mark.parametrize("steps", [2, 3, 4, 6, 16])
@pytest.mark.parametrize("text", [MEAN, TOKENS], ids=["mean", "tokens"])
def test_micro_batches_give_the_gradient_of_the_whole_batch(text, steps, tmp_path):
    result = patch(text, ["gradient_accumulation"], Wishes(accumulation_steps=steps))
    assert result.outcome == "patched", result.sites
    before, after = run(text, tmp_path), run(result.text, tmp_path)
    torch.testing.assert_close(after["weights"], before["weights"], rtol=1e-9, atol=1e-12)
    assert after["losses"] == pytest.approx(before["losses"], rel=1e-9)
    assert before.get("sizes") == after.get("sizes")


@pytest.mark.parametrize("text", [MEAN, TOKENS], ids=["mean", "tokens"])
def test_grown_batches_give_the_gradient_of_one_large_batch(text, tmp_path):
    """Groups of two of today's batches against a script that loads batches twice as large."""
    text = text.replace("        sizes.append((len(inputs), len(outputs)))\n", "")
    result = patch(text, ["gradient_accumulation"], Wishes(accumulation_steps=2, grow_batch=True))
    assert result.outcome == "patched", result.sites
    larger = text.replace("split(10)", "split(20)").replace("split(6)", "split(12)")
    before, after = run(larger, tmp_path), run(result.text, tmp_path)
    torch.testing.assert_close(after["weights"], before["weights"], rtol=1e-9, atol=1e-12)
    assert after["losses"] == pytest.approx(before["losses"], rel=1e-9)


BLOCKS = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Dropout(0.2)) for _ in range(4)])
        self.calls = []

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return x


torch.manual_seed(0)
net = Net()
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
losses = []
for step in range(5):
    optimizer.zero_grad()
    loss = net(torch.randn(4, 8)).pow(2).mean()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
net.eval()
final = net(torch.ones(1, 8)).sum().item()
"""


def test_checkpointed_blocks_compute_the_same_with_dropout(tmp_path):
    result = patch(BLOCKS, ["gradient_checkpointing"], Wishes())
    before, after = run(BLOCKS, tmp_path), run(result.text, tmp_path)
    assert result.outcome == "patched" and "activation_checkpoint" in after
    assert before["losses"] == after["losses"] and before["final"] == after["final"]


LOOP = """
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


def evaluate(model, loader):
    model.eval()
    total = 0.0
    for x, y in loader:
        total += F.mse_loss(model(x), y).item()
    model.train()
    return total / len(loader)


torch.manual_seed(0)
data = TensorDataset(torch.randn(40, 3), torch.randn(40, 1))
loader = DataLoader(data, batch_size=16)
model = torch.nn.Linear(3, 1)
optimizer = torch.optim.Adam(model.parameters(), lr=0.3)
rates, history = [], []
for epoch in range(60):
    for x, y in loader:
        optimizer.zero_grad()
        F.mse_loss(model(x), y).backward()
        optimizer.step()
        rates.append(optimizer.param_groups[0]["lr"])
    val_loss = evaluate(model, loader)
    history.append(val_loss)
"""


def test_the_schedule_warms_up_and_ends_at_the_last_step(tmp_path):
    rates = run(patch(LOOP, ["lr_schedule"], Wishes()).text, tmp_path)["rates"]
    assert len(rates) == 180 and max(rates) == pytest.approx(0.3, rel=1e-3)
    assert rates[0] < 0.02 and rates[-1] < 1e-3 and 0.2 < rates.index(max(rates)) / 180 < 0.4


def test_early_stopping_ends_five_epochs_after_the_best(tmp_path):
    history = run(patch(LOOP, ["early_stopping"], Wishes()).text, tmp_path)["history"]
    assert len(history) < 60 and len(history) - 1 - history.index(min(history)) == 5


def test_evaluation_without_gradients_computes_the_same(tmp_path):
    result = patch(
        LOOP, ["inference_mode", "zero_grad_none", "fused_optimizer", "allocator_settings"], Wishes()
    )
    assert result.outcomes["inference_mode"] == "patched"
    assert run(LOOP, tmp_path)["history"] == run(result.text, tmp_path)["history"]


@pytest.mark.parametrize("grow", [False, True])
def test_gradients_are_zeroed_once_per_group_also_inside_of_autocast(grow, tmp_path):
    """forward, zero_grad, loss, backward: mixed precision draws its block around the first three."""
    text = MEAN.replace(
        "        optimizer.zero_grad()\n        outputs = model(inputs)\n",
        "        outputs = model(inputs)\n        optimizer.zero_grad()\n",
    )
    text = text.replace("torch.set_default_dtype(torch.float64)\n", "")
    alone = patch(text, ["gradient_accumulation"], Wishes("bf16", 4, grow))
    both = patch(text, ["mixed_precision", "gradient_accumulation"], Wishes("bf16", 4, grow))
    assert both.outcomes["mixed_precision"] == "patched"
    off = re.sub(r"(?m)^amp_enabled = .*$", "amp_enabled = False", both.text)
    wanted, found = run(alone.text, tmp_path), run(off, tmp_path)
    torch.testing.assert_close(found["weights"], wanted["weights"], rtol=1e-4, atol=1e-6)


KNN = """import torch


def knn(x, k):
    square = (x ** 2).sum(1, keepdim=True)
    distance = square - 2 * x @ x.t() + square.t()
    seen.append((x.dtype, torch.is_autocast_enabled("cpu")))
    return distance.topk(k, largest=False)[1]


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.lift, self.head = torch.nn.Linear(3, 16), torch.nn.Linear(16, 1)

    def forward(self, x):
        h = self.lift(x)
        return self.head(h + h[knn(h, 4)].mean(1))


seen = []
"""
NEIGHBOURS = """import torch
import {module} as layers
from {module} import Net

torch.manual_seed(0)
net = Net()
optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
losses = []
for step in range(8):
    x = torch.randn(32, 3)
    optimizer.zero_grad()
    kept = torch.zeros(32)
    kept[x[:, 0] > 0] = net(x)[x[:, 0] > 0].squeeze(1)
    loss = (kept - x.sum(1)).pow(2).mean()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
seen = layers.seen
"""


@pytest.mark.parametrize("package", ["", "models"])
def test_a_function_of_another_file_runs_in_fp32_from_the_script(tmp_path: Path, monkeypatch, package):
    module = f"{package}.knn_{package}" if package else "knn_alone"  # names that no other test imports
    home = tmp_path / package
    home.mkdir(exist_ok=True)
    (home / f"{module.split('.')[-1]}.py").write_text(KNN)
    text, path = NEIGHBOURS.format(module=module), tmp_path / "train.py"
    result = patch(text, ["mixed_precision"], Wishes("bf16"), path, tmp_path)
    assert [s.reason_code for s in result.sites if "knn" in s.note] == ["fp32_island"]
    monkeypatch.syspath_prepend(str(tmp_path))

    def run(script):
        for name in (module, package):
            sys.modules.pop(name, None)
        path.write_text(script)
        return runpy.run_path(str(path))

    before, off = run(text), run(result.text.replace("amp_enabled = True", "amp_enabled = False"))
    assert off["losses"] == before["losses"]
    on = run(result.text)
    assert set(on["seen"]) == {(torch.float32, False)}
    assert on["losses"] != before["losses"]
    assert on["losses"] == pytest.approx(before["losses"], rel=0.05)
