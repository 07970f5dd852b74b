"""Names that lead to code of other files: folders on sys.path, functions that attributes hold or a string picks."""

from pathlib import Path

import pytest
from optimizing_resources.tools.apply_amp_patch.codemod import patch
from optimizing_resources.tools.apply_amp_patch.context import Wishes
from optimizing_resources.tools.apply_amp_patch.reached import Reached
from optimizing_resources.tools.apply_amp_patch.script import Script

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


HOOKED = """import torch


def reverse(weight):
    def turn(grad):
        return -weight * grad.clone()
    return turn


def clip(grad):
    return grad / grad.norm()


class Net(torch.nn.Module):
    def forward(self, x):
        h = self.first(x)
        h.register_hook({hook})
        return self.last(h)
"""


@pytest.mark.parametrize(
    ("hook", "scaled"),
    [
        ("lambda grad: -0.1 * grad", True),
        ("reverse(0.1)", True),
        ("lambda grad: grad.clamp(-1, 1)", False),
        ("clip", False),
        ("self.keep", False),
    ],
)
def test_a_hook_in_another_file_sees_scaled_gradients_only_if_it_scales_them(tmp_path: Path, hook, scaled):
    text = written(tmp_path, {"layers.py": HOOKED.format(hook=hook)}, TRAIN.format(end="pass")).text
    assert "with torch.autocast(" in text and ("amp_scaler.scale(" in text) == scaled


ADVERSARIAL = """import torch


def reverse(weight):
    def turn(grad):
        return -weight * grad
    return turn


def confuse(h):
    {first}
    return torch.nn.BCELoss()(torch.sigmoid(h), torch.ones_like(h))
"""


@pytest.mark.parametrize(
    ("first", "outcome"), [("h.register_hook(reverse(2.0))", "patched"), ("h = reverse(2.0)(h)", "declined")]
)
def test_what_makes_a_hook_does_not_compute_in_the_forward_pass(tmp_path: Path, first, outcome):
    files = {
        "layers.py": LAYERS.format(search="None", call="0"),
        "near.py": "def knn(x):\n    return x\n",
        "losses.py": ADVERSARIAL.format(first=first),
    }
    text = TRAIN.format(end="pass").replace("torch.nn.functional.mse_loss(out, y.cuda())", "confuse(out)")
    result = written(
        tmp_path, files, text.replace("import torch\n", "import torch\nfrom losses import confuse\n", 1)
    )
    assert result.outcome == outcome and ("amp_float32(confuse)(out)" in result.text) == (
        outcome == "patched"
    )


POLICY = """import torch


class Squashed:
    def density(self, value):
        return torch.log(1 - value.pow(2) + 1e-6).sum()


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.mean = torch.nn.Linear(4, 2)

    def forward(self, x):
        action = torch.tanh(self.mean(x))
        return torch.log(1 - action.pow(2) + 1e-6).sum() + Squashed().density({value})
"""


@pytest.mark.parametrize(
    ("value", "more", "outcome"),
    [
        ("action", "out", "patched"),
        ("x", "out", "declined"),  # rounded before it came here, perhaps
        ("action", "out + Squashed().density(torch.tanh(out))", "declined"),
        ("action", "keep(Squashed().density, out)", "declined"),
    ],
)
def test_what_functions_in_fp32_alone_call_is_in_fp32(tmp_path: Path, value, more, outcome):
    text = TRAIN.format(end="pass").replace("import Net", "import Net, Squashed")
    text = text.replace("net(x.cuda())", f"tail(net.forward(x.cuda()))\n    out = {more}")
    text = text.replace("net = Net()", "tail = torch.nn.Linear(1, 1).cuda()\nnet = Net()")
    result = written(tmp_path, {"layers.py": POLICY.format(value=value)}, text)
    assert result.outcome == outcome
    assert ("amp_layers.Net.forward = amp_float32(" in result.text) == (outcome == "patched")


def test_a_function_that_nothing_here_calls_is_in_no_fp32():
    text = """import torch
from torch.distributions import Categorical

net = torch.nn.Linear(4, 2).cuda()
optimizer = torch.optim.Adam(net.parameters())


def update(s, a, more):
    optimizer.zero_grad()
    p = torch.relu(net(s)) if more else torch.softmax(net(s), 1)
    loss = -Categorical(p + 1e-3).log_prob(a).mean()
    loss.backward()
    optimizer.step()
"""
    assert patch(text, ["mixed_precision"], Wishes()).sites[0].reason_code == "probabilities"


def test_a_method_is_read_even_if_its_name_was_before_its_class():
    names = [f"step{i}" for i in range(16)]
    script = Script("from layers import Net\nnet = Net()\n" + "".join(f"net.{n}(x)\n" for n in names))
    methods = "".join(f"    def {n}(self, x):\n        return Layer{n}()(x)\n\n" for n in names)
    classes = "".join(f"\n\nclass Layer{n}:\n    pass\n" for n in names)
    layers = Script(f"class Net:\n{methods}{classes}")
    assert all(map(Reached(script, {Path("layers.py"): layers}).holds, layers.classes))


