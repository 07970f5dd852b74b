"""Small differences of large numbers: squared distances, however they are written and wherever they stand."""

from pathlib import Path

import pytest
from optimizing_resources.tools.apply_amp_patch.codemod import patch
from optimizing_resources.tools.apply_amp_patch.context import Wishes

TRAIN = """import torch
import torch.nn.functional as F
{setup}

net = torch.nn.Linear(16, 16).cuda()
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
for x, y in data:
    optimizer.zero_grad()
    out = net(x.cuda())
    loss = {loss}
    loss.backward()
    optimizer.step()
"""
FUNCTION = """
def criterion(x, t):
    {}
"""
HELPERS = "def dots(a, b):\n    return a @ b.t()\n\n\ndef norms(a):\n    return (a * a).sum(1)\n\n"
CLASS = """
class Criterion(torch.nn.Module):
    def pairs(self, x, t):
        {}

    def forward(self, x, t):
        return self.pairs(x, t)
"""


def function(body: str) -> str:
    return FUNCTION.format(body.replace("; ", "\n    "))


def result(setup: str, loss: str = "criterion(out, y.cuda())", folder: Path | None = None):
    path = folder / "train.py" if folder else None
    return patch(TRAIN.format(setup=setup, loss=loss), ["mixed_precision"], Wishes("bf16"), path, folder)


def outcome(found) -> str:
    if found.outcome == "declined":
        return found.sites[0].reason_code
    return "fp32" if "amp_float32(" in found.text or "@amp_float32" in found.text else found.outcome


GRAM = "xx, xt, tt = x @ x.t(), x @ t.t(), t @ t.t(); "
SQUARES = "a, b = x.pow(2).sum(1)[:, None], (t * t).sum(1)[None]; "
DISTANCES = {
    "index": GRAM + "i = torch.arange(len(x)); return (xx[i, i][:, None] + tt[i, i] - 2 * xt).mean()",
    "range": GRAM + "i = range(len(x)); return (xx[i, i][:, None] + tt[i, i] - 2 * xt).mean()",
    "diagonal": GRAM + "return (xx.diag()[:, None] + tt.diagonal() - 2 * xt).mean()",
    "einsum": "a, b = torch.einsum('id,id->i', x, x), torch.einsum('id,id->i', t, t); "
    "return (a[:, None] + b - 2 * torch.einsum('id,jd->ij', x, t)).mean()",
    "trace": GRAM + "return (torch.einsum('ii->i', xx)[:, None] + torch.einsum('ii->i', tt) - 2 * xt).mean()",
    "row_with_itself": "a = x[:, None] @ x[:, :, None]; b = t[:, None].bmm(t[:, :, None]); "
    "return (a[:, 0] + b[:, 0].t() - 2 * x @ t.t()).mean()",
    "baddbmm": SQUARES + "return torch.baddbmm((a + b)[None], x[None], t.t()[None], alpha=-2).mean()",
    "inner": SQUARES + "return (a + b - 2 * torch.inner(x, t)).mean()",
    "linear": SQUARES + "return (a + b - 2 * F.linear(x, t)).mean()",
    "tensordot": SQUARES + "return (a + b - 2 * torch.tensordot(x, t, dims=([1], [1]))).mean()",
    "named": SQUARES + "p = x.mm(t.t()); d = a + b; d = d - 2.0 * p; return d.mean()",
    "scaled": SQUARES + "p = -2 * x.mm(t.t()); return (a + p + b).mean()",
    "mul": SQUARES + "p = torch.mm(x, t.t()).mul_(-2); return (a + p + b).mean()",
    "in_place": SQUARES + "p = torch.mm(x, t.t()); p *= -2; return (a + p + b).mean()",
    "alpha": SQUARES + "p = torch.mm(x, t.t()); return torch.add(a + b, p, alpha=-2).mean()",
    "twice": SQUARES + "p = torch.mm(x, t.t()); return (a + b - p - p).mean()",
    "halves": SQUARES + "p = torch.mm(x, t.t()); return (a / 2 + 0.5 * b - p).mean()",
    "factor": SQUARES + "two = 2 * t; return (a + b - x @ two.t()).mean()",
    "kernel": SQUARES + "p = x @ t.t(); return torch.exp(-0.5 * (a + b - 2 * p)).mean()",
    "square_named": "x2, t2 = x * x, t * t; a, b = x2.sum(1), t2.sum(1); return (a + b - 2 * x @ t.t()).mean()",
    "norms": "a, b = x.norm(dim=1), t.norm(dim=1); return (a[:, None] ** 2 + b**2 - 2 * x @ t.t()).mean()",
    "norm_square": "a = torch.linalg.norm(x, dim=1).square(); return (a[:, None] + a - 2 * x @ x.t()).mean()",
    "weighted": "return (x**2 @ t.t() - 2 * x @ (t * t).t() + (t**3).sum(1)).mean()",
    "sums": "return ((x * x).sum(1) + (t * t).sum(1) - 2 * (x * t).sum(1)).mean()",
    "root": "p = F.normalize(x) @ F.normalize(t).t(); d = 2 - 2 * p; d = d.clamp(min=1); return d.sqrt().mean()",
    "root_of_half": "p = F.normalize(x) @ F.normalize(t).t(); return ((1 - p).clamp(min=1e-6) ** 0.5).mean()",
    "float": SQUARES + "return (a + b - 2 * (x.float() @ t.float().t())).mean()",
}
SIMILARITIES = {
    "dice": "p = x.sigmoid(); return 1 - 2 * (p * t).sum() / ((p * p).sum() + (t * t).sum())",
    "contrast": "s = x @ t.t() / 0.1; return (s.logsumexp(1) - s.diag()).mean()",
    "decay": "s = x @ t.t(); return F.cross_entropy(s, s.argmax(1)) + 0.1 * (x**2).sum(1).mean()",
    "cdist": "return torch.cdist(x, t).mean()",
    "cosine": "return (2 - 2 * (F.normalize(x) * F.normalize(t)).sum(-1)).mean()",
}


