"""What real scripts taught about lower precision: each case was patched wrongly once, or would have been."""

from pathlib import Path

import pytest
from optimizing_resources.tools.apply_amp_patch.codemod import patch
from optimizing_resources.tools.apply_amp_patch.context import Wishes

TRAIN = """import torch
{imports}
net = torch.nn.Linear(2, 1).cuda()
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
{setup}
for x, y in data:
    optimizer.zero_grad()
    out = net(x.cuda())
    {middle}
    loss = torch.nn.functional.mse_loss(out, y.cuda())
    loss.backward()
    {before_step}
    optimizer.step()
"""


def result_of(precision="fp16", path=None, **parts):
    parts = {"imports": "", "setup": "", "middle": "pass", "before_step": "pass", **parts}
    return patch(TRAIN.format(**parts), ["mixed_precision"], Wishes(precision), path)


def code_of(precision="fp16", path=None, **parts):
    """The outcome, with the reason where it is a refusal."""
    result = result_of(precision, path, **parts)
    return result.sites[0].reason_code if result.outcome == "declined" else result.outcome


@pytest.mark.parametrize(
    ("parts", "fp16", "bf16"),
    [
        ({}, "patched", "patched"),
        ({"setup": "dtype = torch.float64\ntorch.set_default_dtype(dtype)"}, "float64", "float64"),
        (
            {"imports": "import cherry", "setup": "optimizer = cherry.Distributed(opt=optimizer)"},
            "optimizer_unknown",
            "patched",
        ),
        (
            {"imports": "from opacus import PrivacyEngine", "setup": "engine = PrivacyEngine()"},
            "engine_backward",
            "engine_backward",
        ),
        ({"setup": "vgg = torch.jit.load('vgg.pt')"}, "traced_model", "traced_model"),
        (
            {"imports": "import learn2learn", "setup": "maml = learn2learn.algorithms.MAML(net)"},
            "second_order",
            "patched",
        ),
        (
            {"before_step": "for p, q in zip(net.parameters(), other.parameters()): q.grad = p.grad"},
            "reads_grad",
            "patched",
        ),
        (
            {"before_step": "for p in net.parameters(): p.grad = p.grad.clamp(-1, 1)"},
            "patched",
            "patched",
        ),
        ({"middle": "out[y > 0] = -9999999"}, "fp16_constant", "patched"),
        ({"before_step": "helper.unscale_(optimizer)"}, "partial_amp", "partial_amp"),
        (
            {"setup": "out = torch.nn.parallel.parallel_apply([net], [data[0]])"},
            "patched",
            "data_parallel",
        ),
    ],
)
def test_what_one_file_shows_decides_on_each_precision(parts, fp16, bf16):
    assert code_of("fp16", **parts) == fp16
    assert code_of("bf16", **parts) == bf16


HELPER = """import torch


def inner(out):
    {body}
    return out


def helper(out):
    return inner(out)


class Maker:
    def make(self, net):
        {body}
"""


FOLLOWED = [
    ("torch.autograd.grad(out.sum(), out)", "second_order", "patched"),
    ("torch.nn.DataParallel(out)", "patched", "data_parallel"),
    ("torch.nn.BCELoss()(out, out)", "bce_in_other_file", "bce_in_other_file"),
    ("out.detach().numpy()", "patched", "numpy_of_low_precision"),
    ("out.argmax(1).numpy()", "patched", "patched"),
]


def codes_with_helper(folder: Path, body: str, **parts):
    (folder / "helpers.py").write_text(HELPER.format(body=body))
    (folder / "more.py").write_text("value = 1\n")
    return [code_of(precision, folder / "train.py", **parts) for precision in ("fp16", "bf16")]


@pytest.mark.parametrize(
    "imports", ["from helpers import *\nfrom more import *", "from helpers import helper"]
)
@pytest.mark.parametrize(("body", "fp16", "bf16"), FOLLOWED)
def test_functions_of_other_files_are_followed(tmp_path: Path, imports, body, fp16, bf16):
    found = codes_with_helper(tmp_path, body, imports=imports, middle="out = helper(out)")
    assert found == [fp16, bf16]


@pytest.mark.parametrize(("body", "fp16", "bf16"), FOLLOWED[:2])
def test_classes_of_other_files_are_followed(tmp_path: Path, body, fp16, bf16):
    found = codes_with_helper(tmp_path, body, imports="from helpers import Maker", setup="maker = Maker()")
    assert found == [fp16, bf16]


def test_a_checkpoint_that_is_a_list_gets_no_entry_for_the_scaler():
    named = result_of(setup="states = torch.load('c.pt')\noptimizer.load_state_dict(states['optimizer'])")
    listed = result_of(setup="states = torch.load('c.pt')\noptimizer.load_state_dict(states[1])")
    assert 'states.get("amp_scaler")' in named.text
    assert listed.outcome == "patched" and "states.get" not in listed.text


LINE_SEARCH = """import torch
from search import LineSearch

net = torch.nn.Linear(2, 1).cuda()
optimizer = LineSearch(net.parameters())


def closure():
    optimizer.zero_grad()
    return torch.nn.functional.mse_loss(net(x), y)


loss = closure()
loss.backward()
for i in range(10):
    {step}
    loss.backward()
"""


@pytest.mark.parametrize(
    "step",
    [
        "loss, rate = optimizer.step({'closure': closure})",
        "optimizer.search(closure, loss)\n    loss = closure()",
    ],
)
def test_a_loss_that_an_optimizer_evaluates_by_itself_is_declined(step):
    for precision in ("bf16", "fp16"):
        result = patch(LINE_SEARCH.format(step=step), ["mixed_precision"], Wishes(precision))
        assert [s.reason_code for s in result.sites] == ["closure"]


def test_the_module_torch_optim_may_give_its_name_to_the_optimizer():
    text = TRAIN.replace("optimizer", "optim").format(
        imports="from torch import optim", setup="", middle="pass", before_step="pass"
    )
    result = patch(text, ["mixed_precision"], Wishes("fp16"))
    assert result.outcome == "patched" and "amp_scaler.step(optim)" in result.text


def test_values_that_depend_on_each_other_are_weighed_once_each():
    chain = "\n    ".join(f"v{i + 1} = v{i} + v{i} * v{i}\n    v{i} = v{i + 1}" for i in range(40))
    result = result_of("bf16", before_step=f"v0 = out\n    {chain}\n    shown = v40.numpy()")
    assert "v40.float().numpy()" in result.text
