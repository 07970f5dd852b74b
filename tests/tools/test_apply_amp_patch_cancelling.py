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


CHANCE = "p = x.sigmoid(); "
LABEL = CHANCE + "h = (t > 0.5).to(t.dtype); "
COMPLEMENTS = {
    "same_name": "x = x.sigmoid(); pt = x * t + (1.0 - x) * (1.0 - t); return -pt.log().mean()",
    "focal": CHANCE + "pt = p * t + (1.0 - p) * (1.0 - t); return -((1.0 - pt) ** 2 * pt.log()).mean()",
    "view": CHANCE + "p = p.view(-1); q = 1 - p; return -q.log().mean()",
    "epsilon": CHANCE + "pt = p * t + (1 - p) * (1 - t); return -torch.log(pt + 1e-6).mean()",
    "where": CHANCE + "pt = torch.where(t == 1, p, 1 - p); return -torch.log(pt + 1e-6).mean()",
    "log1p": CHANCE + "return -torch.log1p(-p).mean()",
    "log1p_method": CHANCE + "q = -p; return -q.log1p().mean()",
    "add": CHANCE + "q = -p.add(-1); return -q.log().mean()",
    "neg": CHANCE + "return -p.neg().add(1).log().mean()",
    "rsub": CHANCE + "return -torch.rsub(p, 1).log().mean()",
    "sub": CHANCE + "return -torch.sub(1, p).log().mean()",
    "ones": CHANCE + "return -(torch.ones_like(p) - p).log().mean()",
    "list": CHANCE + "both = [p, 1 - p]; return -sum((b.log() * t).mean() for b in both)",
    "dictionary": CHANCE + "both = {'a': p, 'b': 1 - p}; return -both['b'].log().mean()",
    "abs": CHANCE + "return -(p - 1).abs().log().mean()",
    "power": CHANCE + "q = 1 - p; return -(torch.pow(q, 2) * torch.log(q)).mean()",
    "exponents": LABEL + "return -(p**h * (1 - p) ** (1 - h)).log().mean()",
    "lerp": LABEL + "return -torch.lerp(1 - p, p, h).log().mean()",
    "mask": LABEL + "pt = p.clone(); pt[h == 0] = 1 - p[h == 0]; return -pt.log().mean()",
    "distance": LABEL + "pt = 1 - torch.abs(h - p); return -torch.log(pt + 1e-6).mean()",
    "nll": CHANCE + "both = torch.log(torch.stack([1 - p, p], 1)); return F.nll_loss(both, t.long())",
    "xlogy": CHANCE + "return -torch.xlogy(1 - t, 1 - p).mean()",
    "entropy": CHANCE + "return torch.special.entr(1 - p).mean()",
}
BOUNDED = {
    "logsigmoid": "return -(t * F.logsigmoid(x) + (1 - t) * F.logsigmoid(-x)).mean()",
    "softmax": "p = F.softmax(x, 1); q = 1 - p; return -q.log().mean()",
    "float": "p = x.float().sigmoid(); pt = torch.where(t > 0.5, p, 1 - p); return -pt.log().mean()",
    "margin": "c = F.cosine_similarity(x, t); return torch.log(1 + torch.exp(1 - c)).mean()",
    "mask": "m = torch.eye(16); s = x.exp() * (1 - m); return -torch.log(s + 1).mean()",
    "weight": "keep = t > 0; w = 1 - keep.float(); s = x.exp() * w; return torch.log(s + 1).mean()",
    "prior": "n = (x.exp() - 0.1 * t * 4) / (1 - t); return torch.log(n + 1).mean()",
    "gate": CHANCE + "h = (1 - p) * t + p * x; return F.cross_entropy(h, t)",
}


@pytest.mark.parametrize("name", COMPLEMENTS)
def test_a_probability_whose_rest_of_1_is_logged_is_formed_in_fp32(name):
    assert ".float().sigmoid()" in result(function(COMPLEMENTS[name])).text


@pytest.mark.parametrize("name", BOUNDED)
def test_what_is_in_fp32_already_or_no_probability_stays_as_it_is(name):
    found = result(function(BOUNDED[name]))
    assert outcome(found) == "patched" and ".float().sigmoid()" not in found.text.replace("x.float()", "x", 1)


@pytest.mark.parametrize("name", ["focal", "same_name", "where", "add", "log1p", "rsub", "list", "distance"])
def test_in_another_file_the_function_that_forms_it_runs_in_fp32(name, tmp_path: Path):
    (tmp_path / "losses.py").write_text("import torch\n" + function(COMPLEMENTS[name]))
    assert outcome(result("from losses import criterion", folder=tmp_path)) == "fp32"


