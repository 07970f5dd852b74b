"""DataParallel with bf16: its threads take the dtype from a hook on the module they copy, or the patch declines."""

import contextlib
import pickle
from pathlib import Path

import pytest
from optimizing_resources.tools.apply_amp_patch.codemod import patch
from optimizing_resources.tools.apply_amp_patch.context import Wishes

SCRIPT = """import torch
from torch import nn
{imports}


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 1)

    def forward(self, x):
        return {inner}


{setup}
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
for x, y in data:
    optimizer.zero_grad()
    loss = nn.functional.mse_loss({forward}, y.cuda())
    loss.backward()
    optimizer.step()
{end}
"""
WRAPPED = "net = nn.DataParallel(Net())"
HOOKED = "register_module_forward_pre_hook(amp_in_replicas)"
ROUND = "class Round(nn.DataParallel):\n    {body}\n\n\nnet = Round(Net())"
ON_A_CPU = """import torch
from torch import nn

torch.manual_seed(0)
net = nn.DataParallel(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1)))
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
losses = []
for step in range(5):
    x = torch.randn(16, 4)
    optimizer.zero_grad()
    loss = nn.functional.mse_loss(net(x), x[:, :1])
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
"""
BY_HAND = """import kit
import torch


def in_parallel(model, *inputs):
    return torch.nn.parallel.gather({start}, 0)
"""


def result_of(setup=WRAPPED, imports="", forward="net(x.cuda())", inner="self.layer(x)", end="", **how):
    text = SCRIPT.format(setup=setup, imports=imports, forward=forward, inner=inner, end=end)
    precision, path = how.get("precision", "bf16"), how.get("path")
    return patch(text, ["mixed_precision"], Wishes(precision), path)


def outcome(**parts) -> str:
    """Whether the patch sets the hook, or the reason of a refusal."""
    result = result_of(**parts)
    if result.outcome == "declined":
        return result.sites[0].reason_code
    hooked = any(s.reason_code == "replica_dtype" for s in result.sites)
    assert result.text.count(HOOKED) == hooked
    assert any("not from a run on several GPUs" in w for w in result.warnings) == hooked
    return "hooked" if hooked else "patched"


@pytest.mark.parametrize(
    ("parts", "found"),
    [
        ({"setup": "net = Net().cuda()"}, "patched"),
        ({}, "hooked"),
        ({"setup": "net = Net()\nif many:\n    net = nn.DataParallel(net, dim=1).cuda()"}, "hooked"),
        ({"setup": "net = nn.DataParallel(*[Net()])"}, "hooked"),
        ({"setup": "wrap = nn.DataParallel\nnet = wrap(Net())"}, "hooked"),
        ({"setup": "net = Net()\nprint(isinstance(net, (nn.DataParallel, Net)))"}, "patched"),
        ({"setup": "net = Net()\ndef of(n: nn.DataParallel) -> nn.DataParallel: return n"}, "patched"),
        ({"setup": "net = Net()", "inner": "nn.parallel.data_parallel(self.layer, x, [0, 1])"}, "hooked"),
        (
            {"imports": "from kit import MyDataParallel", "setup": "net = MyDataParallel(Net())"},
            "data_parallel",
        ),
        ({"imports": "from kit import *", "setup": "net = DataParallel(Net())"}, "data_parallel"),
        ({"setup": ROUND.format(body="def gather(self, out, device): return out[0]")}, "hooked"),
        (
            {"setup": ROUND.format(body="def replicate(self, m, ids): return [m.copy() for _ in ids]")},
            "hooked",
        ),
        ({"setup": ROUND.format(body="def parallel_apply(self, *a): return Thread(*a)")}, "data_parallel"),
    ],
)
def test_threads_of_torch_are_told_the_dtype_and_others_left_alone(parts, found):
    assert outcome(**parts) == found


@pytest.mark.parametrize(
    ("start", "found"),
    [
        ("torch.nn.parallel.parallel_apply([model, model], inputs)", "hooked"),
        ("kit.parallel_apply([model, model], inputs)", "data_parallel"),
        ("model(*inputs)", "patched"),
    ],
)
def test_threads_that_another_file_starts(tmp_path: Path, start, found):
    (tmp_path / "helpers.py").write_text(BY_HAND.format(start=start))
    parts = {"imports": "from helpers import in_parallel", "setup": "net = Net()"}
    forward = "(in_parallel(net, x.cuda()) if many else net(x.cuda()))"
    assert outcome(**parts, forward=forward, path=tmp_path / "train.py") == found


