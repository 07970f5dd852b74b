"""Values that need more digits than half precision has, here and in the files that hand a model in."""

from pathlib import Path

import pytest
from optimizing_resources.tools.apply_amp_patch.codemod import patch
from optimizing_resources.tools.apply_amp_patch.context import Wishes

TRAIN = """import torch
import torch.nn.functional as F
{setup}
net = {model}.cuda()
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
for x, y in data:
    optimizer.zero_grad()
    out = net(x.cuda())
    loss = F.mse_loss({behind}, y.cuda())
    loss.backward()
    optimizer.step()
"""
ENGINE = """def train(model, loader, optimizer):
    for x, y in loader:
        optimizer.zero_grad()
        loss = model.loss(x.cuda(), y.cuda())
        loss.backward()
        optimizer.step()
"""
EXPERIMENT = """def run(model, loader, optimizer):
    from engine import train
    train(model, loader, optimizer)
"""
VAE = """import torch
from base import Base


class VAE(Base):
    def loss(self, x, y):
        return {}
"""
GRID = """class Warp(torch.nn.Module):
    def __init__(self):
        super().__init__()
        rows, columns = torch.meshgrid(torch.arange(9.0), torch.arange(9.0))
        self.pixels = torch.nn.Parameter(torch.stack([rows, columns]), requires_grad=False)

    def forward(self, x):
        n = self.pixels.size(0)
        return {}
"""
FIELD = """def slope(x, energy):
    return torch.autograd.grad(energy.sum(), x, create_graph=True)[0]

class Field(torch.nn.Module):
    def forward(self, x):
        return {}
"""
PENALTY = """class Critic(torch.nn.Module):
    def penalty(self, x):
        slope = torch.autograd.grad(self(x).sum(), x, create_graph=True)[0]
        slope = slope.view(slope.size(0), -1)
        return {}

    def forward(self, x):
        return x
"""
STENCIL = """kernel = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, {}]])[None, None].cuda()

def edges(image):
    return F.conv2d(image, kernel)
"""
GRAM = """def gram(f):
    b, c, n = f.shape
    f_t = f.transpose(1, 2)
    return f.bmm(f_t) / ({})
"""
MOMENTS = """window = torch.ones(1, 1, 3, 3).cuda()

def variance(x):
    {}
    mean, power = conv(x, window), {}
    return power / 9 - (mean / 9) ** 2
"""
EPSILON = """def unit(x, eps=1e-8):
    return x / {}
"""
SHIFT = """
grids = []
for n in (76, 38):
    grid = torch.arange(n, dtype={}).repeat(4, 1).permute(1, 0)
    grids.append(grid)

def moved(out):
    boxes = {}
    boxes[..., 0] += grids[0]
    return boxes
"""
BOUND = "LARGEST = {}\n\ndef safe(p):\n    return p.clamp(max=LARGEST)\n"


def outcome(text: str, precision: str, path: Path | None = None) -> str:
    result = patch(text, ["mixed_precision"], Wishes(precision), path)
    return result.sites[0].reason_code if result.outcome == "declined" else result.outcome