@pytest.mark.parametrize("name", ["focal", "where", "add", "log1p", "rsub", "list", "distance"])
def test_in_another_file_a_probability_that_is_handed_in_was_formed_in_half(name, tmp_path: Path):
    given = COMPLEMENTS[name].removeprefix(LABEL).removeprefix(CHANCE).replace("h ", "t ").replace("h)", "t)")
    (tmp_path / "losses.py").write_text("import torch\n" + function(given).replace("(x, t)", "(p, t)"))
    assert outcome(result("from losses import criterion", folder=tmp_path)) == "probabilities"


def test_a_helper_that_takes_the_log_is_followed_to_its_callers():
    helper = "\ndef safe(v):\n    return torch.log(v + 1e-6)\n"
    body = "p = torch.tanh(x); return -safe(1 - p).mean()"
    assert outcome(result(helper + function(body))) == "probabilities"
    assert outcome(result(helper + function(body.replace("1 - p", "2 - p")))) == "patched"


CONTRAST = """p = x * x[[1, 0]].data; p = p.sum(1).div_(0.1).exp_(); \
every = torch.mm(x, x.t().data).div_(0.1).exp_() * mask; total = every.sum(1); \
rest = torch.div(every, total.repeat(x.size(0), 1).t()); rest = -rest.add(-1); rest.log_(); p = torch.div(p, total); \
return rest.sum() - (-p.add(-1)).log_().sum()"""


def test_a_share_that_is_computed_in_place_stays_half_and_its_function_runs_in_fp32(tmp_path: Path):
    """Autocast runs exp, log and sum in fp32, but nothing that works in place."""
    mask = "mask = 1 - torch.eye(64).cuda()\n"
    assert "@amp_float32\ndef criterion" in result(mask + function(CONTRAST)).text
    (tmp_path / "losses.py").write_text("import torch\n" + mask + function(CONTRAST))
    assert outcome(result("from losses import criterion", folder=tmp_path)) == "fp32"


def precisions(body: str) -> tuple[str, str]:
    text = TRAIN.format(setup=function(body), loss="criterion(out, y.cuda())")
    found = [patch(text, ["mixed_precision"], Wishes(kind)) for kind in ("fp16", "bf16")]
    return outcome(found[0]), outcome(found[1])


@pytest.mark.parametrize(
    ("body", "fp16"),
    [
        ("v = torch.mm(x**2, (net.weight**2).t()); return torch.sqrt(v).mean()", "fp16_constant"),
        ("s = net.weight.pow(2); v = F.linear(x.pow(2), s); return (v**0.5).mean()", "fp16_constant"),
        ("v = F.linear(x**2, net.weight**2); return (v + 1e-16).sqrt().mean()", "fp16_constant"),
        ("v = F.linear(x**2, net.weight**2); return (v + 1e-3).sqrt().mean()", "patched"),
        ("v = x**2 @ (t * t).t(); w = v + t**2 @ x.pow(2); return w.log().mean()", "fp16_constant"),
        ("v = F.linear(x**2, net.weight**2) + net.bias**2; return v.sqrt().mean()", "fp16_constant"),
        ("return (x / (t**2 @ x.square().t())).mean()", "fp16_constant"),
        ("return (torch.mm(x, t.t()) ** 2 / 16).sum(1).sqrt().mean()", "patched"),
        ("return torch.mm(x, t.t()).div_(0.07).exp_().sum(1).log().mean()", "fp16_constant"),
        ("s = x @ t.t() / 0.05; return s.exp_().sum(1).log().mean()", "fp16_constant"),
        ("return torch.mm(x, t.t()).div_(0.5).exp_().sum(1).log().mean()", "patched"),
        ("return torch.mm(x, t.t()).div_(0.07).exp().sum(1).log().mean()", "patched"),
        ("std = x.mul(0.5).exp_(); return (std * t).mean()", "patched"),
    ],
)
def test_what_leaves_the_range_of_fp16_before_a_root_or_an_exponential(body, fp16):
    assert precisions(body) == (fp16, "patched")


PREPARED = """import torch


def prepare(x):
    x = 0.05 + 0.9 * x
    return torch.log(x) - torch.log1p(-x)
"""


@pytest.mark.parametrize(
    ("given", "code"), [("x", "patched"), ("net(x)", "probabilities"), ("y.to(0)", "patched")]
)
def test_data_that_no_layer_has_seen_is_in_fp32(given, code, tmp_path: Path):
    (tmp_path / "data.py").write_text(PREPARED)
    text = TRAIN.format(setup="from data import prepare", loss="F.mse_loss(out, y.cuda())")
    text = text.replace(
        "    out = net(x.cuda())", f"    x = x.cuda()\n    x = prepare({given})\n    out = net(x)"
    )
    path = tmp_path / "train.py"
    assert outcome(patch(text, ["mixed_precision"], Wishes("bf16"), path, tmp_path)) == code
