"""What reading the patches of scripts that nobody here had seen before taught: causes, in the smallest form."""

import json
from pathlib import Path

import pytest
from optimizing_resources.tools._core.errors import ToolError
from optimizing_resources.tools.apply_amp_patch.accumulation.helpers import SPLIT
from optimizing_resources.tools.apply_amp_patch.codemod import patch
from optimizing_resources.tools.apply_amp_patch.context import Wishes
from optimizing_resources.tools.apply_amp_patch.source import read_source

TRAIN = """import torch
{imports}
net = {model}.cuda()
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
{setup}
for x, y in data:
    optimizer.zero_grad()
    out = net(x.cuda())
    {middle}
    loss = torch.nn.functional.mse_loss(out, y.cuda())
    loss.backward()
    optimizer.step()
"""
FUNCTION = """import torch


class Scaled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * torch.sigmoid(x)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        s = torch.sigmoid(x)
        return {gradient}


class Net(torch.nn.Module):
    def forward(self, x):
        return Scaled.apply(x)


class Plain(torch.nn.Module):
    def forward(self, x):
        return x
"""
ENGINE = """import torch


def train(model, loader, optimizer):
    for x, y in loader:
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(model(x.cuda()), y.cuda())
        loss.backward()
        optimizer.step()
"""


def outcome(text, precision, path=None, remedies=("mixed_precision",), steps=None):
    result = patch(text, list(remedies), Wishes(precision, steps), path)
    return result.sites[0].reason_code if result.outcome == "declined" else result.outcome


def hooked(text, precision, path):
    """`outcome`, or that the patch tells DataParallel's threads the dtype."""
    result = patch(text, ["mixed_precision"], Wishes(precision), path)
    return "hooked" if "amp_in_replicas)" in result.text else outcome(text, precision, path)


def script(model="torch.nn.Linear(2, 1)", imports="", setup="", middle="pass"):
    return TRAIN.format(model=model, imports=imports, setup=setup, middle=middle)


@pytest.mark.parametrize(
    ("parts", "fp16", "bf16"),
    [
        ({"middle": "out = out.abs().clamp(1e-4, 1.0 - 1e-4)"}, "probabilities", "probabilities"),
        ({"middle": "out = out.abs().clamp(1e-3, 0.999)"}, "patched", "probabilities"),
        ({"middle": "out = out.softmax(1).clamp(1e-4, 0.9999)"}, "patched", "patched"),
        ({"middle": "out = torch.log(1 - out.tanh().pow(2) + 1e-6)"}, "probabilities", "probabilities"),
        (
            {
                "imports": "import torchaudio",
                "setup": "mel = torchaudio.transforms.MelSpectrogram()",
                "middle": "out = out + mel(x)",
            },
            "fft_or_complex",
            "fft_or_complex",
        ),
        (
            {
                "imports": "from warpctc_pytorch import CTCLoss",
                "setup": "ctc = CTCLoss()",
                "middle": "out = out + ctc(out, y)",
            },
            "update_undecidable",
            "patched",  # it runs in fp32
        ),
        (
            {
                "imports": "from warpctc_pytorch import CTCLoss",
                "setup": "class Mine(CTCLoss): pass\nctc = Mine() if data else CTCLoss()",
                "middle": "out = out + ctc(out, y)",
            },
            "custom_function",
            "custom_function",
        ),
        ({"middle": "far = (out**2).sum(1) - 2 * torch.mm(out, out.t())"}, "cancellation", "cancellation"),
        ({"middle": "far = out.pow(2).sum(1) - 2 * out @ out.t()"}, "cancellation", "cancellation"),
        ({"middle": "far = (out * out).sum(1).addmm_(1, -2, out, out.t())"}, "cancellation", "cancellation"),
        (
            {"middle": "far = (out**2).sum(1) - 2 * torch.mm(out.float(), out.t().float())"},
            "cancellation",  # autocast casts what mm takes, whatever it was
            "cancellation",
        ),
        ({"middle": "far = (out**2).sum(1) - 3 * torch.mm(out, out.t())"}, "patched", "patched"),
        ({"middle": "far = out.sum(1) - 2 * torch.mm(out, out.t())"}, "patched", "patched"),
        ({"middle": "out = torch.atan2(out[:, :1], out[:, 1:])"}, "fp16_constant", "patched"),
        ({"middle": "out = torch.atan2(out.float(), out.float() + 1)"}, "patched", "patched"),
        ({"middle": "out = torch.sigmoid(out) * 512"}, "fp16_constant", "patched"),
        ({"middle": "out = torch.sigmoid(out) * 255"}, "patched", "patched"),
        ({"setup": "net.convert_to_fp16()"}, "own_low_precision", "own_low_precision"),
    ],
)
def test_what_half_precision_rounds_away_is_declined(parts, fp16, bf16):
    assert (outcome(script(**parts), "fp16"), outcome(script(**parts), "bf16")) == (fp16, bf16)