@pytest.mark.parametrize(
    ("setup", "model", "behind", "fp16", "bf16"),
    [
        (GRID.format("torch.matmul(x, self.pixels)"), "Warp()", "out", "coordinates", "coordinates"),
        (GRID.format("torch.matmul(x.view(n, -1), self.weight)"), "Warp()", "out", "patched", "patched"),
        (GRID.format("self.pixels + x"), "Warp()", "out", "patched", "patched"),
        (
            "from geometry import coords_grid\n\ngrid = coords_grid(1, 4, 4)\nflat = grid.view(2, -1)",
            "torch.nn.Linear(2, 2)",
            "torch.matmul(flat, out.softmax(-1))",
            "coordinates",
            "coordinates",
        ),
        (FIELD.format("x + slope(x, x**2)"), "Field()", "out", "second_order", "second_order"),
        (FIELD.format("slope(x, x**2).norm() ** 2"), "Field()", "out", "second_order", "patched"),
        (
            FIELD.format("torch.autograd.grad((x**2).sum(), x, create_graph=True)[0]"),
            "Field()",
            "out",
            "second_order",
            "second_order",
        ),
        (
            PENALTY.format("(slope.norm(2, dim=1) - 1) ** 2"),
            "Critic()",
            "net.penalty(out)",
            "second_order",
            "patched",
        ),
        (PENALTY.format("slope * x"), "Critic()", "net.penalty(out)", "second_order", "second_order"),
        (
            FIELD.format("torch.autograd.grad(self.loss(x), self.parameters(), create_graph=True)[0]"),
            "Field()",
            "out",
            "second_order",
            "patched",
        ),
        (STENCIL.format(1), "torch.nn.Conv2d(1, 1, 3)", "edges(out)", "patched", "cancellation"),
        (STENCIL.format(2), "torch.nn.Conv2d(1, 1, 3)", "edges(out)", "patched", "patched"),
        (
            "",
            "torch.nn.Linear(4, 6)",
            "F.affine_grid(out.view(-1, 2, 3), [1, 1, 9, 9])",
            "patched",
            "coordinates",
        ),
        (
            "",
            "torch.nn.Linear(4, 6)",
            "F.affine_grid(out.view(-1, 2, 3).float(), [1, 1, 9, 9])",
            "patched",
            "patched",
        ),
        (
            SHIFT.format("torch.float", "out.clone()"),
            "torch.nn.Linear(4, 4)",
            "moved(out)",
            "patched",
            "coordinates",
        ),
        (
            SHIFT.format("torch.float", "out.float()"),
            "torch.nn.Linear(4, 4)",
            "moved(out)",
            "patched",
            "patched",
        ),
        (
            SHIFT.format("torch.long", "out.clone()"),
            "torch.nn.Linear(4, 4)",
            "moved(out)",
            "patched",
            "patched",
        ),
        (GRAM.format("c * n"), "torch.nn.Conv1d(1, 1, 3)", "gram(out)", "patched", "patched"),  # in fp32
        (GRAM.format("0.07"), "torch.nn.Conv1d(1, 1, 3)", "gram(out)", "patched", "patched"),
        (
            MOMENTS.format("conv = F.conv2d", "conv(x * x, window)"),
            "torch.nn.Conv2d(1, 1, 3)",
            "variance(out)",
            "patched",  # the whole function runs in fp32
            "patched",
        ),
        (
            MOMENTS.format("conv = getattr(F, 'conv%dd' % 2)", "F.conv2d(x**2, window)"),
            "torch.nn.Conv2d(1, 1, 3)",
            "variance(out)",
            "cancellation",  # what getattr gives is not known to be torch's
            "cancellation",
        ),
        (
            MOMENTS.format("conv = F.conv2d", "conv(2 * x, window)"),
            "torch.nn.Conv2d(1, 1, 3)",
            "variance(out)",
            "patched",
            "patched",
        ),
        (
            EPSILON.format("x.abs().mean(-1).clamp(min=eps)"),
            "torch.nn.Linear(4, 1)",
            "unit(out)",
            "fp16_constant",
            "patched",
        ),
        (
            EPSILON.format("(x.std(-1) + eps)"),
            "torch.nn.Linear(4, 1)",
            "unit(out)",
            "fp16_constant",
            "patched",
        ),
        (
            EPSILON.format("x + torch.log(u + eps)").replace(
                "    return", "    u = torch.rand(4)\n    u = u.cuda()\n    return"
            ),
            "torch.nn.Linear(4, 1)",
            "unit(out)",
            "patched",
            "patched",
        ),
        (
            EPSILON.format("(x.norm(dim=-1) + eps)"),
            "torch.nn.Linear(4, 1)",
            "unit(out)",
            "patched",
            "patched",
        ),
        (BOUND.format("1 - 1e-5"), "torch.nn.Linear(2, 1)", "safe(out)", "probabilities", "probabilities"),
        (BOUND.format("0.9"), "torch.nn.Linear(2, 1)", "safe(out)", "patched", "patched"),
    ],
)
def test_what_needs_more_digits_is_declined(setup, model, behind, fp16, bf16):
    text = TRAIN.format(setup=setup, model=model, behind=behind)
    assert (outcome(text, "fp16"), outcome(text, "bf16")) == (fp16, bf16)


def test_the_model_comes_through_a_file_that_makes_none(tmp_path):
    """start.py makes it and experiment.py hands it on; its base class, and so that it is one, stand in base.py."""
    files = {
        "engine.py": ENGINE,
        "experiment.py": EXPERIMENT,
        "base.py": "import torch\n\n\nclass Base(torch.nn.Module):\n    pass\n",
        "vae.py": VAE,
        "start.py": "from vae import VAE\nfrom experiment import run\nrun(VAE(), data, optimizer)\n",
    }
    for value, wanted in (
        ("-torch.log(1 - self.net(x)).mean()", "probabilities"),
        ("self.net(x).mean()", "patched"),
    ):
        for name, text in files.items():
            (tmp_path / name).write_text(text.format(value) if name == "vae.py" else text)
        assert outcome(ENGINE, "bf16", tmp_path / "engine.py") == wanted


