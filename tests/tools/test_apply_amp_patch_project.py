"""What a script imports from its own project decides too, and is only read."""

from pathlib import Path

import pytest
from optimizing_resources.tools.apply_amp_patch.codemod import patch
from optimizing_resources.tools.apply_amp_patch.context import Wishes

GOLDEN = Path(__file__).parents[1] / "golden" / "apply_amp_patch"
TRAIN = """import torch
from {module} import Net

net = Net().cuda()
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
for x, y in data:
    optimizer.zero_grad()
    loss = torch.nn.functional.mse_loss(net(x.cuda()), y.cuda())
    loss.backward()
    optimizer.step()
"""
MODEL = """import torch


class Net(torch.nn.Module):
    def forward(self, x):
        return {expression}
"""


@pytest.mark.parametrize("module", ["layers", "package.layers"])
@pytest.mark.parametrize(
    ("expression", "code"),
    [
        ("torch.fft.rfft(x).abs()", "fft_or_complex"),
        ("torch.spmm(self.adj, x)", "sparse"),
        ("torch.nn.functional.binary_cross_entropy(x, x)", "bce_in_other_file"),
        ("torch.linalg.inv(x)", "linear_algebra"),
        ("self.out.index_add_(0, self.index, x)", "in_place_scatter"),
    ],
)
def test_what_an_imported_model_cannot_do_declines_the_script(tmp_path: Path, module, expression, code):
    folder = tmp_path / "package"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "layers.py").write_text(MODEL.format(expression=expression))
    path = folder / "train.py"
    result = patch(TRAIN.format(module=module), ["mixed_precision"], Wishes(), path, tmp_path)
    assert result.outcome == "declined" and result.sites[0].reason_code == code and result.sites[0].line == 2


def test_files_outside_the_workspace_are_not_read(tmp_path: Path):
    inside = tmp_path / "work"
    inside.mkdir()
    (tmp_path / "__init__.py").touch()
    (inside / "__init__.py").touch()
    (tmp_path / "layers.py").write_text(MODEL.format(expression="torch.fft.rfft(x).abs()"))
    result = patch(TRAIN.format(module="layers"), ["mixed_precision"], Wishes(), inside / "train.py", inside)
    assert result.outcome == "patched"


def test_a_mask_that_overflows_fp16_leaves_bf16(tmp_path: Path):
    (tmp_path / "layers.py").write_text(MODEL.format(expression="x.masked_fill(x > 0, -1e9)"))
    result = patch(TRAIN.format(module="layers"), ["mixed_precision"], Wishes(), tmp_path / "train.py")
    assert (
        result.outcome == "patched" and "GradScaler" not in result.text and "bf16 only" in result.warnings[0]
    )
    refused = patch(TRAIN.format(module="layers"), ["mixed_precision"], Wishes("fp16"), tmp_path / "train.py")
    assert [s.reason_code for s in refused.sites] == ["fp16_constant"]


def test_a_scheduler_of_the_project_is_not_taken_for_an_optimizer(tmp_path: Path):
    (tmp_path / "schedule.py").write_text(
        "from torch.optim.lr_scheduler import _LRScheduler\n\n\nclass Poly(_LRScheduler):\n    pass\n"
    )
    text = TRAIN.replace("from {module} import Net", "from schedule import Poly\nNet = torch.nn.Flatten")
    text += "    schedule.step()\n"
    text = text.replace("for x, y", "schedule = Poly(optimizer)\nfor x, y")
    result = patch(text, ["mixed_precision"], Wishes("fp16"), tmp_path / "train.py")
    assert result.outcome == "patched" and "amp_scaler.step(optimizer)" in result.text
    assert "    schedule.step()\n" in result.text