@pytest.mark.parametrize(
    ("gradient", "here", "elsewhere"),
    [
        ("grad * (s * (1 + x * (1 - s)))", "patched", "patched"),
        ("grad.neg() * 0.5", "patched", "patched"),
        ("grad @ x", "patched", "patched"),  # its factors may differ in dtype: decorated, elsewhere too
        ("grad * x * x", "patched", "patched"),
        ("grad.clamp(-1, 1)", "custom_function", "custom_function"),
        ("grad + x", "custom_function", "custom_function"),
        ("grad * grad", "custom_function", "custom_function"),
    ],
)
def test_a_function_whose_backward_is_linear_takes_a_scaler(tmp_path: Path, gradient, here, elsewhere):
    text = FUNCTION.format(gradient=gradient)
    one_file = text + script("Net()").removeprefix("import torch\n")
    assert outcome(one_file, "fp16") == here
    (tmp_path / "layers.py").write_text(text)
    imported = script("Net()", "from layers import Net")
    assert outcome(imported, "fp16", tmp_path / "train.py") == elsewhere


@pytest.mark.parametrize(
    ("model", "imports", "code"),
    [
        ("Plain()", "from layers import Plain", "patched"),
        ("layers.Plain()", "import layers", "patched"),
        ("getattr(layers, name)()", "import layers", "custom_function"),
        ("layers.__dict__[name]()", "import layers", "custom_function"),
        ("torch.load('net.pt')", "import layers", "custom_function"),
    ],
)
def test_only_what_the_script_may_make_counts(tmp_path: Path, model, imports, code):
    (tmp_path / "layers.py").write_text(FUNCTION.format(gradient="grad.clamp(-1, 1)"))
    assert outcome(script(model, imports), "fp16", tmp_path / "train.py") == code


def test_data_parallel_around_a_model_handed_in_gets_the_hook(tmp_path: Path):
    path = tmp_path / "engine.py"
    path.write_text(ENGINE)
    assert hooked(ENGINE, "bf16", path) == "patched"
    (tmp_path / "main.py").write_text(
        "import torch\nfrom engine import train\ntrain(torch.nn.DataParallel(Net()), data, optimizer)\n"
    )
    assert hooked(ENGINE, "bf16", path) == "hooked"
    assert hooked(ENGINE, "fp16", path) == "patched"
    own_loss = ENGINE.replace("torch.nn.functional.mse_loss(", "criterion(").replace(
        "    for x, y", "    criterion = torch.nn.MSELoss()\n    for x, y"
    )
    assert hooked(own_loss, "bf16", path) == "hooked"