def test_a_trainer_whose_methods_are_called_from_elsewhere(tmp_path):
    trainer = """from losses import Far


class Trainer:
    def __init__(self, model, criterion, optimizer):
        self.model, self.criterion, self.optimizer = model, criterion, optimizer

    def train(self, loader):
        for x, y in loader:
            self.optimizer.zero_grad()
            loss = self.forward_loss(x.cuda(), y.cuda())
            loss.backward()
            self.optimizer.step()

    def forward_loss(self, x, y):
        assert isinstance(self.criterion, Far)
        return self.criterion(self.model(x), y)
"""
    loss = "import torch\n\n\nclass Far(torch.nn.Module):\n    def forward(self, x, y):\n        return {}\n"
    (tmp_path / "trainer.py").write_text(trainer)
    for value, wanted in (
        ("x.half().mean()", "own_low_precision"),
        ("(x - y).mean()", "patched"),
    ):
        (tmp_path / "losses.py").write_text(loss.format(value))
        assert outcome(trainer, "bf16", tmp_path / "trainer.py") == wanted


def test_a_folder_put_into_the_path_is_read(tmp_path):
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "layers.py").write_text(
        "import torch\n\n\nclass Net(torch.nn.Module):\n    def forward(self, x):\n"
        "        return torch.spmm(self.adj, x)\n"
    )
    setup = "import os, sys\nsys.path.append('%s/lib' % os.path.dirname(__file__))\nfrom layers import Net"
    text = TRAIN.format(setup=setup, model="Net()", behind="out")
    assert outcome(text, "bf16", tmp_path / "train.py") == "sparse"
    assert outcome(text.replace("%s/lib", "%s/other"), "bf16", tmp_path / "train.py") == "patched"


SLOPE = """import torch


def slope(x, energy):
    return torch.autograd.grad(energy.sum(), x, create_graph=True)[0]
"""


@pytest.mark.parametrize(
    ("behind", "bf16"),
    [
        ("slope(x, out) - x", "second_order"),  # fitted to data, as in a physics-informed loss
        ("slope(x, out)[:, 1:].norm(2, dim=-1) - 1", "patched"),
        ("out + torch.sum(torch.mul(torch.zeros(1), x))", "patched"),
    ],
)
def test_a_derivative_that_is_fitted_is_declined_wherever_it_is_taken(tmp_path: Path, behind, bf16):
    parts = {"model": "torch.nn.Linear(2, 1)", "behind": behind}
    here = TRAIN.format(setup=SLOPE.split("\n", 1)[1], **parts)
    (tmp_path / "slopes.py").write_text(SLOPE)
    there = TRAIN.format(setup="from slopes import slope", **parts)
    inline = here.replace("slope(x, out)", "torch.autograd.grad(out.sum(), x, create_graph=True)[0]")
    found = [outcome(text, "bf16", tmp_path / "train.py") for text in (here, there, inline)]
    assert found == [bf16] * 3


PICTURE = """def gram(f):
    b, c, h, w = f.{sizes}
    {flat}
    return {product}
"""


@pytest.mark.parametrize(
    ("flat", "product", "wrapped"),
    [
        ("f = f.view(b * c, h * w)", "torch.mm(f, f.t())", "amp_float32(torch.mm)"),
        ("f = f.view(c, -1)", "torch.mm(f, f.t())", "amp_float32(torch.mm)"),
        ("f = f.flatten(2)", "f @ f.mT", "@amp_float32"),
        ("f = torch.flatten(f, 2)", "f.bmm(f.transpose(1, 2))", "@amp_float32"),
        ("f = f.view(f.size(0), f.size(1), -1)", "f.bmm(f.transpose(1, 2))", "@amp_float32"),
        ("f = f.reshape((f.shape[0], f.shape[1], -1))", "f.matmul(f.transpose(-1, -2))", "@amp_float32"),
        ("f = f.view(b, c, -1)", "torch.bmm(f, torch.transpose(f, 1, 2))", "amp_float32(torch.bmm)"),
        ("q, k = f.view(b, c, -1), f.view(b, c, -1).permute(0, 2, 1)", "q.bmm(k)", "@amp_float32"),
        ("f = f.view(b, c, -1); t = f.transpose(1, 2).contiguous()", "f.bmm(t)", "@amp_float32"),
        ("f = f.view(b, c, -1); f = f - f.mean(2, True)", "f.bmm(f.mT)", "@amp_float32"),
        ("pass", "torch.einsum('bchw,bdhw->bcd', f, f)", "amp_float32(torch.einsum)"),
    ],
)
@pytest.mark.parametrize("sizes", ["size()", "shape"])
def test_a_gram_matrix_of_a_picture_runs_in_fp32(tmp_path: Path, flat, product, wrapped, sizes):
    setup = PICTURE.format(flat=flat.replace("; ", "\n    "), product=product, sizes=sizes)
    text = TRAIN.format(setup=setup, model="torch.nn.Conv2d(1, 8, 3)", behind="gram(out)")
    result = patch(text, ["mixed_precision"], Wishes("fp16"), tmp_path / "train.py")
    assert result.outcome == "patched"
    assert wrapped in result.text