ALTERNATING = """import torch
from search import Search

net = torch.nn.Linear(2, 1).cuda()
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
search = Search(net)
for x, y in data:
    search.step(x, y)
    optimizer.zero_grad()
    loss = torch.nn.functional.mse_loss(net(x.cuda()), y.cuda())
    loss.backward()
    optimizer.step()
"""
SEARCH = """class Search:
    def __init__(self, net):
        self.net = net

    def step(self, x, y):
        self.net.zero_grad()
        self.other(x, y)

    def other(self, x, y):
        (self.net(x) - y).pow(2).mean().backward()
"""


def test_a_backward_in_another_file_stays_outside_of_autocast_and_rules_the_scaler_out(tmp_path: Path):
    (tmp_path / "search.py").write_text(SEARCH)
    path = tmp_path / "train.py"
    result = patch(ALTERNATING, ["mixed_precision"], Wishes(), path, tmp_path)
    assert "    search.step(x, y)" in result.text.splitlines()
    assert "backward_elsewhere" in result.warnings[0] and "GradScaler" not in result.text
    refused = patch(ALTERNATING, ["mixed_precision"], Wishes("fp16"), path, tmp_path)
    assert refused.outcome == "declined" and refused.sites[0].reason_code == "backward_elsewhere"


HELPERS = """def penalize(model):
    for p in model.parameters():
        {body}
"""


@pytest.mark.parametrize(
    ("body", "scaled", "unscaled"),
    [
        ("p.grad.data += 1e-4 * p.data", True, True),
        ("dist.all_reduce(p.grad)", False, False),
        ("p.data.clamp_(-1, 1)", True, False),
    ],
)
def test_what_another_file_does_with_the_gradients_decides_on_scaling(tmp_path: Path, body, scaled, unscaled):
    (tmp_path / "helpers.py").write_text(HELPERS.format(body=body))
    (tmp_path / "layers.py").write_text(MODEL.format(expression="x"))
    text = TRAIN.format(module="layers").replace(
        "    optimizer.step()", "    helpers.penalize(net)\n    optimizer.step()"
    )
    text = "import helpers\n" + text
    result = patch(text, ["mixed_precision"], Wishes(), tmp_path / "train.py", tmp_path)
    assert result.outcome == "patched"
    assert ("amp_scaler.step(optimizer)" in result.text) is scaled
    assert ("unscale_(optimizer)\n    helpers.penalize" in result.text) is unscaled


@pytest.mark.parametrize(("layer", "outcome"), [("BatchNorm1d", "declined"), ("LayerNorm", "patched")])
def test_blocks_of_another_file_are_checkpointed_without_batch_statistics(tmp_path: Path, layer, outcome):
    block = (
        f"class Block(torch.nn.Module):\n    def __init__(self):\n        self.norm = torch.nn.{layer}(8)\n"
    )
    (tmp_path / "blocks.py").write_text(f"import torch\n\n\n{block}")
    text = (GOLDEN / "gradient_checkpointing" / "blocks_of_another_package.in.py").read_text()
    text = text.replace("some_layers", "blocks")
    result = patch(text, ["gradient_checkpointing"], Wishes(), tmp_path / "train.py", tmp_path)
    assert result.outcome == outcome


SOLVER = """import torch


class Solver:
    def __init__(self, model, optimizer):
        self.model, self.optimizer = model, optimizer

    def train(self, loader):
        for x, y in loader:
            self.optimizer.zero_grad()
            loss = torch.nn.functional.mse_loss(self.model(x.cuda()), y.cuda())
            loss.backward()
            self.optimizer.step()
"""
GIVEN_LOSS = """import torch


class WithLoss(torch.nn.Module):
    def __init__(self, model, loss):
        super().__init__()
        self.model = model
        self.loss = loss

    def forward(self, x, y):
        return self.loss(self.model(x), y)


def train(model, loss, loader):
    both = WithLoss(model, loss).cuda()
    optimizer = torch.optim.SGD(both.parameters(), lr=0.1)
    for x, y in loader:
        optimizer.zero_grad()
        loss = both(x.cuda(), y.cuda())
        loss.backward()
        optimizer.step()
"""