@pytest.mark.parametrize(
    ("end", "found"),
    [
        ("torch.save(net, 'net.pt')", "hooked"),
        ("net.module = Net()", "hooked"),
        ("class Odd(nn.Module):\n    def __call__(self, x): return self.forward(x)", "data_parallel"),
        ("class Odd(torch.jit.ScriptModule): pass", "data_parallel"),
        ("nn.modules.module._global_forward_pre_hooks.clear()", "data_parallel"),
        ("torch.onnx.export(net.module, x)", "data_parallel"),
    ],
)
def test_a_hook_that_would_be_lost_or_compiled_is_not_set(end, found):
    assert outcome(end=end) == found


def test_fp16_stays_the_choice_where_both_are_possible():
    result = result_of(precision="auto")
    assert "torch.float16" in result.text and HOOKED not in result.text
    result = result_of(precision="auto", forward="net(x.cuda()) * 1e-9")
    assert "torch.bfloat16" in result.text and HOOKED in result.text


class _Accelerator:
    type = "cuda"


@pytest.fixture
def threads(monkeypatch):
    """torch's own parallel_apply without a GPU: its streams and devices do nothing, its threads are real."""
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.accelerator, "current_stream", lambda device: contextlib.nullcontext())
    monkeypatch.setattr(torch.accelerator, "device_index", lambda device: contextlib.nullcontext())
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: _Accelerator)
    monkeypatch.setattr(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False)

    def run(module, on: bool) -> None:
        kept = torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda")
        try:  # what `with torch.autocast("cuda", dtype=torch.bfloat16, enabled=on)` sets where there is a GPU
            torch.set_autocast_enabled("cuda", on)
            torch.set_autocast_dtype("cuda", torch.bfloat16)
            replicas = [module._replicate_for_data_parallel() for _ in range(2)]
            torch.nn.parallel.parallel_apply(replicas, [torch.ones(1)] * 2, devices=[0, 0])
            assert torch.get_autocast_dtype("cuda") == torch.bfloat16
        finally:
            torch.set_autocast_enabled("cuda", kept[0])
            torch.set_autocast_dtype("cuda", kept[1])

    return run


@pytest.fixture
def hook():
    """The hook that a patch puts into a script, set as it stands there."""
    torch = pytest.importorskip("torch")
    text = result_of().text
    begin, end = text.index("amp_dtype ="), text.index("class Net")
    before = dict(torch.nn.modules.module._global_forward_pre_hooks)
    exec(text[begin:end], {"torch": torch})
    yield
    hooks = torch.nn.modules.module._global_forward_pre_hooks
    for new in set(hooks) - set(before):
        del hooks[new]


def test_in_the_threads_of_data_parallel_the_hook_sets_the_dtype(threads, request):
    torch = pytest.importorskip("torch")
    seen = []

    class Probe(torch.nn.Module):
        def forward(self, x):
            seen.append(torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else None)
            return x

    threads(Probe(), on=True)
    request.getfixturevalue("hook")
    for on in (True, False):
        threads(Probe(), on)
    assert seen == [torch.float16] * 2 + [torch.bfloat16] * 2 + [None] * 2
    Probe()(torch.ones(2))  # not under autocast, and on the main thread
    assert torch.get_autocast_dtype("cuda") != torch.bfloat16


def test_a_model_that_is_saved_whole_does_not_hold_the_hook(hook):
    torch = pytest.importorskip("torch")
    assert b"amp_in_replicas" not in pickle.dumps(torch.nn.Linear(2, 2))


def test_switched_off_a_hooked_script_computes_what_it_did():
    pytest.importorskip("torch")
    text = patch(ON_A_CPU, ["mixed_precision"], Wishes("bf16")).text
    before, off, on = (
        {"code": code} for code in (ON_A_CPU, text.replace("amp_enabled = True", "amp_enabled = False"), text)
    )
    for names in (before, off, on):
        exec(names["code"], names)
    assert HOOKED in text and before["losses"] == off["losses"] != on["losses"]
    assert on["losses"] == pytest.approx(before["losses"], rel=0.02)
    assert list(before["net"].state_dict()) == list(off["net"].state_dict()) == list(on["net"].state_dict())