def test_only_a_file_that_reaches_this_one_may_hand_it_data_parallel(tmp_path: Path):
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "layers.py").write_text("import torch\n")
    path = package / "engine.py"
    path.write_text(ENGINE)
    wraps = "import torch\nfrom package import layers\n{}\nnet = torch.nn.DataParallel(layers.Net())\n"
    (tmp_path / "predict.py").write_text(wraps.format(""))
    assert hooked(ENGINE, "bf16", path) == "patched"
    (tmp_path / "predict.py").write_text(wraps.format("import package\npackage.engine.train(net)"))
    assert hooked(ENGINE, "bf16", path) == "hooked"


def test_a_model_made_here_and_handed_to_its_loss_is_wrapped_by_no_other_file(tmp_path: Path):
    (tmp_path / "main.py").write_text("import torch\nimport train\nnet = torch.nn.DataParallel(Net())\n")
    (tmp_path / "losses.py").write_text("def loss_of(net, x):\n    return net(x).mean()\n")
    path = tmp_path / "train.py"
    text = script(imports="from losses import loss_of").replace(
        "torch.nn.functional.mse_loss(out, y.cuda())", "{}"
    )
    here, given = (
        text.format("loss_of(net, x)"),
        text.format("loss_of(other, x)").replace("net(x.cuda())", "x"),
    )
    assert [hooked(t, "bf16", path) for t in (here, given)] == ["patched", "hooked"]


def test_threads_that_a_layer_of_another_file_starts_get_the_hook(tmp_path: Path):
    forward = "torch.nn.parallel.data_parallel(self.layer, x)"
    layers = f"import torch\n\n\nclass Net(torch.nn.Module):\n    def forward(self, x):\n        return {forward}\n"
    outer = "\n\nclass Outer(torch.nn.Module):\n    def __init__(self):\n        self.net = Net()\n"
    (tmp_path / "layers.py").write_text(layers + outer)
    text, path = script("Outer()", "from layers import Outer"), tmp_path / "train.py"
    assert [hooked(text, p, path) for p in ("bf16", "fp16")] == ["hooked", "patched"]


def test_gradients_that_another_file_copies_are_not_unscaled(tmp_path: Path):
    (tmp_path / "masters.py").write_text(
        "def copy_grads(a, b):\n    for p, q in zip(a, b):\n        q.grad = p.grad.float()\n"
    )
    text = script(imports="import masters").replace(
        "    optimizer.step()", "    masters.copy_grads(net.parameters(), copies)\n    optimizer.step()"
    )
    assert outcome(text, "fp16", tmp_path / "train.py") == "reads_grad"


def test_a_loss_of_values_kept_from_before_is_declined():
    text = """import torch
net = torch.nn.Linear(2, 1).cuda()
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
while True:
    values = kept.pop()
    if not done:
        value = net(state)
        R = value.detach()
    loss = (R - values).pow(2).sum()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
    assert outcome(text, "bf16") == "forward_not_found"
    assert outcome(text.replace("values = kept.pop()", "values = net(x)"), "bf16") == "patched"


def test_a_step_that_no_loss_of_the_file_feeds_is_not_unscaled():
    other = """