@pytest.mark.parametrize("trainer", [SOLVER, GIVEN_LOSS], ids=["model", "loss"])
@pytest.mark.parametrize(
    ("expression", "fp16", "auto"),
    [
        ("x / (x.var() + 1e-8)", "fp16_constant", "patched"),
        ("x.sigmoid().clamp(1e-4, 1 - 1e-4)", "probabilities", "probabilities"),
        ("x + 1", "patched", "patched"),
    ],
)
def test_what_is_handed_in_is_looked_up_where_it_comes_from(tmp_path: Path, trainer, expression, fp16, auto):
    """Also where the file that hands it in has a folder of its repository on sys.path (`lib`)."""
    library = tmp_path / "lib"
    for folder in (tmp_path / ".git", library / "models", library / "trains"):
        folder.mkdir(parents=True)
    (library / "trains" / "solver.py").write_text(trainer)
    (library / "trains" / "main.py").write_text(
        "from models.layers import Net\nimport solver\n\nnet = Net()\n"
    )
    (library / "models" / "layers.py").write_text(MODEL.format(expression=expression))
    for precision, wanted in (("fp16", fp16), ("auto", auto)):
        path = library / "trains" / "solver.py"
        result = patch(trainer, ["mixed_precision"], Wishes(precision), path, tmp_path)
        assert (result.outcome if result.outcome == "patched" else result.sites[0].reason_code) == wanted


def test_a_loss_that_a_function_of_another_file_gives_is_read(tmp_path: Path):
    losses = "import torch.nn.functional as F\n\n\ndef bce(p, y):\n    return F.binary_cross_entropy(p, y)\n"
    (tmp_path / "losses.py").write_text(
        f"{losses}\n\ndef get_loss(name):\n    if name == 'bce':\n        return bce\n"
    )
    text = TRAIN.replace("from {module} import Net", "from losses import get_loss\nNet = torch.nn.Flatten")
    text = text.replace("torch.nn.functional.mse_loss", "loss_func").replace(
        "for x, y", "loss_func = get_loss('bce')\nfor x, y"
    )
    result = patch(text, ["mixed_precision"], Wishes(), tmp_path / "train.py", tmp_path)
    assert "amp_losses.bce = amp_float32(amp_losses.bce)" in result.text


def test_models_that_a_name_at_run_time_chooses_are_all_read(tmp_path: Path):
    text = TRAIN.replace("from {module} import Net", "import importlib, sys\n{way}").replace(
        "Net()", "importlib.import_module({name}).Net()"
    )
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "layers.py").write_text(MODEL.format(expression="torch.fft.rfft(x).abs()"))
    for way, name, outcome in (
        ('sys.path.append("models")', "sys.argv[1]", "declined"),
        ("", 'f"models.{sys.argv[1]}"', "declined"),
        ("name = 'models.{}'.format(sys.argv[1])", "name", "declined"),
        ("", '"json"', "patched"),
        ("", '"models.layers"', "declined"),
        ("name = 'models.layers'", "name", "declined"),
        ('layer = "models.layers.Net"', "layer[:-4]", "declined"),
    ):
        script = text.replace("{way}", way).replace("{name}", name)
        assert (
            patch(script, ["mixed_precision"], Wishes(), tmp_path / "train.py", tmp_path).outcome == outcome
        )


def test_where_nothing_names_a_module_those_beside_the_file_are_read(tmp_path: Path):
    text = TRAIN.replace("from {module} import Net", "import importlib").replace(
        "Net()", "importlib.import_module(args.arch).Net()"
    )
    (tmp_path / "layers.py").write_text(MODEL.format(expression="torch.fft.rfft(x).abs()"))
    assert patch(text, ["mixed_precision"], Wishes(), tmp_path / "train.py", tmp_path).outcome == "declined"


