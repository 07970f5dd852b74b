"""Where a region begins: with the first statement that runs weights. What prepares data keeps its precision."""

from pathlib import Path

import pytest
from optimizing_resources.tools.apply_amp_patch.codemod import patch
from optimizing_resources.tools.apply_amp_patch.context import Wishes

HEAD = """import torch
from torch import nn
import torch.nn.functional as F

A = torch.rand(2, 2)
"""
LOOP = """
model = nn.Linear(2, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for x in torch.rand(4, 8, 2):
{body}
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
DATA = "def simulate(state):\n    return state @ A\n"
LAYER = "def run(state):\n    return model(state) @ A\n"
LOADED = """def features(power):
    basis = torch.rand(2, 2)
    return torch.clamp(basis.mm(power.t()), min=1e-5).log().t()
"""


def under_autocast(text: str) -> list[str]:
    """The statements right under the first autocast."""
    lines = text.splitlines()
    start = next(
        i
        for i, line in enumerate(lines)
        if line.strip().startswith("with torch.autocast(device") and "enabled=False" not in line
    )
    depth = len(lines[start]) - len(lines[start].lstrip())
    inside = []
    for line in lines[start + 1 :]:
        if line.strip() and len(line) - len(line.lstrip()) <= depth:
            break
        inside.append(line.strip())
    return [line for line in inside if line]


@pytest.mark.parametrize(
    ("defined", "body", "first"),
    [
        (DATA, "target = (simulate(x) - x) / 0.01\nloss = F.mse_loss(model(x), target)", "loss = "),
        (LOADED, "feats = features(x)\nloss = model(feats).pow(2).mean()", "loss = "),
        (
            "",
            "x = F.pad(x, (0, 0))\nx = x.masked_fill(x > 1, 0)\nout = model(x)\nloss = out.pow(2).mean()",
            "out = ",
        ),
        (LAYER, "out = run(x)\nloss = F.mse_loss(out, x)", "out = "),
        ("", "y = F.linear(x, model.weight)\nloss = F.mse_loss(y, model(x))", "y = "),
        ("w = torch.rand(2, 2, requires_grad=True)\n", "y = x @ w\nloss = F.mse_loss(model(y), x)", "y = "),
        (
            "def outs(x):\n    found = []\n    for _ in range(2):\n        found.append(model(x))\n    return found\n",
            "both = outs(x)\nloss = 0.0\nfor one in both:\n    loss = loss + one.pow(2).mean()",
            "both = ",
        ),
        (
            "def pick(x):\n    return int(model(x).max(1)[1][0])\n",
            "a = pick(x)\nq = model(x)[:, a]\nloss = q.pow(2).mean()",
            "q = ",
        ),
    ],
)
def test_a_region_begins_where_weights_run(defined, body, first):
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    result = patch(HEAD + defined + LOOP.replace("{body}", lines), ["mixed_precision"], Wishes())
    assert under_autocast(result.text)[0].startswith(first)


def test_an_episode_is_played_in_fp32(tmp_path: Path):
    text = (
        HEAD
        + """

class Env:
    def step(self, action):
        self.state = self.state @ A + 0.001 * action
        return self.state, -(self.state**2).sum().item(), False


class Agent:
    def __init__(self):
        self.net, self.memory = nn.Linear(2, 2), []
        self.optimizer = torch.optim.Adam(self.net.parameters())

    def act(self, s):
        return int(self.net(s).max(1)[1])

    def learn(self):
        s, a, r, s_ = self.memory[-1]
        loss = F.mse_loss(self.net(s)[:, a], r + self.net(s_).detach().max(1)[0])
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()


env, agent = Env(), Agent()
for t in range(9):
    a = agent.act(s)
    s_, r, done = env.step(a)
    r = r + 1.0
    agent.memory.append((s, a, r, s_))
    agent.learn()