class Clipped:
    def step(self):
        torch.nn.utils.clip_grad_norm_(self.params, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
"""
    result = patch(script() + other, ["mixed_precision"], Wishes("auto"))
    assert result.outcome == "patched" and "amp_scaler" not in result.text
    assert outcome(script() + other, "fp16") == "step_elsewhere"


def test_blocks_of_tabs_and_of_spaces_keep_their_own_indentation():
    text = """import torch
net = torch.nn.Sequential(torch.nn.Linear(2, 1), torch.nn.Sigmoid())
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
bce = torch.nn.BCELoss()


def loss_of(out, y):
\tloss = bce(out, y)
\treturn loss


for x, y in data:
    if x is None:
        continue
    optimizer.zero_grad()
    loss = loss_of(net(x), y)
    loss.backward()
    optimizer.step()
"""
    result = patch(text, ["mixed_precision"], Wishes("fp16"))
    assert result.outcome == "patched" and compile(result.text, "train.py", "exec")
    assert "\tloss = " in result.text and "\n    optimizer.zero_grad()" in result.text


@pytest.mark.parametrize(
    ("device", "scaler"),
    [
        ('"cpu"', 'GradScaler("cuda" if torch.cuda.is_available() else "cpu",'),
        (
            'torch.device("cuda" if torch.cuda.is_available() else "cpu")',
            'GradScaler("cuda" if torch.cuda.is_available() else "cpu",',
        ),
    ],
)
def test_fp16_is_never_left_without_a_scaler(device, scaler):
    text = f"""import torch
device = {device}
net = torch.nn.Linear(2, 1).to(device)
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
for x, y in data:
    optimizer.zero_grad()
    loss = torch.nn.functional.mse_loss(net(x.to(device)), y.to(device))
    loss.backward()
    optimizer.step()
"""
    assert scaler in patch(text, ["mixed_precision"], Wishes("fp16")).text


def test_horovod_accumulates_by_its_own_option():
    text = script(imports="import horovod.torch as hvd", setup="hvd.init()")
    assert outcome(text, "auto", remedies=["gradient_accumulation"], steps=4) == "horovod"


def test_arrays_are_split_as_tensors_are():
    numpy = pytest.importorskip("numpy")
    torch = pytest.importorskip("torch")
    scope = {"torch": torch}
    exec("\n".join(SPLIT), scope)
    parts = list(scope["micro_batches"](2, numpy.arange(6), numpy.zeros((6, 2))))
    assert [(len(a), b.shape) for a, b in parts] == [(3, (3, 2)), (3, (3, 2))]


def test_a_notebook_in_python_2_is_refused():
    cells = [{"cell_type": "code", "source": "print 'loss', loss", "metadata": {}, "outputs": []}]
    for version, refused in (("2.7.13", True), ("3.11.7", False)):
        about = {"language_info": {"name": "python", "version": version}}
        raw = json.dumps({"cells": cells, "metadata": about, "nbformat": 4, "nbformat_minor": 2}).encode()
        if refused:
            with pytest.raises(ToolError, match="Python 2"):
                read_source(raw, "train.ipynb")
        else:
            read_source(raw, "train.ipynb")


GUARDED = """import torch
from config import args, new
{top}
net = torch.nn.Linear(2, 1).cuda()
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
scaler = {scaler}
for x, y in data:
    optimizer.zero_grad()
    with {autocast}:
        loss = torch.nn.functional.mse_loss(net(x), y)
    {switch}
    scaler.scale(loss).backward()
    if {flag}:
        scaler.step(optimizer)
    if {flag}:
        scaler.update()
"""


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({}, "patched"),  # both branches or none
        ({"flag": "ready", "switch": "ready = len(x) > 1"}, "partial_amp"),
        ({"switch": "args.fp16 = len(x) > 1"}, "partial_amp"),
        ({"scaler": 'torch.amp.GradScaler("cuda") if new else torch.cuda.amp.GradScaler()'}, "already"),
        ({"top": "from extras import autocast", "autocast": "autocast(True)"}, "patched"),
        ({"autocast": "open('log')"}, "partial_amp"),
        (
            {
                "top": "try:\n    from torch.cuda.amp import GradScaler\n"
                "except ImportError:\n    class GradScaler:\n        pass",
                "scaler": "GradScaler()",
            },
            "patched",  # the class only stands in for what it names
        ),
    ],
)
def test_what_uses_mixed_precision_already(change, wanted):
    """One switch has one value; an old name kept for an old torch stays; another package may autocast."""
    usual = {"top": "", "flag": "args.fp16", "switch": "", "autocast": 'torch.autocast("cuda")'}
    text = GUARDED.format(**{**usual, "scaler": "torch.cuda.amp.GradScaler()", **change})
    assert outcome(text, "auto") == wanted


LEAVES = """import torch
net = torch.nn.Linear(2, 1).cuda()
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
scaler = torch.cuda.amp.GradScaler()


def epoch():
    for i, (x, y) in enumerate(data):
        with torch.cuda.amp.autocast():
            loss = torch.nn.functional.mse_loss(net(x), y)
        scaler.scale(loss).backward()
        if loss > 9:
            scaler.step(optimizer)
            scaler.update()
            {leave}
        if i % 4 == 0:
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
    if {left}:
        scaler.step(optimizer)
        scaler.update()


epoch()
"""


@pytest.mark.parametrize(
    ("leave", "left", "wanted"),
    [
        ("break", "i % 4 != 0", "patched"),
        ("continue", "i % 4 != 0", "patched"),
        ("return", "i % 4 != 0", "patched"),
        ("pass", "i % 4 != 0", "update_undecidable"),
        ("break", "i % 3 != 0", "update_undecidable"),
        ("break", "len(data) > 9", "update_undecidable"),
    ],
)
def test_a_loop_that_is_left_steps_no_second_time(leave, left, wanted):
    assert outcome(LEAVES.format(leave=leave, left=left), "auto") == wanted


def test_a_demonstration_of_gradients_and_an_optimizer_of_a_method():
    """`y.backward()` on a tensor of its own is no forward pass that is missing; `param_groups` marks an optimizer."""
    demo = "x = torch.arange(3.0, requires_grad=True)\n(x + 2).mean().backward()\n"
    assert outcome(script(setup=demo), "auto") == "patched"
    text = script().replace("torch.optim.SGD(net.parameters(), lr=0.1)", "net.configure_optimizers(0.1)")
    text = text.replace("optimizer.zero_grad()", "net.zero_grad()")
    assert outcome(text, "fp16") == "step_elsewhere"
    text += "    optimizer.param_groups[0]['lr'] *= 0.9\n"
    assert "amp_scaler.step(optimizer)" in patch(text, ["mixed_precision"], Wishes("fp16")).text


PAIR = """import torch
a, b = torch.nn.Linear(2, 2).cuda(), torch.nn.Linear(2, 2).cuda()
first, second = torch.optim.SGD(a.parameters(), lr=0.1), torch.optim.SGD(b.parameters(), lr=0.1)
for x in data:
    {before}
    a(x).mean().backward()
    first.step()
    {behind}
    b(a(x)).mean().backward()
    second.step()
    second.zero_grad()
"""


@pytest.mark.parametrize(
    ("before", "behind", "wanted"),
    [
        ("pass", "first.zero_grad()", "update_undecidable"),  # the second backward reaches a as well
        ("first.zero_grad()", "pass", "patched"),
        ("a.zero_grad()", "first.zero_grad()", "patched"),
    ],
)
def test_gradients_do_not_wait_across_an_update_of_the_scale(before, behind, wanted):
    assert outcome(PAIR.format(before=before, behind=behind), "fp16") == wanted
    assert outcome(PAIR.format(before=before, behind=behind), "bf16") == "patched"


@pytest.mark.parametrize(
    ("behind", "cast"),
    [
        ("[o.detach().cpu().numpy() for o in kept]", True),
        ("[t.cpu().numpy() for o, t in zip(kept, y)]", False),
        ("[t.cpu().numpy() for _, t in enumerate(y)]", False),
        ("out = out.max(1)[1]\n    seen = [o.data.numpy() for o in out]", False),
        ("out = out.max(1)[0]\n    seen = [o.data.numpy() for o in out]", False),
        ("image = kept[0]\n    image = y[0]\n    image.numpy()", False),
        ("image = y[0]\n    image = kept[0]\n    image.numpy()", True),
        ("image = kept[0]\n    if y[0]:\n        image = y[0]\n    image.numpy()", True),
    ],
)
def test_what_may_be_half_in_front_of_numpy_is_cast_when_it_is(behind, cast):
    text = script(middle="kept = []\n    kept.append(out)") + f"    {behind}\n"
    result = patch(text, ["mixed_precision"], Wishes("bf16"))
    assert (
        result.outcome == "patched"
        and ("amp_full(o.detach().cpu()).numpy()" in result.text or "amp_full(image).numpy()" in result.text)
        == cast
    )


@pytest.mark.parametrize(("base", "device"), [("torch.nn.Module", "amp_device"), ("object", '"cpu"')])
def test_a_module_that_trains_what_it_holds_may_be_moved_by_its_maker(base, device):
    text = f"""import torch

class Adversarial({base}):
    def __init__(self):
        super().__init__()
        self.critic = torch.nn.Linear(2, 1)
        self.optimizer = torch.optim.Adam(self.critic.parameters())

    def forward(self, fake, real):
        self.optimizer.zero_grad()
        loss = (self.critic(fake) - self.critic(real)).mean()
        loss.backward()
        self.optimizer.step()
"""
    result = patch(text, ["mixed_precision"], Wishes("bf16"))
    assert f"autocast(device_type={device}," in result.text


BRANCHES = """import torch


def train(a, b, {optimizers}, data, warm):
    {setup}
    for x in data:
        first.zero_grad()
        second.zero_grad()
        out = a(x.cuda())
        if warm:
            loss = b(out).mean()
        else:
            loss = {otherwise}.mean()
        loss.backward()
        first.step()
        {step}
"""


@pytest.mark.parametrize(
    ("optimizers", "setup", "otherwise", "step", "wanted"),
    [
        ("first, second", "pass", "out", "second.step()", "update_undecidable"),
        ("first, second", "pass", "b(-out)", "second.step()", "patched"),
        ("first, second", "pass", "out", "if warm: second.step()", "patched"),
        ("first, second", "pass", "out", "pass", "patched"),
        (
            "c",
            "first, second = (torch.optim.SGD(m.parameters(), 0.1) for m in (a, c))",
            "out",
            "pass",
            "patched",
        ),
        (
            "c",
            "first = torch.optim.SGD(a.parameters(), 0.1); second = torch.optim.SGD(c.parameters(), 0.1)",
            "out + c(x)",
            "second.step()",
            "update_undecidable",
        ),
        (
            "c",
            "first = torch.optim.SGD(a.parameters(), 0.1); second = torch.optim.SGD(b.parameters(), 0.1)",
            "b.loss(out)",
            "second.step()",
            "patched",
        ),
    ],
)
def test_an_optimizer_without_gradients_is_not_stepped_by_a_scaler(
    optimizers, setup, otherwise, step, wanted
):
    text = BRANCHES.format(optimizers=optimizers, setup=setup, otherwise=otherwise, step=step)
    assert (outcome(text, "fp16"), outcome(text, "bf16")) == (wanted, "patched")


@pytest.mark.parametrize(
    ("cleared", "fp16"),
    [
        ("optimizer.zero_grad()", "patched"),
        ("[p.grad.zero_() for p in net.parameters()]", "patched"),
        ("net.weight.data.zero_()", "update_undecidable"),
        ("pass", "update_undecidable"),
    ],
)
def test_gradients_that_nothing_clears_are_never_sums_of_two_scales(cleared, fp16):
    text = TRAIN.format(imports="", model="torch.nn.Linear(3, 3)", setup="", middle="pass")
    text = text.replace("optimizer.zero_grad()", "pass").replace(
        "optimizer.step()", f"optimizer.step()\n    {cleared}"
    )
    assert (outcome(text, "fp16"), outcome(text, "bf16")) == (fp16, "patched")


def test_autocast_in_front_of_and_is_not_entered():
    text = TRAIN.format(imports="", model="torch.nn.Linear(3, 3)", setup="", middle="pass")
    block = "with torch.autocast('cuda', torch.bfloat16){} torch.enable_grad():\n        out = net(x.cuda())"
    assert outcome(text.replace("out = net(x.cuda())", block.format(" and")), "bf16") == "partial_amp"
    assert outcome(text.replace("out = net(x.cuda())", block.format(",")), "bf16") == "already"