@pytest.mark.parametrize(("sign", "outcome"), [("README.md", "declined"), ("notes.txt", "patched")])
def test_a_copy_of_a_repository_without_git_is_read_from_its_root(tmp_path: Path, sign, outcome):
    (tmp_path / sign).touch()
    (tmp_path / "utils").mkdir()
    (tmp_path / "utils" / "layers.py").write_text(MODEL.format(expression="torch.fft.rfft(x).abs()"))
    path = tmp_path / "tools" / "train.py"
    result = patch(TRAIN.format(module="utils.layers"), ["mixed_precision"], Wishes(), path)
    assert result.outcome == outcome


@pytest.mark.parametrize(
    ("body", "seen"), [("tensor.cpu().numpy()", "show(out.float())"), ("tensor.cpu()", "show(out)")]
)
def test_what_another_file_makes_an_array_of_is_cast_behind_the_region(tmp_path: Path, body, seen):
    (tmp_path / "plots.py").write_text(f"def show(tensor):\n    return {body}\n")
    (tmp_path / "layers.py").write_text(MODEL.format(expression="x"))
    text = TRAIN.format(module="layers").replace("net(x.cuda()), y.cuda()", "out, y.cuda()")
    text = text.replace("    loss =", "    out = net(x.cuda())\n    loss =")
    text = text.replace("import torch\n", "import torch\nfrom plots import show\n") + "    show(out)\n"
    result = patch(text, ["mixed_precision"], Wishes("bf16"), tmp_path / "train.py")
    assert f"    {seen}\n" in result.text


def test_gradients_that_another_file_names_are_exchanged_without_a_scaler(tmp_path: Path):
    (tmp_path / "layers.py").write_text(MODEL.format(expression="x"))
    (tmp_path / "mpi.py").write_text(
        "def flat(model, mode):\n    name = 'data' if mode == 'weights' else 'grad'\n"
        "    return [getattr(p, name) for p in model.parameters()]\n\n\n"
        "def average(model):\n    comm.Allreduce(flat(model, 'gradients'))\n"
    )
    text = TRAIN.format(module="layers").replace("import torch\n", "import torch\nfrom mpi import average\n")
    text = text.replace("    optimizer.step", "    average(net)\n    optimizer.step")
    result = patch(text, ["mixed_precision"], Wishes("fp16"), tmp_path / "train.py")
    assert [s.reason_code for s in result.sites] == ["gradients_exchanged"]


def test_a_function_that_returns_what_it_gives_itself_ends(tmp_path: Path):
    setup = (
        "\ndef load(path):\n    return other(path)\n\n\n"
        "def other(path):\n    return load(path)\n\n\nnet, rate = load('a')\n"
    )
    (tmp_path / "layers.py").write_text(MODEL.format(expression="x"))
    text = TRAIN.format(module="layers").replace("\nnet = Net().cuda()\n", setup)
    result = patch(text, ["mixed_precision"], Wishes(), tmp_path / "train.py")
    assert result.outcome == "patched"


TRAINER = """import torch


def train(model, optimizer, loader):
    for x in loader:
        optimizer.zero_grad()
        loss = model(x).mean()
        loss.backward()
        optimizer.step()
"""


def test_what_lies_beside_a_repository_hands_it_nothing(tmp_path: Path):
    """Also where its root is a package, so that imports of it by name start above it."""
    mine, other = tmp_path / "mine", tmp_path / "other"
    for folder in (mine / ".git", other):
        folder.mkdir(parents=True)
    (mine / "__init__.py").touch()
    (mine / "train.py").write_text(TRAINER)
    giver = "from train import train\nfrom torch.nn import DataParallel, Linear\n\nnet = DataParallel(Linear(1, 1))\n"
    (other / "main.py").write_text(giver)
    result = patch(TRAINER, ["mixed_precision"], Wishes("bf16"), mine / "train.py")
    assert [s.reason_code for s in result.sites] == ["autocast"]
    (mine / "main.py").write_text(giver)
    result = patch(TRAINER, ["mixed_precision"], Wishes("bf16"), mine / "train.py")
    assert "replica_dtype" in [s.reason_code for s in result.sites]