"""
    )
    result = patch(text, ["mixed_precision"], Wishes())
    assert under_autocast(result.text) == [
        "loss = F.mse_loss(self.net(s)[:, a], r + self.net(s_).detach().max(1)[0])"
    ]
    assert result.text.count("with torch.autocast(device") == 1


def test_what_another_file_prepares_stays_outside_and_behind_the_model_it_runs_in_fp32(tmp_path: Path):
    (tmp_path / "sim.py").write_text("import torch\nA = torch.eye(2)\n" + DATA)
    body = "    target = simulate(x)\n    out = model(x)\n    other = simulate(x)\n    both = simulate(out)\n"
    body += "    loss = F.mse_loss(out + both, target + other)"
    text = HEAD + "from sim import simulate\n" + LOOP.replace("{body}", body)
    result = patch(text, ["mixed_precision"], Wishes(), tmp_path / "train.py", tmp_path)
    assert under_autocast(result.text)[:3] == [
        "out = model(x)",
        "other = amp_float32(simulate)(x)",
        "both = simulate(out)",
    ]


LOGGER = """from tensorboardX import SummaryWriter


class Logger:
    writer = SummaryWriter("runs")

    def image(self, images, step):
        for key in images:
            self.writer.add_image(key, images[key], step)

    def scalar(self, value, step):
        self.writer.add_scalar("loss", value, step)
"""


@pytest.mark.parametrize(
    ("behind", "seen"),
    [
        ("logger.image({'out': out[0]}, 1)", "{'out': out[0].float()}"),
        ("logger.image(out, 1)", "logger.image(out.float(), 1)"),
        ("logger.scalar(loss.item(), 1)", "logger.scalar(loss.item(), 1)"),
        ("vis.scatter(X=out, win=1)", "X=out.float(),"),
        ("plt.imshow(out.detach().cpu())", "plt.imshow(out.detach().cpu().float())"),
        ("print(out.shape, x)", "print(out.shape, x)"),
        ("error = (5.0 * out + mean - x).abs().mean()", "(5.0 * out.float() + mean - x)"),
        ("error = scaler.back(out)", "scaler.back(out.float())"),
        ("error = 0.5 * out + 0.5", "error = 0.5 * out + 0.5"),
    ],
)
def test_what_comes_out_of_a_region_is_shown_and_scaled_back_in_fp32(tmp_path: Path, behind, seen):
    (tmp_path / "logs.py").write_text(LOGGER)
    text = (
        HEAD
        + """import visdom
import matplotlib.pyplot as plt
from logs import Logger

logger, vis, mean = Logger(), visdom.Visdom(), 75.0


class Scaler:
    def back(self, value):
        return value * self.std + self.mean


scaler = Scaler()
"""
        + LOOP.replace("{body}", "    out = model(x)\n    loss = out.pow(2).mean()")
    )
    result = patch(f"{text}    {behind}\n", ["mixed_precision"], Wishes(), tmp_path / "train.py", tmp_path)
    assert seen in result.text and result.text.splitlines()[-1].count(".float()") == seen.count(".float()")


def test_an_output_is_scaled_back_in_fp32_before_the_loss_too():
    body = "    out = model(x) * 10.0 + 1000.0\n    loss = F.mse_loss(out, x)"
    result = patch(HEAD + LOOP.replace("{body}", body), ["mixed_precision"], Wishes())
    assert "out = model(x).float() * 10.0 + 1000.0" in result.text
    assert [s.reason_code for s in result.sites].count("rescaled") == 1


LOGGED = """import torch
from helpers import extract


def train(model, loader, criterion, optimizer):
    log, step = {{}}, 0
    for x, y in loader:
        if step % 10 == 0:
            model.eval()
            found = extract(model, loader)
            log["score"] = {score}
        model.train()
        out = model(x.cuda())
        loss = criterion(out, y.cuda())
        {log}
        if step > 5:
            other = criterion(out, y.cuda())
            {more}
            loss = loss + other
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


