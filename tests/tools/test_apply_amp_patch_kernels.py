"""Losses of packages that know fp32 alone, named in any file of the project: the patched script runs them so."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from optimizing_resources.tools.apply_amp_patch.codemod import patch
from optimizing_resources.tools.apply_amp_patch.context import Wishes

TRAIN = """import torch
from model import Net

net = Net({given})
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
for _ in range(2):
    optimizer.zero_grad()
    loss = net(torch.randn(4, 8))
    loss.backward()
    optimizer.step()
"""
MODEL = """import torch
{imports}


class Net(torch.nn.Module):
    def __init__(self, crit=None):
        super().__init__()
        self.joint = torch.nn.Linear(8, 3)
        self.crit = {crit}

    def forward(self, x):
        out = self.joint(x)
        print(out.dtype)
        return {loss}
"""
PACKAGE = """import torch


def rnnt_loss(out):
    assert out.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    return out.pow(2).sum()


class RNNTLoss(torch.nn.Module):
    def forward(self, out):
        return rnnt_loss(out)
"""
FROM = "from warprnnt_pytorch import RNNTLoss, rnnt_loss"
LATE = "try:\n    from warprnnt_pytorch import RNNTLoss\nexcept ImportError:\n    RNNTLoss = None"
OWN = "from model import Net\nfrom warprnnt_pytorch import RNNTLoss"


def patched(
    folder: Path, crit="None", loss="self.crit(out)", imports=FROM, given="", own="from model import Net"
):
    (folder / "model.py").write_text(MODEL.format(imports=imports, crit=crit, loss=loss))
    path = folder / "train.py"
    path.write_text(TRAIN.format(given=given).replace("from model import Net", own))
    return patch(path.read_text(), ["mixed_precision"], Wishes("auto"), path)


@pytest.mark.parametrize(
    ("parts", "island"),
    [
        ({"crit": "RNNTLoss()"}, "amp_model.RNNTLoss.forward"),
        ({"crit": "torch.nn.DataParallel(RNNTLoss())"}, "amp_model.RNNTLoss.forward"),
        (
            {"crit": "warp.RNNTLoss()", "imports": "import warprnnt_pytorch as warp"},
            "amp_model.warp.RNNTLoss.forward",
        ),
        ({"crit": "Mine()", "imports": f"{FROM}\nclass Mine(RNNTLoss): pass"}, "amp_model.RNNTLoss.forward"),
        ({"loss": "rnnt_loss(out)"}, "amp_model.rnnt_loss"),
        ({"crit": "rnnt_loss"}, "amp_model.rnnt_loss"),
        ({"crit": "crit", "imports": "", "given": "RNNTLoss()", "own": OWN}, "RNNTLoss.forward"),
    ],
)
def test_a_kernel_of_fp32_gets_fp32_where_another_file_calls_it(tmp_path: Path, parts, island):
    result = patched(tmp_path, **parts)
    assert f"\n{island} = amp_float32({island})\n" in result.text
    assert result.sites[0].reason_code == "fp32_island"
    assert "bf16 only, no fp16 (update_undecidable)" in result.warnings[0]
    (tmp_path / "train.py").write_text(result.text)
    packages = tmp_path / "packages"
    packages.mkdir()
    (packages / "warprnnt_pytorch.py").write_text(PACKAGE)
    run = [sys.executable, str(tmp_path / "train.py")]
    settings = {**os.environ, "PYTHONPATH": str(packages), "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(run, capture_output=True, text=True, check=False, env=settings)
    assert (done.stdout, done.stderr) == ("torch.bfloat16\n" * 2, "")


@pytest.mark.parametrize(
    ("parts", "outcome"),
    [
        (
            {"crit": "RNNTLoss()", "imports": LATE},
            "declined",
        ),  # no name to set it by, where its import failed
        ({"crit": "RNNTLoss()", "imports": LATE, "loss": "self.crit(out.float())"}, "patched"),
        ({"loss": "loss(out)", "imports": f"{FROM}\nloss = rnnt_loss"}, "declined"),  # taken before it is set
        ({"crit": "loss", "imports": "from warprnnt_pytorch import rnnt_loss as loss"}, "patched"),
        ({"loss": "out.mean()", "imports": f"{LATE}\ndef unused(x):\n    return RNNTLoss()(x)"}, "patched"),
    ],
)
def test_a_kernel_of_fp32_without_a_name_is_declined_unless_it_is_given_fp32(tmp_path: Path, parts, outcome):
    result = patched(tmp_path, **parts)
    assert result.outcome == outcome
    if outcome == "declined":
        assert result.sites[0].reason_code == "custom_function"


@pytest.mark.parametrize(
    ("given", "outcome"), [("RNNTLoss()", "declined"), ("torch.nn.MSELoss()", "patched")]
)
def test_a_kernel_of_fp32_that_another_file_hands_in_is_declined(tmp_path: Path, given, outcome):
    (tmp_path / "main.py").write_text(
        f"import torch\nfrom warprnnt_pytorch import RNNTLoss\nfrom train import train\ntrain(net, {given}, data)\n"
    )
    text = """import torch


def train(net, optimizer, crit, data):
    for x in data:
        optimizer.zero_grad()
        loss = crit(net(x.cuda()))
        loss.backward()
        optimizer.step()
"""
    path = tmp_path / "train.py"
    path.write_text(text)
    assert patch(text, ["mixed_precision"], Wishes("auto"), path).outcome == outcome


@pytest.mark.parametrize(
    ("before", "behind", "island"),
    [
        ("pass", "out = test(net, crit)", "amp_float32(crit)(out)"),  # no autocast there
        ("net = Held(crit)", "pass", None),  # it may be called in there, and is imported too late to be named
    ],
)
def test_a_kernel_of_fp32_that_the_script_calls_itself_is_wrapped_there(
    tmp_path: Path, before, behind, island
):
    (tmp_path / "tests.py").write_text("def test(net, crit):\n    print(crit(net(1)))\n")
    text = """import torch
from tests import test
from elsewhere import Held


def main(net, optimizer, data):
    from warprnnt_pytorch import RNNTLoss
    crit = RNNTLoss()
    {before}
    for x in data:
        out = net(x.cuda()).tanh()
        loss = crit(out)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        {behind}
"""
    path = tmp_path / "train.py"
    result = patch(text.format(before=before, behind=behind), ["mixed_precision"], Wishes("auto"), path)
    assert result.outcome == ("patched" if island else "declined")
    assert (island or "") in result.text