MAKER = """import torch


def make(net, milestones):
    scheduler = torch.optim.lr_scheduler.MultiStepLR({stepped}, milestones) if milestones else None
    return torch.optim.SGD(net.parameters(), lr=0.1), {second}
"""


@pytest.mark.parametrize(
    ("second", "outcome"), [("scheduler", "patched"), ("Stepper(net)", "declined"), ("*more", "declined")]
)
def test_a_scheduler_is_known_where_another_file_gives_it_beside_the_optimizer(tmp_path, second, outcome):
    (tmp_path / "maker.py").write_text(MAKER.format(stepped="optimizer", second=second))
    text = """import torch
from maker import make
net = torch.nn.Linear(2, 1).cuda()
optimizer, scheduler = make(net, [3])
for x, y in data:
    optimizer.zero_grad()
    loss = torch.nn.functional.mse_loss(net(x.cuda()), y.cuda())
    loss.backward()
    optimizer.step()
scheduler.step()
"""
    assert patch(text, ["mixed_precision"], Wishes("fp16"), tmp_path / "train.py").outcome == outcome


@pytest.mark.parametrize(
    ("files", "module", "outcome"),
    [
        # the checkout is the package, and a README shows its root
        ({"README.md": "", "layers.py": "{}", "examples/train.py": ""}, "project.layers", "declined"),
        # nothing shows a root: the parent folder is where it is run from
        ({"layers.py": "{}", "train.py": ""}, "project.layers", "declined"),
        ({"layers.py": "{}", "steps/train.py": ""}, "project.layers", "declined"),
        ({"lib/layers.py": "{}", "train.py": ""}, "project.lib.layers", "declined"),
        (
            {"__init__.py": "from project.layers import Net", "layers.py": "{}", "train.py": ""},
            "project",
            "declined",
        ),
        ({"layers.py": "{}", "train.py": ""}, "other.layers", "patched"),
        # what lies beside a repository is others' work, whatever it is called
        ({".git/HEAD": "", "../layers.py": "{}", "train.py": ""}, "work.layers", "patched"),
    ],
)
def test_a_name_that_begins_with_a_folder_around_the_script_means_what_lies_in_it(
    tmp_path: Path, files, module, outcome
):
    folder = tmp_path / "work" / "project"
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text.format(MODEL.format(expression="torch.fft.rfft(x).abs()")))
    path = next(folder.rglob("train.py"))
    assert patch(TRAIN.format(module=module), ["mixed_precision"], Wishes(), path).outcome == outcome
    if outcome == "declined":  # outside of the workspace it is not read
        result = patch(TRAIN.format(module=module), ["mixed_precision"], Wishes(), path, path.parent)
        assert result.outcome == ("patched" if path.parent != folder else "declined")