MIXED = """import torch

near, far = torch.nn.Linear(4, 4), torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(far.parameters(), lr=0.1)
bank, seen = torch.ones(4, 3), []
for step in range(2):
    real = torch.randn(8, 4)
    optimizer.zero_grad()
    fake = near(real)
    loss = far({inside}).mean()
    loss.backward()
    optimizer.step()
    seen.append({behind})
"""


@pytest.mark.parametrize(
    ("inside", "behind", "cast"),
    [
        ("torch.lerp(real, fake, 0.5)", "0", "torch.lerp(amp_full(real), amp_full(fake), 0.5)"),
        ("torch.dot(real[0], fake[0]) * fake", "0", "torch.dot(amp_full(real[0]), amp_full(fake[0]))"),
        ("fake", "torch.mm(fake, bank)", "torch.mm(amp_full(fake), amp_full(bank))"),
        ("fake", "fake.matmul(bank)", "amp_full(fake).matmul(amp_full(bank))"),
        ("fake", "torch.mm(fake, fake.t())", "torch.mm(fake, fake.t())"),
        ("torch.lerp(real, real, 0.5)", "torch.mm(real, bank)", "torch.lerp(real, real, 0.5)"),
    ],
)
def test_operands_of_two_dtypes_become_fp32_where_torch_takes_one(inside, behind, cast):
    torch = pytest.importorskip("torch")
    text = patch(MIXED.format(inside=inside, behind=behind), ["mixed_precision"], Wishes("bf16")).text
    assert cast in text and ("def amp_full(" in text) == ("amp_full(" in cast)
    exec(text, names := {})
    assert (
        all(not torch.is_tensor(s) or s.dtype == torch.float32 for s in names["seen"]) or "fake.t()" in behind
    )


HANDED = """class Compute:
    def __init__(self, criterion, optimizer):
        self.criterion, self.optimizer = criterion, optimizer

    def step(self, {given}):
        self.optimizer.zero_grad()
        loss = self.criterion({logits}, y).mean()
        loss.backward()
        self.optimizer.step()
"""


@pytest.mark.parametrize(
    ("given", "logits", "outcome"), [("logits, y", "logits", "declined"), ("net, x, y", "net(x)", "patched")]
)
def test_a_criterion_that_is_handed_in_runs_no_layers(given, logits, outcome):
    text = HANDED.format(given=given, logits=logits)
    assert patch(text, ["mixed_precision"], Wishes()).outcome == outcome


NETS = """import pickle

import torch


class Net(torch.nn.Linear):
    def part(self, name):
        return getattr(self, name)


class Store:
    @staticmethod
    def read(file):
        return pickle.load(file)
"""
ODD = """import torch


class Odd(torch.nn.Module):
    def forward(self, x):
        return self.out.index_add_(0, self.index, x)
"""
SAMPLES = """import torch
from torch.utils.data import Dataset


class Samples(Dataset):
    def __init__(self):
        self.filter = torch.nn.Linear(4, 4)
        self.filter.load_state_dict(torch.load("filter.pt"))

    def __getitem__(self, i):
        return torch.load(f"{i}.pt")
"""
BUILD = "def build(module, name):\n    return getattr(module, name)(4, 4)\n"
LOOP = """
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
for x, y in data:
    optimizer.zero_grad()
    loss = torch.nn.functional.mse_loss(net(x.cuda()), y.cuda())
    loss.backward()
    optimizer.step()
"""


@pytest.mark.parametrize(
    ("made", "outcome"),
    [
        ("import nets, odd\nnet = getattr(nets, args.name)(4, 4)", "patched"),
        ("import nets, odd\nnet = getattr(odd, args.name)(4, 4)", "declined"),
        ("import nets, odd\nnet = odd.__dict__[args.name](4, 4)", "declined"),
        ("import nets, odd\nfrom build import build\nnet = build(odd, args.name)", "declined"),
        ("from nets import Net\nimport odd\nnet = Net(4, 4)\nnet.part('weight')", "patched"),
        ("from nets import Store\nimport odd\nnet = Store.read(f)", "declined"),
        ("from nets import Net\nimport odd\nnet = eval(args.name)(4, 4)", "declined"),
        (
            "import odd\ndef make():\n    from nets import Net\n    return locals()['Net'](4, 4)\nnet = make()",
            "patched",
        ),
        ("import importlib, odd\nnet = importlib.import_module('nets').Net(4, 4)", "patched"),
        (
            "import importlib, odd\nx = importlib.import_module(args.name)\nnet = getattr(x, 'Odd')(4, 4)",
            "declined",
        ),
        (
            "import importlib, odd\nx = importlib.import_module(args.name)\nnet = getattr(x, args.cls)(4, 4)",
            "declined",
        ),
        ("import nets, odd\nopt = getattr(torch.optim, args.name)\nnet = nets.Net(4, 4)", "patched"),
        ("import nets, odd, samples\ndata, net = samples.Samples(), nets.Net(4, 4)", "patched"),
        ("import nets, odd, samples\ndata, net = samples.Samples(), torch.load('net.pt')", "declined"),
    ],
)
def test_a_name_made_at_run_time_reaches_what_it_may_stand_for_and_no_more(tmp_path: Path, made, outcome):
    for name, code in (("nets", NETS), ("odd", ODD), ("build", BUILD), ("samples", SAMPLES)):
        (tmp_path / f"{name}.py").write_text(code)
    result = patch(
        f"import torch\n{made}\n{LOOP}", ["mixed_precision"], Wishes(), tmp_path / "train.py", tmp_path
    )
    assert result.outcome == outcome