model = torch.nn.Linear(16, 8).cuda()
train(model, loader, torch.nn.CrossEntropyLoss(), torch.optim.SGD(model.parameters(), lr=0.1))
"""


@pytest.mark.parametrize(
    ("score", "log", "more", "first"),
    [
        ("float(found.mean())", 'log["loss"] = loss.item()', 'log["other"] = other.item()', "out = model"),
        ("found.mean()", 'log["loss"] = loss.item()', 'log["other"] = other.item()', "out = model"),
        ("found.mean()", 'log["loss"] = loss', "loss = loss + other", "out = model"),
        ("float(found.mean())", 'log["loss"] = loss', 'loss = log["loss"]', "out = model"),
        ("found.mean()", 'log["loss"] = loss', 'loss = loss + log["score"]', "if step % 10"),
        ("found.mean()", "pass", "other = other + sum(log.values())", "if step % 10"),
    ],
)
def test_a_log_that_the_loss_does_not_read_pulls_no_validation_in(score, log, more, first):
    text = patch(LOGGED.format(score=score, log=log, more=more), ["mixed_precision"], Wishes("auto")).text
    assert text.partition("with torch.autocast(")[2].splitlines()[1].strip().startswith(first)


def test_a_file_that_imports_nothing_gets_its_import_first():
    text = """class Trainer:
    def fit(self, loader):
        for x, y in loader:
            self.optimizer.zero_grad()
            loss = self.criterion(self.model(x), y)
            loss.backward()
            self.optimizer.step()
"""
    result = patch(text, ["mixed_precision"], Wishes())
    assert result.text.startswith("import torch\n\n# Mixed") and "\n\n\nclass Trainer:\n" in result.text


RAMP = """import numpy as np


def ramp(step):
    return float(np.exp(-5.0 * step))
"""


def test_a_weight_that_may_be_a_number_is_not_cast_as_a_tensor(tmp_path: Path):
    (tmp_path / "ramps.py").write_text(RAMP)
    body = "    out = model(x)\n    w = weight(3)\n    near = F.mse_loss(out, x)\n    loss = near + w * out.mean()"
    defined = "from ramps import ramp\n\n\ndef weight(step):\n    return 0.1 * ramp(step)\n"
    result = patch(
        HEAD + defined + LOOP.replace("{body}", body), ["mixed_precision"], Wishes(), tmp_path / "train.py"
    )
    assert result.outcome == "patched" and "loss = near + w * out.mean()" in result.text


def test_what_fills_a_buffer_stands_in_the_region_or_is_declined():
    body = "    h = model(x)\n    rows.index_add_(0, y, h)\n    loss = model(rows).pow(2).mean()"
    result = patch(HEAD + LOOP.replace("{body}", body), ["mixed_precision"], Wishes())
    assert result.outcome == "declined" and result.sites[0].reason_code == "in_place_scatter"


@pytest.mark.parametrize(
    ("behind", "seen"),
    [
        ("bank[index] = out.detach()", "bank[index] = amp_full(out.detach())"),
        ("bank[:8] = out.detach()", "bank[:8] = out.detach()"),
        ("bank.index_copy_(0, index, out)", "bank.index_copy_(0, index, amp_full(out))"),
        ("center.lerp_(out.mean(0), 0.1)", "center.lerp_(amp_full(out.mean(0)), 0.1)"),
        ("guess = out.detach() @ A", "guess = amp_full(out.detach()) @ A"),
        ("same = out @ out.t()", "same = out @ out.t()"),
    ],
)
def test_what_is_put_by_behind_a_region_is_fp32_as_the_bank_is(behind, seen):
    text = HEAD + "bank, center = torch.zeros(64, 2), torch.zeros(2)\n"
    text += LOOP.replace("{body}", "    out = model(x)\n    loss = out.pow(2).mean()")
    result = patch(f"{text}    {behind}\n", ["mixed_precision"], Wishes())
    assert result.text.splitlines()[-1].strip() == seen