@pytest.mark.parametrize(
    ("line", "lost"),
    [
        ("from .gone import Net", ".gone"),
        ("from . import gone", ".gone"),
        ("from lib.gone import Net", "lib.gone"),
        ("import lib.gone", "lib.gone"),
        ("from helpers.gone import Net", "helpers.gone"),
        ("from lib import there", None),
        ("from lib.compiled import Net", None),
        ("from . import helpers", None),
        ("from .lib import there", None),
        ("from helpers import gone", None),
        ("from elsewhere.gone import Net", None),  # a package that is installed
        ("from data.gone import Net", None),  # a folder without code
        ("try:\n    from lib.gone import Net\nexcept ImportError:\n    Net = None", None),
    ],
)
def test_an_import_of_the_project_that_is_not_found_is_said(tmp_path: Path, line, lost):
    for name in ("helpers.py", "lib/there.py", "lib/compiled.cpython-312.so", "data/train.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    text = TRAIN.replace("from {module} import Net", line).replace("Net()", "torch.nn.Linear(2, 2)")
    result = patch(text, ["mixed_precision"], Wishes(), tmp_path / "train.py", tmp_path)
    assert result.outcome == "patched"
    assert [w.partition(" was not found")[0] for w in result.warnings] == (
        [f"line 2: {lost}"] if lost else []
    )


@pytest.mark.parametrize(("name", "outcome"), [("__main__", "patched"), ("layers", "declined")])
def test_what_a_file_runs_only_when_it_is_started_is_not_reached(tmp_path: Path, name, outcome):
    unsafe = MODEL.format(expression="torch.fft.rfft(x).abs()").replace("Net", "Other")
    safe = MODEL.format(expression="x.tanh()")
    (tmp_path / "layers.py").write_text(
        f"{safe}\n\n{unsafe}\n\nif __name__ == '{name}':\n    print(Other())\n"
    )
    path = tmp_path / "train.py"
    assert patch(TRAIN.format(module="layers"), ["mixed_precision"], Wishes(), path).outcome == outcome


SCORER = """import torch
import torch.nn.functional as F


class Base(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.inherited = torch.nn.BCELoss()


class Scorer(Base):
    def __init__(self):
        super().__init__()
        self.layer, self.entropy = torch.nn.Linear(4, 4), F.binary_cross_entropy
        self.logits = torch.nn.BCEWithLogitsLoss()
        self.loss = torch.nn.BCELoss()
        self.chosen = torch.nn.BCELoss() if FLAG else torch.nn.CrossEntropyLoss()

    def forward(self, x):
        return torch.sigmoid(self.layer(x))
"""
SCORING = """import torch
from scorer import Base, Scorer

class Own(Base):
    def score(self, p, y):
        return self.inherited(p, y)

class Trainer:
    def __init__(self):
        self.model = Scorer().cuda()

    def fit(self, data):
        optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)
        for x, y in data:
            optimizer.zero_grad()
            p = self.model(x)
            loss = self.model.{loss}(p, y)
            loss.backward()
            optimizer.step()

model, own = {made}.cuda(), Own().cuda()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for x, y in data:
    optimizer.zero_grad()
    p = model(x)
    loss = {call}(p, y)
    loss.backward()
    optimizer.step()
"""


@pytest.mark.parametrize(
    ("loss", "made", "call", "count", "code"),
    [
        ("loss", "Scorer()", "model.loss", 2, "patched"),
        ("entropy", "Scorer()", "model.entropy", 2, "patched"),
        ("inherited", "Scorer()", "model.inherited", 2, "patched"),
        ("loss", "torch.nn.DataParallel(Scorer())", "model.module.loss", 2, "patched"),
        ("logits", "Scorer()", "model.logits", 0, "patched"),
        ("logits", "Scorer()", "own.score", 1, "patched"),
        ("logits", "Scorer()", "model.chosen", 0, "bce_in_expression"),
    ],
)
def test_a_binary_cross_entropy_that_a_model_of_another_file_holds(
    tmp_path: Path, loss, made, call, count, code
):
    (tmp_path / "scorer.py").write_text(SCORER)
    text = SCORING.format(loss=loss, made=made, call=call)
    result = patch(text, ["mixed_precision"], Wishes(), tmp_path / "train.py", tmp_path)
    assert (result.sites[0].reason_code if result.outcome == "declined" else result.outcome) == code
    assert result.text.count("enabled=False):\n") - ("def amp_float32" in result.text) == count


@pytest.mark.parametrize(
    ("dtype", "outcome"),
    [("float64", "patched"), ("double", "patched"), ("int64", "patched"), ("float32", "declined")],
)
def test_an_assertion_of_what_autocast_never_changes_is_no_reason(tmp_path: Path, dtype, outcome):
    model = MODEL.format(
        expression=f"x\n\n    def check(self, x):\n        assert x.dtype == torch.{dtype}\n"
    )
    (tmp_path / "layers.py").write_text(model)
    text = TRAIN.format(module="layers").replace("    loss.backward", "    net.check(y)\n    loss.backward")
    assert patch(text, ["mixed_precision"], Wishes(), tmp_path / "train.py", tmp_path).outcome == outcome
