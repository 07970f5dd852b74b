"""DataParallel with bf16: its threads take the dtype from a hook on the module they copy, or the patch declines."""

import contextlib
import copy
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
HOOKED = "amp_in_replicas("
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
BY_HAND = """import torch


def in_parallel(model, *inputs):
    replicas = {replicas}
    replicas = replicas[:2]
    return torch.nn.parallel.gather(torch.nn.parallel.parallel_apply(replicas, inputs), 0)
"""


def result_of(setup=WRAPPED, imports="", forward="net(x.cuda())", inner="self.layer(x)", end="", **how):
    text = SCRIPT.format(setup=setup, imports=imports, forward=forward, inner=inner, end=end)
    precision, path = how.get("precision", "bf16"), how.get("path")
    return patch(text, ["mixed_precision"], Wishes(precision), path)


def outcome(**parts) -> str:
    """How often a module gets the hook, or the reason of a refusal."""
    result = result_of(**parts)
    if result.outcome == "declined":
        return result.sites[0].reason_code
    hooks = sum(s.reason_code == "replica_dtype" for s in result.sites)
    assert result.text.count(HOOKED) == hooks + bool(hooks)  # and the function itself
    assert any("not from a run on several GPUs" in w for w in result.warnings) == bool(hooks)
    return f"{hooks} hooked"


@pytest.mark.parametrize(
    ("parts", "found"),
    [
        ({"setup": "net = Net().cuda()"}, "0 hooked"),
        ({}, "1 hooked"),
        ({"setup": "net = Net()\nif many:\n    net = nn.DataParallel(net, dim=1).cuda()"}, "1 hooked"),
        ({"setup": "net = nn.parallel.DataParallel(module=Net(), device_ids=[0, 1])"}, "1 hooked"),
        ({"setup": "net, aim = nn.DataParallel(Net()), nn.DataParallel(Net())"}, "2 hooked"),
        ({"setup": WRAPPED + "\nprint(isinstance(net, (nn.DataParallel, Net)))"}, "1 hooked"),
        ({"setup": "net = nn.DataParallel(*[Net()])"}, "data_parallel"),
        ({"setup": "wrap = nn.DataParallel\nnet = wrap(Net())"}, "data_parallel"),
        ({"setup": WRAPPED + "\ndef of(wrap=nn.DataParallel): return wrap(Net())"}, "data_parallel"),
        ({"setup": WRAPPED + "\ndef of(n: nn.DataParallel) -> nn.DataParallel: return n"}, "1 hooked"),
        ({"setup": "net = Net()", "inner": "nn.parallel.data_parallel(self.layer, x, [0, 1])"}, "1 hooked"),
        (
            {"imports": "from kit import MyDataParallel", "setup": "net = MyDataParallel(Net())"},
            "data_parallel",
        ),
        ({"setup": ROUND.format(body="def gather(self, out, device): return out[0]")}, "1 hooked"),
        (
            {"setup": ROUND.format(body="def replicate(self, m, ids): return super().replicate(m, ids)")},
            "1 hooked",
        ),
        (
            {"setup": ROUND.format(body="def replicate(self, m, ids): return [m.copy() for _ in ids]")},
            "data_parallel",
        ),
        ({"setup": ROUND.format(body="parallel_apply = in_turn")}, "data_parallel"),
        (
            {"setup": ROUND.format(body="def forward(self, x): return self.module.forward(x)")},
            "data_parallel",
        ),
    ],
)
def test_every_module_that_is_copied_gets_the_hook_or_none_is_patched(parts, found):
    assert outcome(**parts) == found


@pytest.mark.parametrize(
    ("replicas", "found"),
    [
        ("torch.nn.parallel.replicate(model, [0, 1])", "1 hooked"),
        ("torch.nn.parallel.replicate(model.encoder, [0, 1])", "data_parallel"),
        ("[model, torch.nn.parallel.replicate(model, [0, 1])]", "data_parallel"),
    ],
)
def test_threads_that_another_file_starts_for_the_model_it_is_given(tmp_path: Path, replicas, found):
    (tmp_path / "helpers.py").write_text(BY_HAND.format(replicas=replicas))
    parts = {"imports": "from helpers import in_parallel", "setup": "net = Net()"}
    forward = "(in_parallel(net, x.cuda()) if many else net(x.cuda()))"
    assert outcome(**parts, forward=forward, path=tmp_path / "train.py") == found