STEPPING = """import torch
from made import *
from other import *

{setup}

def train(model, loader, {parameters}):
    for x, y in loader:
        {clear}
        loss = torch.nn.functional.mse_loss(model(x.cuda()), y.cuda())
        loss.backward()
        optimizer.step()
        {step}


{run}
"""
MADE = """import torch
from optimizers import *

OPTIMIZERS = {"adam": Adam, "sgd": torch.optim.SGD}
SCHEDULERS = {"warmup": warmup, "step": torch.optim.lr_scheduler.StepLR}
MIXED = {"adam": Adam, "step": torch.optim.lr_scheduler.StepLR}


def build(args, model):
    optimizer = OPTIMIZERS[args.optimizer](model.parameters())
    return optimizer, SCHEDULERS[args.scheduler](optimizer)
"""
OPTIMIZERS = """import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


class Adam(Optimizer):
    def step(self, closure=None):
        pass


def warmup(optimizer):
    return LambdaLR(optimizer, lambda step: 1.0)
"""


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({}, ""),  # all clearing is that of the optimizer that steps
        ({"step": "pass\n    scheduler.step()"}, ""),
        ({"clear": "model.zero_grad()"}, "step_elsewhere"),  # nothing says what `optimizer` is
        ({"clear": "optimizer.zero_grad(); model.zero_grad()"}, "optimizer_unknown"),
        ({"clear": "optimizer.zero_grad(); scheduler.head.grad = None"}, "optimizer_unknown"),
        ({"clear": "optimizer.zero_grad(); more.zero_grad()"}, "optimizer_unknown"),
        ({"parameters": "scheduler", "setup": "optimizer = torch.optim.SGD(w, lr=0.1)"}, "optimizer_unknown"),
        ({"parameters": "conf", "step": "conf.helper.step()"}, "optimizer_unknown"),
        (
            {
                "parameters": "conf",
                "setup": "optimizer = torch.optim.SGD(w, lr=0.1)\nscheduler = conf.make(optimizer)",
            },
            "",
        ),
        (
            {
                "parameters": "conf",
                "setup": "optimizer = torch.optim.SGD(w, lr=0.1)\nscheduler = conf.make(w)",
            },
            "optimizer_unknown",
        ),
        (
            {
                "clear": "model.zero_grad()",
                "run": "from made import build\noptimizer, scheduler = build(args, net)\n"
                "train(net, data, optimizer, scheduler)",
            },
            "",
        ),
        (
            {
                "clear": "model.zero_grad()",
                "run": "optimizer = OPTIMIZERS[args.name](net.parameters())\n"
                "train(net, data, optimizer, SCHEDULERS['step'](optimizer))",
            },
            "",
        ),
        (
            {
                "clear": "model.zero_grad()",
                "run": "optimizer = MIXED[args.name](w)\ntrain(net, data, optimizer, None)",
            },
            "step_elsewhere",
        ),
    ],
)
def test_what_steps_beside_an_optimizer(tmp_path: Path, parts, reason):
    for name, code in (("made", MADE), ("optimizers", OPTIMIZERS), ("other", "")):
        (tmp_path / f"{name}.py").write_text(code)
    given = {
        "clear": "optimizer.zero_grad()",
        "parameters": "optimizer, scheduler",
        "step": "scheduler.step()",
    }
    text = STEPPING.format(**{"setup": "", "run": "", **given, **parts})
    result = patch(text, ["mixed_precision"], Wishes(), tmp_path / "train.py", tmp_path)
    assert result.outcome == "patched"
    assert ("scaler" in result.text) == (not reason), result.warnings
    assert not reason or any(f"({reason})" in w for w in result.warnings)


@pytest.mark.parametrize(
    ("handed", "scaled"),
    [("torch.optim.lr_scheduler.StepLR(optimizer, 1)", True), ("torch.optim.SGD(v, lr=0.1)", False)],
)
@pytest.mark.parametrize("clear", ["optimizer.zero_grad()", "optimizer.zero_grad(); model.zero_grad()"])
def test_what_a_caller_hands_in_tells_what_steps(tmp_path: Path, handed, scaled, clear):
    text = STEPPING.format(
        setup="", run="", clear=clear, parameters="optimizer, scheduler", step="scheduler.step()"
    )
    (tmp_path / "main.py").write_text(
        f"import torch\nfrom engine import train\noptimizer = torch.optim.SGD(w, lr=0.1)\n"
        f"train(net, data, optimizer, {handed})\n"
    )
    (tmp_path / "engine.py").write_text(text)
    result = patch(text, ["mixed_precision"], Wishes(), tmp_path / "engine.py", tmp_path)
    assert ("scaler" in result.text) == scaled