@pytest.mark.parametrize("name", DISTANCES)
def test_a_squared_distance_is_computed_in_fp32_however_it_is_written(name):
    assert "@amp_float32\ndef criterion" in result(function(DISTANCES[name])).text


@pytest.mark.parametrize("name", SIMILARITIES)
def test_what_does_not_cancel_stays_under_autocast(name):
    assert outcome(result(function(SIMILARITIES[name]))) == "patched"


@pytest.mark.parametrize("name", ["index", "einsum", "alpha", "norms", "root"])
def test_a_squared_distance_is_found_in_a_class_and_in_another_file(name, tmp_path: Path):
    text = CLASS.format(DISTANCES[name].replace("; ", "\n        "))
    loss = "Criterion()(out, y.cuda())"
    assert "@amp_float32\n    def pairs" in result(text, loss).text
    (tmp_path / "losses.py").write_text("import torch\nimport torch.nn.functional as F\n" + text)
    assert outcome(result("from losses import Criterion", loss, tmp_path)) == "fp32"
    (tmp_path / "losses.py").write_text(
        "import torch\nimport torch.nn.functional as F\n" + function(DISTANCES[name])
    )
    assert outcome(result("from losses import criterion", folder=tmp_path)) == "fp32"


def test_the_parts_of_a_squared_distance_may_come_from_helpers():
    body = "a, b = norms(x)[:, None], norms(t); return (a + b - 2 * dots(x, t)).mean()"
    assert "@amp_float32\ndef criterion" in result(HELPERS + function(body)).text


def test_a_squared_distance_in_the_loop_itself_is_declined():
    loss = "((out * out).sum(1)[:, None] + (y * y).sum(1) - 2 * torch.inner(out, y)).mean()"
    assert outcome(result("", loss)) == "cancellation"