@pytest.mark.parametrize(
    ("end", "found"),
    [
        ("torch.save(net.state_dict(), 'net.pt')", "1 hooked"),
        ("state = {'net': net.state_dict()}\nstate['step'] = 3\ntorch.save(state, 'net.pt')", "1 hooked"),
        ("torch.save({'net': net.module.state_dict(), 'loss': loss.item()}, 'net.pt')", "1 hooked"),
        ("best = copy.deepcopy(net)", "1 hooked"),
        ("torch.save(net, 'net.pt')", "data_parallel"),
        ("torch.save(net.module.cpu(), 'net.pt')", "data_parallel"),
        ("state = {}\nstate['net'] = net\ntorch.save(state, 'net.pt')", "data_parallel"),
        ("both = nn.Sequential(net, Net())\ntorch.save(both, 'net.pt')", "data_parallel"),
        ("same = net\npickle.dump([same], file)", "data_parallel"),
        ("def save(model): torch.save(model, 'net.pt')\nsave(net)", "data_parallel"),
        ("def save(model): torch.save(model, 'net.pt')\nsave(net.state_dict())", "1 hooked"),
        ("net.module = Net()", "data_parallel"),
        ("net.parallel_apply = in_turn", "data_parallel"),
        ("class Odd(nn.Module):\n    def __call__(self, x): return self.forward(x)", "data_parallel"),
        ("class Odd(torch.jit.ScriptModule): pass", "data_parallel"),
        ("net._forward_pre_hooks.clear()", "data_parallel"),
        ("torch.onnx.export(net.module, x)", "data_parallel"),
    ],
)
def test_a_hook_that_would_be_saved_lost_or_compiled_is_not_set(end, found):
    assert outcome(end=end, imports="import copy, pickle") == found


def test_a_module_out_of_a_checkpoint_is_not_taken_for_a_number():
    setup = "old = torch.load('old.pt')\nnet = nn.DataParallel(old['net'])\n"
    assert outcome(setup=setup, end="torch.save(old['step'], 'step.pt')") == "1 hooked"
    assert outcome(setup=setup, end="torch.save(old['net'], 'net.pt')") == "data_parallel"


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


def helpers_of_a_patch() -> dict:
    """The functions that a patch puts into a script, run as they stand there."""
    text = result_of().text
    begin, end = text.index("amp_dtype ="), text.index("class Net")
    names: dict = {"torch": pytest.importorskip("torch")}
    exec(text[begin:end], names)
    return names


def test_in_the_threads_of_data_parallel_the_hook_sets_the_dtype(threads):
    torch = pytest.importorskip("torch")
    seen = []

    class Probe(torch.nn.Module):
        def forward(self, x):
            seen.append(torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else None)
            return x

    hooked = helpers_of_a_patch()["amp_in_replicas"](Probe())
    for module in (Probe(), hooked, copy.deepcopy(hooked)):
        for on in (True, False):
            threads(module, on)
    fp16, bf16 = [torch.float16] * 2, [torch.bfloat16] * 2
    assert seen == [*fp16, None, None, *bf16, None, None, *bf16, None, None]


def test_a_hooked_model_keeps_its_keys_and_takes_one_hook():
    torch = pytest.importorskip("torch")
    hook = helpers_of_a_patch()["amp_in_replicas"]
    model = torch.nn.Sequential(torch.nn.Linear(2, 2))
    keys = list(model.state_dict())
    assert hook(hook(model)) is model
    assert list(model.state_dict()) == keys and len(model._forward_pre_hooks) == 1
    usual = torch.get_autocast_dtype("cuda")
    model(torch.ones(2))  # not under autocast, on the main thread
    assert torch.get_autocast_dtype("cuda") == usual != torch.bfloat16


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
