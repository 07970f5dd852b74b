"""Names that lead to code of other files: folders on sys.path, functions that attributes hold or a string picks."""

from pathlib import Path

import pytest
from optimizing_resources.tools.apply_amp_patch.codemod import patch
from optimizing_resources.tools.apply_amp_patch.context import Wishes

TRAIN = """import torch
from layers import Net

net = Net().cuda()
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
for x, y in data:
    optimizer.zero_grad()
    out = net(x.cuda())
    loss = torch.nn.functional.mse_loss(out, y.cuda())
    loss.backward()
    optimizer.step()
    {end}
"""
LAYERS = """import torch
from near import knn


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = torch.nn.Linear(16, 16), torch.nn.Linear(16, 4)
        self.search = {search}

    def forward(self, x):
        h = self.first(x)
        return self.last(h) + {call}
"""
NEAR = """import torch


def knn(x):
    inner = torch.matmul(x, x.transpose(1, 0))
    xx = torch.sum({square}, dim=1, keepdim=True)
    return (xx - {factor} * inner + xx.transpose(1, 0)).topk(3, dim=-1)[0]
"""
SOLVER = """import torch


def knn(x, tolerance={tolerance}):
    while True:
        x = torch.matmul(x, x)
        if x.norm() < tolerance:
            break
    return x
"""
ENGINE = """import torch


def train(net, optimizer, data):
    for x in data:
        optimizer.zero_grad()
        loss = net(x.cuda()).mean()
        loss.backward()
        optimizer.step()
"""
INIT_PATHS = """import os.path as osp
import sys


def add_path(path):
    sys.path.insert(0, path)


add_path(osp.join(osp.dirname(__file__), "..", "lib"))
"""
METRICS = """def pick(name):
    return globals()[name]


def error(output, target):
    return abs(output{dtype}.cpu().numpy() - target.cpu().numpy()).mean()
"""


def written(folder: Path, files: dict[str, str], text: str, path: str = "train.py", precision: str = "auto"):
    for name, content in {**files, path: text}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    return patch(text, ["mixed_precision"], Wishes(precision), folder / path, folder)


@pytest.mark.parametrize(
    ("search", "call"),
    [("knn", "self.search(h)"), ("eval(name)", "self.search(h)"), ("None", "knn(h)"), ("knn", "0")],
)
def test_what_an_attribute_holds_is_followed_where_it_is_called(tmp_path: Path, search, call):
    files = {
        "layers.py": LAYERS.format(search=search, call=call),
        "near.py": NEAR.format(square="torch.mul(x, x)", factor=2),
    }
    result = written(tmp_path, files, TRAIN.format(end="pass"))
    assert result.outcome == "patched"
    assert ("amp_near.knn = amp_float32(amp_near.knn)" in result.text) == (call != "0")


@pytest.mark.parametrize(
    ("square", "factor", "island"),
    [
        ("x.mul(x)", 2, True),
        ("torch.mul(x, x)", 2, True),
        ("torch.mul(x, y)", 2, False),
        ("x.mul(x)", 3, False),
    ],
)
def test_squares_by_mul_are_squares(tmp_path: Path, square, factor, island):
    files = {
        "layers.py": LAYERS.format(search="None", call="knn(h)"),
        "near.py": NEAR.format(square=square, factor=factor),
    }
    assert ("amp_float32" in written(tmp_path, files, TRAIN.format(end="pass")).text) == island


@pytest.mark.parametrize(("tolerance", "island"), [("1e-4", True), ("0.1", False)])
def test_a_tolerance_by_default_is_one(tmp_path: Path, tolerance, island):
    files = {
        "layers.py": LAYERS.format(search="None", call="knn(h)"),
        "near.py": SOLVER.format(tolerance=tolerance),
    }
    assert ("amp_float32" in written(tmp_path, files, TRAIN.format(end="pass")).text) == island


@pytest.mark.parametrize("paths", [INIT_PATHS, ""])
def test_a_folder_that_a_variable_puts_on_the_path_is_found(tmp_path: Path, paths):
    files = {
        ".git/config": "",
        "tools/_init_paths.py": paths,
        "tools/main.py": "import _init_paths\nfrom core.engine import train\nfrom models import Net\n\ntrain(Net())\n",
        "lib/models.py": MODEL,
    }
    result = written(tmp_path, files, ENGINE, "lib/core/engine.py")
    assert result.outcome == ("declined" if paths else "patched")


MODEL = """import torch


class Net(torch.nn.Module):
    def forward(self, x):
        return torch.linalg.inv(self.layer(x)).sum()
"""


@pytest.mark.parametrize(("dtype", "wrapped"), [("", True), (".float()", False)])
def test_a_metric_that_is_picked_by_name_gets_fp32(tmp_path: Path, dtype, wrapped):
    text = TRAIN.format(end="print(metric(out, y))").replace(
        "net = Net()", "from metrics import pick\nmetric = pick('error')\nnet = Net()"
    )
    files = {
        "layers.py": LAYERS.format(search="None", call="0"),
        "near.py": "def knn(x):\n    return x\n",
        "metrics.py": METRICS.format(dtype=dtype).replace("target.cpu()", "target.float().cpu()"),
    }
    result = written(tmp_path, files, text)
    assert result.outcome == "patched" and ("metric(amp_full(out), y)" in result.text) == wrapped


DRAWN = """import torch
from torch.distributions import MultivariateNormal, Normal

net, covariance = torch.nn.Linear(4, 2), torch.eye(2)
optimizer = torch.optim.Adam(net.parameters())
seen = []
for step in range(3):
    optimizer.zero_grad()
    drawn = {drawn}
    action = drawn.rsample()
    loss = -(drawn.log_prob(action) * action.detach().mean(-1)).mean()
    loss.backward()
    optimizer.step()
    seen.append(action.detach().numpy())
"""


@pytest.mark.parametrize(
    ("drawn", "cast"),
    [
        ("MultivariateNormal(net(torch.ones(3, 4)), covariance)", "MultivariateNormal(amp_full(net("),
        ("Normal(net(torch.ones(3, 4))[:, 0], 1.0)", "Normal(net("),
    ],
)
def test_a_distribution_that_solves_gets_fp32_and_numpy_what_it_takes(drawn, cast):
    torch = pytest.importorskip("torch")
    text = patch(DRAWN.format(drawn=drawn), ["mixed_precision"], Wishes("bf16")).text
    assert cast in text and "amp_full(action.detach()).numpy()" in text
    for enabled in ("True", "False"):
        names: dict = {}
        exec(text.replace("amp_enabled = True", f"amp_enabled = {enabled}"), names)
        assert {a.dtype.name for a in names["seen"]} == {"float32"}
    assert names["amp_full"](torch.ones(1, dtype=torch.int32)).dtype == torch.int32
    assert names["amp_full"]("text") == "text"