@pytest.mark.parametrize(
    ("flat", "product"),
    [
        ("q, k = f.view(b, c, -1), key(f).view(b, c, -1)", "q.bmm(k.transpose(1, 2))"),
        ("f = f.view(b, c, -1)", "f.transpose(1, 2).bmm(f)"),  # sums over channels
        ("f = f.view(b, -1)", "torch.mm(f, f.t())"),
        ("f = f.mean((2, 3))", "f @ f.t()"),
        ("f = F.normalize(f.view(b, c, -1), dim=2)", "f.bmm(f.transpose(1, 2))"),
        ("f = f.view(b, c, -1); f = f / f.norm(dim=2, keepdim=True)", "f.bmm(f.transpose(1, 2))"),
        ("f = f.mean((2, 3)); f = f / f.norm(dim=1, keepdim=True)", "f @ f.t() / (b * c)"),
        ("pass", "torch.einsum('bchw,bcij->bhwij', f, f)"),
        ("pass", "torch.einsum('bchw,bchw->b', f, f)"),
    ],
)
def test_a_product_that_is_no_gram_matrix_of_a_picture_keeps_half_precision(tmp_path: Path, flat, product):
    setup = PICTURE.format(flat=flat.replace("; ", "\n    "), product=product, sizes="shape")
    text = TRAIN.format(setup=setup, model="torch.nn.Conv2d(1, 8, 3)", behind="gram(out)")
    result = patch(text, ["mixed_precision"], Wishes("fp16"), tmp_path / "train.py")
    assert result.outcome == "patched"
    assert "amp_float32" not in result.text


def test_a_gram_matrix_that_cannot_run_in_fp32_is_left_to_bf16(tmp_path: Path):
    setup = PICTURE.format(flat="f = f.flatten(2)", product="f.bmm(f.mT) + kept[0]", sizes="shape")
    behind = "gram(out)"
    text = TRAIN.format(setup=f"kept = []\n{setup}", model="torch.nn.Conv2d(1, 8, 3)", behind=behind)
    text = text.replace("    out = net(x.cuda())", "    out = net(x.cuda())\n    kept.append(out)")
    result = patch(text, ["mixed_precision"], Wishes("auto"), tmp_path / "train.py")
    assert "bf16 only, no fp16 (fp16_constant)" in result.warnings[0]


TOWER = """import torch


def spread(h):
    m = torch.mean(h, dim=-2)
    return torch.sqrt(torch.relu(torch.mean(h * h, dim=-2) - m * m) + 1e-5)


def most(h):
    return h.max(-2)[0]


KINDS = {{"std": {kind}, "max": most}}


class Tower(torch.nn.Module):
    def __init__(self, functions):
        super().__init__()
        self.functions = functions
        self.pre = torch.nn.Linear(4, 4)

    def forward(self, h):
        h = self.pre(h)
        return torch.cat([f(h) for f in self.functions], -1)


class Net(torch.nn.Module):
    def __init__(self, names):
        super().__init__()
        self.tower = Tower([KINDS[name] for name in names.split()])

    def forward(self, x):
        return self.tower(x)
"""


@pytest.mark.parametrize(("kind", "found"), [("spread", "cancellation"), ("most", "patched")])
def test_functions_out_of_a_table_that_a_layer_was_handed_are_read(tmp_path: Path, kind, found):
    tower = TOWER.format(kind=kind)
    (tmp_path / "towers.py").write_text(tower)
    text = TRAIN.format(setup="from towers import Net", model='Net("std max")', behind="out")
    assert outcome(text, "bf16", tmp_path / "train.py") == found
    here = outcome(
        TRAIN.format(setup=tower, model='Net("std max")', behind="out"), "bf16", tmp_path / "train.py"
    )
    assert here == "patched"  # a decorator in front of the table
