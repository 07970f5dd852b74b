"""A probability that the file forms is formed in fp32; where it is not provable that it does, the patch says so."""

import re
import runpy

import pytest
from optimizing_resources.tools.apply_amp_patch.codemod import patch
from optimizing_resources.tools.apply_amp_patch.context import Wishes

SCRIPT = """import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.distributions import Categorical
{before}

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc, self.sigmoid, self.out = nn.Linear(1, 1, bias=False), nn.Sigmoid(), nn.Linear(1, 1)
        self.body = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Sigmoid())

    def forward(self, x, sure=True):
        {forward}


def first(pair):
    return pair[0]


net = Net()
nn.init.constant_(net.fc.weight, 12.0)
nn.init.constant_(net.body[0].weight, 12.0)
optimizer = torch.optim.SGD(net.parameters(), lr=0.0)
losses, gradients = [], []
for x, y in [(torch.ones(1, 1), torch.zeros(1, 1))]:
    optimizer.zero_grad()
    {loss}
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
    gradients.append([p.grad for p in net.parameters() if p.grad is not None])
{behind}
"""
BCE = "loss = F.binary_cross_entropy({}, y)"
PLAIN = BCE.format("net(x)")


def script(forward="return torch.sigmoid(self.fc(x))", loss=PLAIN, before="", behind=""):
    forward = forward.replace("\n", "\n        ")
    return SCRIPT.format(forward=forward, loss=loss.replace("\n", "\n    "), before=before, behind=behind)


def formed(text: str) -> str:
    """`fp32`, `warned` or the reason why it is declined."""
    result = patch(text, ["mixed_precision"], Wishes("bf16"))
    if result.outcome == "declined":
        return result.sites[0].reason_code
    warned = any("sigmoid before this loss" in w for w in result.warnings)
    assert warned != any(s.reason_code == "fp32_probability" for s in result.sites)
    return "warned" if warned else "fp32"


FORWARDS = {
    "function": "return torch.sigmoid(self.fc(x))",
    "method": "return (self.fc(x) + 0.0).sigmoid()",
    "named": "x = self.fc(x)\nx = torch.sigmoid(x)\nreturn x.view(-1, 1)",
    "attribute": "return self.sigmoid(self.fc(x))",
    "layer": "return self.body(x).view(-1).unsqueeze(1)",
    "branch": "if sure:\n    p = self.body(x)\nelse:\n    p = F.sigmoid(self.fc(x))\nreturn p",
}


@pytest.mark.parametrize("name", FORWARDS)
def test_a_wrong_sample_costs_what_it_should_and_has_a_gradient(name, tmp_path):
    pytest.importorskip("torch")
    results = {}
    for switch in ("before", "off", "on"):
        text = script(FORWARDS[name])
        if switch != "before":
            text = patch(text, ["mixed_precision"], Wishes("bf16")).text
            text = re.sub(r"(?m)^amp_enabled = .*$", f"amp_enabled = {switch == 'on'}", text)
        path = tmp_path / f"{switch}.py"
        path.write_text(text)
        results[switch] = runpy.run_path(str(path))
    assert results["before"]["losses"] == results["off"]["losses"]
    assert str(results["before"]["gradients"]) == str(results["off"]["gradients"])
    assert results["on"]["losses"][0] == pytest.approx(12, rel=0.01)
    assert results["on"]["gradients"][0][0].item() == pytest.approx(1, rel=0.01)
    keys = [list(r["net"].state_dict()) for r in results.values()]
    assert keys[0] == keys[1] == keys[2]


@pytest.mark.parametrize(
    ("parts", "wanted"),
    [
        *(({"forward": forward}, "fp32") for forward in FORWARDS.values()),
        (
            {
                "forward": "h = self.fc(x)\nreturn torch.sigmoid(h), h",
                "loss": "p, _ = net(x)\n" + BCE.format("p"),
            },
            "fp32",
        ),
        (
            {
                "forward": "h = self.fc(x)\nreturn h, torch.sigmoid(h)",
                "loss": "p, _ = net(x)\n" + BCE.format("p"),
            },
            "warned",
        ),
        ({"forward": "return {'p': torch.sigmoid(self.fc(x))}", "loss": BCE.format("net(x)['p']")}, "fp32"),
        ({"forward": "return {'p': torch.sigmoid(self.fc(x))}", "loss": BCE.format("net(x)['q']")}, "warned"),
        ({"loss": BCE.format("first((net(x), x))")}, "fp32"),
        ({"loss": BCE.format("first((net(x), x))"), "behind": "print(map(first, []))"}, "warned"),
        ({"loss": BCE.format("first((net(x), x))"), "behind": "net.pairs.first(y)"}, "warned"),
        (
            {
                "forward": "h = self.fc(x)\nreturn h, torch.sigmoid(h)",
                "loss": "_, p = net(x)\n" + BCE.format("p"),
            },
            "fp32",
        ),
        (
            {
                "forward": "p = self.sigmoid(x)\nfor _ in range(2):\n    q = p\n    p = F.relu(self.out(p))\nreturn q"
            },
            "warned",
        ),
        ({"loss": BCE.format("1 - net(x)")}, "fp32"),
        ({"loss": BCE.format("torch.cat([net(x), net(x)])")}, "fp32"),
        ({"loss": BCE.format("torch.cat([net(x), net.out(x)])")}, "warned"),
        ({"loss": BCE.format("net(x) * x")}, "warned"),
        ({"loss": BCE.format("net(x) @ x")}, "warned"),
        ({"forward": "return self.out(torch.sigmoid(self.fc(x)))"}, "warned"),
        (
            {
                "forward": "p = torch.sigmoid(self.fc(x))\nfor _ in range(2):\n    p = F.relu(self.out(p))\nreturn p"
            },
            "warned",
        ),
        ({"forward": "p = torch.sigmoid(self.fc(x))\np[0] = self.out(x)[0]\nreturn p"}, "warned"),
        ({"forward": "for p in [self.out(x)]:\n    pass\nreturn p"}, "warned"),
        # what gives no probability cannot reach the loss; unless it is bounded by hand
        ({"forward": "p = self.out(x)\nif sure:\n    p = self.sigmoid(p)\nreturn p"}, "fp32"),
        ({"forward": "p = self.out(x)\nif sure:\n    p = self.sigmoid(p)\nreturn p.clamp(0, 1)"}, "warned"),
        # a layer of another class would be in the pickle of the model, or be taken for another
        ({"forward": FORWARDS["layer"], "behind": "torch.save(net, 'net.pt')"}, "warned"),
        ({"forward": FORWARDS["layer"], "behind": "torch.save({'model': net.cpu()}, 'net.pt')"}, "warned"),
        (
            {"forward": FORWARDS["layer"], "behind": "state = {'model': net}\ntorch.save(state, 'net.pt')"},
            "warned",
        ),
        (
            {
                "forward": FORWARDS["layer"],
                "behind": "state = {}\nstate['net'] = net\ntorch.save(state, 'net.pt')",
            },
            "warned",
        ),
        ({"forward": FORWARDS["layer"], "behind": "torch.save(dict(net=net), 'net.pt')"}, "warned"),
        (
            {
                "forward": FORWARDS["layer"],
                "behind": "for i in range(2):\n    torch.save({'step': i, 'net': net.state_dict()}, 'net.pt')",
            },
            "fp32",
        ),
        (
            {
                "forward": FORWARDS["layer"],
                "behind": "h = {'l': []}\nh['l'].append(loss.item())\ntorch.save(h, 'h')",
            },
            "fp32",
        ),
        (
            {"forward": FORWARDS["layer"], "behind": "print([type(m) is nn.Sigmoid for m in net.modules()])"},
            "warned",
        ),
        ({"forward": FORWARDS["function"], "behind": "torch.save(net, 'net.pt')"}, "fp32"),
        (
            {"before": "from models import Net as Other", "loss": "p = Other()(x)\n" + BCE.format("p")},
            "warned",
        ),
    ],
)
def test_only_what_is_provably_formed_here_is_formed_in_fp32(parts, wanted):
    assert formed(script(**parts)) == wanted


POLICY = "h = self.fc(x)\nreturn {}"
DRAW = "d = Categorical({})\nloss = d.log_prob(torch.zeros(1)).mean()"


@pytest.mark.parametrize(
    ("forward", "loss", "wanted"),
    [
        (POLICY.format("F.softmax(h, dim=-1)"), DRAW.format("net(x)"), "patched"),
        (POLICY.format("h.softmax(-1), h"), DRAW.format("probs=net(x)[0]"), "patched"),
        (POLICY.format("h, h.softmax(-1)"), DRAW.format("net(x)[0]"), "probabilities"),
        (POLICY.format("F.softmax(h, dim=-1, dtype=h.dtype)"), DRAW.format("net(x)"), "probabilities"),
        (POLICY.format("F.relu(h)"), DRAW.format("net(x)"), "probabilities"),
        (POLICY.format("h"), DRAW.format("F.softmax(net(x), dim=-1)"), "patched"),
        (POLICY.format("h"), DRAW.format("torch.ones(3).cuda() / 3"), "patched"),
        (POLICY.format("h"), DRAW.format("logits=net(x)"), "patched"),
        (POLICY.format("torch.sigmoid(h)"), "loss = -torch.log(1 - net(x)).mean()", "patched"),
        (POLICY.format("torch.tanh(h)"), "loss = -torch.log(1 - net(x)).mean()", "probabilities"),
        (POLICY.format("torch.sigmoid(h)"), "loss = -net(x).clamp(1e-5, 1 - 1e-5).log().mean()", "patched"),
    ],
)
def test_what_takes_probabilities_that_this_file_forms_is_patched(forward, loss, wanted):
    result = patch(script(forward, loss), ["mixed_precision"], Wishes("bf16"))
    assert (result.sites[0].reason_code if result.outcome == "declined" else result.outcome) == wanted
    assert patch(result.text, ["mixed_precision"], Wishes("bf16")).text == result.text


@pytest.mark.parametrize("lines", range(8))
def test_an_island_stands_inside_of_a_region_of_the_same_lines(lines):
    text = patch(script(before="\n" * lines), ["mixed_precision"], Wishes("bf16")).text
    region, model, island = (text.index(p) for p in ("enabled=amp_enabled)", "= net(x)", "enabled=False)"))
    assert region < model < island


def test_the_log_of_a_sigmoid_is_taken_in_fp32():
    text = patch(script(loss="loss = net(x).log().mean()"), ["mixed_precision"], Wishes("fp16")).text
    assert "torch.sigmoid(self.fc(x).float())" in text


def test_what_forms_a_probability_inside_of_the_loss_moves_with_it():
    loss = "F.binary_cross_entropy(torch.sigmoid(net.fc(x)), y).backward()"
    text = patch(
        script(loss=loss).replace("    loss.backward()\n", "", 1), ["mixed_precision"], Wishes("bf16")
    ).text
    assert text.count("torch.sigmoid(net.fc(x).float())") == 1
    both = "loss = F.binary_cross_entropy(torch.sigmoid(net.fc(x)), y) + F.binary_cross_entropy(net(x), y)"
    text = patch(script(loss=both), ["mixed_precision"], Wishes("bf16")).text
    assert text.count("torch.sigmoid(net.fc(x).float())") == 1 and text.count("self.fc(x).float()") == 1
