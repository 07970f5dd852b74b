"""Functions that run in fp32 inside a patched script: nothing half gets in, and every way to them is reached."""

import subprocess
import sys
from pathlib import Path

import pytest
from optimizing_resources.tools.apply_amp_patch.codemod import patch
from optimizing_resources.tools.apply_amp_patch.context import Wishes

TRAIN = """import torch
{imports}
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
{setup}
net = {net}.to(device)
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
for x, y in data:
    optimizer.zero_grad()
    out = net(x)
    {loss}
    loss.backward()
    optimizer.step()
"""
NET = """import torch
from {module} import {name}


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = torch.nn.Linear(16, 16), torch.nn.Linear(16, 4)
        {init}

    def forward(self, x):
        return self.last({call})
"""
KNN = """import functools
import torch


def knn(x, k=3):
    inner = -2 * torch.matmul(x, x.transpose(1, 0))
    xx = torch.sum(x ** 2, dim=1, keepdim=True)
    return (-xx - inner - xx.transpose(1, 0)).topk(k, dim=-1)[1]


{more}
"""
WHITEN = """import torch


{decorator}
class Whiten(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.w = torch.nn.Linear(16, 16)

    def forward(self, x):
        h = self.w(x)
        return x @ torch.linalg.inv(h.t() @ h + torch.eye(16))

    {more}
"""
SCORE = """def score(p):
    {body}
"""
LOG = "torch.log(1 - torch.tanh({}).pow(2) + 1e-6).mean()"


def patched(folder: Path, files: dict[str, str], **parts: str):
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    parts = {
        "imports": "from model import Net",
        "setup": "",
        "net": "Net()",
        "loss": "loss = torch.nn.functional.mse_loss(out, y)",
        **parts,
    }
    return patch(TRAIN.format(**parts), ["mixed_precision"], Wishes(), folder / "train.py", folder)


def code_of(result) -> str:
    return result.sites[0].reason_code if result.outcome == "declined" else result.outcome


def with_knn(name="knn", call="self.first(x)[knn(x)].mean(1)", more="", init="pass", module="layers"):
    net = NET.format(module=module, name=name, call=call, init=init)
    return {"model.py": net, "layers.py": KNN.format(more=more)}


def test_a_function_is_set_where_it_is_defined_and_where_it_was_imported_to(tmp_path: Path):
    text = patched(tmp_path, with_knn()).text
    assert "amp_layers.knn = amp_float32(amp_layers.knn)" in text
    assert "amp_model.knn = amp_float32(amp_model.knn)" in text


@pytest.mark.parametrize(
    "parts",
    [
        {
            "name": "knn as near",
            "call": "self.first(x)[near(x)].mean(1)",
            "more": "def two(x):\n    return knn(x)",
        },
        {"name": "knn, WAYS", "more": "WAYS = {'knn': knn}"},
        {"name": "knn, near", "more": "near = functools.partial(knn, k=4)"},
        {"name": "near", "call": "self.first(x)[near(x)].mean(1)", "more": "near = knn"},
        {"name": "knn, find", "more": "def find(x, how=knn):\n    return how(x)"},
        {"init": "pass\n\n    how = staticmethod(knn)"},
        {"more": "knn = torch.jit.script(knn)"},
    ],
)
def test_a_copy_taken_at_import_is_not_reached_so_the_script_is_declined(tmp_path: Path, parts):
    assert code_of(patched(tmp_path, with_knn(**parts))) == "cancellation"


@pytest.mark.parametrize(("body", "code"), [("t * 2", "patched"), ("knn(t)", "cancellation")])
def test_what_torchscript_compiles_by_itself_stands_in_nobodys_way(tmp_path: Path, body, code):
    files = with_knn(more=f"@torch.jit.script\ndef soft(t):\n    return {body}\n")
    assert code_of(patched(tmp_path, files)) == code


def test_a_module_named_like_its_package_has_one_name(tmp_path: Path):
    files = {f"layers/{n}": t for n, t in with_knn(module="layers.layers").items()}
    files["layers/__init__.py"] = "from layers.model import Net\n"
    text = patched(tmp_path, files, imports="from layers import Net").text
    assert "amp_layers_layers_module.knn = amp_float32(amp_layers_layers_module.knn)" in text


def test_a_package_whose_function_hides_its_module_is_declined(tmp_path: Path):
    files = {f"pkg/{name}": text for name, text in with_knn(module=".knn").items() if name == "model.py"}
    files |= {"pkg/__init__.py": "from .knn import knn\n", "pkg/knn.py": KNN.format(more="")}
    assert code_of(patched(tmp_path, files, imports="from pkg.model import Net")) == "cancellation"


@pytest.mark.parametrize(
    ("parts", "net", "code"),
    [
        ({}, "Net()", "patched"),
        ({"decorator": "@registry.register_module()"}, "Net()", "patched"),
        ({"decorator": "@wrapped"}, "Net()", "linear_algebra"),
        ({"more": "encode = forward"}, "Net()", "linear_algebra"),
        ({}, "torch.jit.script(Net())", "linear_algebra"),
    ],
)
def test_a_method_is_set_on_a_class_that_is_what_it_seems(tmp_path: Path, parts, net, code):
    layers = WHITEN.format(**{"decorator": "", "more": "", **parts})
    net_file = NET.format(module="layers", name="Whiten", init="self.white = Whiten()", call="self.white(x)")
    assert code_of(patched(tmp_path, {"model.py": net_file, "layers.py": layers}, net=net)) == code


def test_modules_of_one_name_and_names_of_the_settings_do_not_meet(tmp_path: Path):
    files = {
        f"{place}.py": WHITEN.format(decorator="", more="").replace("Whiten", name)
        for place, name in (("one/layers", "A"), ("two/layers", "B"), ("float32", "C"))
    }
    imports = "from one.layers import A\nfrom two.layers import B\nfrom float32 import C"
    text = patched(
        tmp_path, files, imports=imports, net="torch.nn.Sequential(A(), B(), C(), torch.nn.Linear(16, 4))"
    ).text
    set_ = [line.split(" = ")[0] for line in text.splitlines() if ".forward = amp_float32(" in line]
    assert len({name.split(".")[0] for name in set_} - {"amp_float32"}) == 3


@pytest.mark.parametrize(
    ("body", "loss", "code"),
    [
        (f"return {LOG.format('p')}", "loss = score(out)", "patched"),
        ("return -torch.log(1 - p).mean()", "loss = score(torch.sigmoid(out))", "patched"),
        (
            f"z = p.rsample()\n    return {LOG.format('z')}",
            "loss = score(torch.distributions.Normal(out, 1))",
            "probabilities",
        ),
        (f"z = p()\n    return {LOG.format('z')}", "loss = score(lambda: out)", "probabilities"),
        (f"return {LOG.format('getattr(p, chr(109))')}", "loss = score(State(out))", "probabilities"),
        (
            "return inner(p)\n\ndef inner(q):\n    return " + LOG.format("q.m"),
            "loss = score(State(out))",
            "probabilities",
        ),
        ("return " + LOG.format("p.get()"), "loss = score(State(out))", "probabilities"),
        (
            "v = p.view(-1)\n    v.mul_(2)\n    return " + LOG.format("v"),
            "loss = score(out)",
            "probabilities",
        ),
        (
            "torch.nn.functional.relu(p, inplace=True)\n    return " + LOG.format("p"),
            "loss = score(out)",
            "probabilities",
        ),
        ("return torch.stft(p, 8).abs().log().mean()", "loss = score(out)", "patched"),
        ("return torch.stft(p, 8).abs()", "loss = (basis @ score(out)).mean()", "fft_or_complex"),
        ("return torch.logdet(p)", "loss = score(out.t() @ out)", "linear_algebra"),
        ("return torch.logdet(p.t() @ p)", "loss = score(out)", "patched"),
    ],
)
def test_what_was_rounded_before_is_not_mended_by_a_cast(tmp_path: Path, body, loss, code):
    result = patched(
        tmp_path, {}, imports="", setup=SCORE.format(body=body), net="torch.nn.Linear(16, 4)", loss=loss
    )
    assert code_of(result) == code


SQUARE = """import torch


class Square(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        {change}
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return (2 * x * g).clamp(-1, 1)
"""


@pytest.mark.parametrize(
    ("change", "code"), [("pass", "patched"), ("x.data.clamp_(-1, 1)", "custom_function")]
)
def test_a_function_that_changes_what_it_is_given_takes_no_copy(tmp_path: Path, change, code):
    net = NET.format(module="layers", name="Square", call="Square.apply(self.first(x))", init="pass")
    assert code_of(patched(tmp_path, {"model.py": net, "layers.py": SQUARE.format(change=change)})) == code


MEMORY = """import torch


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.w, self.memory, self.kept = torch.nn.Linear(16, 4), torch.nn.Linear(16, 4), {kept}

    def forward(self, x):
        return self.w(x)

    def score(self, x):
        a = torch.tanh({read})
        return torch.log(1 - a.pow(2) + 1e-6).mean()


STATES = []
"""


@pytest.mark.parametrize(
    ("kept", "read", "stored", "code"),
    [
        ("torch.zeros(1)", "self.kept", "pass", "patched"),
        ("torch.zeros(1)", "self.kept", "net.kept = out", "probabilities"),
        ("None", "self.memory.last", "net.memory.last = out", "probabilities"),
        ("None", "STATES[-1]", "STATES.append(out)", "probabilities"),
    ],
)
def test_what_is_kept_from_the_forward_pass_may_be_half(tmp_path: Path, kept, read, stored, code):
    net = MEMORY.format(kept=kept, read=read)
    loss = f"{stored}\n    loss = net.score(x) + out.mean()"
    assert code_of(patched(tmp_path, {"model.py": net}, loss=loss)) == code


@pytest.mark.parametrize(
    ("product", "rest"),
    [
        ("p @ p.t()", "s[:, None] + s[None] - 2 * product"),
        ("p @ p.t()", "s[:, None] + s[None] - 2 * product[mask]"),
        ("p", "s[:, None] + s[None] - 2 * torch.bmm(p[None], p.t()[None]).squeeze(0)"),
        ("gram(p)", "s[:, None] + s[None] - 2 * product"),
        ("p @ p.t()", "torch.sqrt(2.0 + 1e-5 - 2.0 * product)"),
    ],
)
def test_a_product_in_a_squared_distance_cancels_in_whatever_shape(tmp_path: Path, product, rest):
    squares = "" if "sqrt" in rest else "s = p.pow(2).sum(dim=1)"
    setup = "def gram(p):\n    return torch.mm(p, p.t())\n\n"
    setup += SCORE.format(body=f"product = {product}\n    {squares}\n    return ({rest}).mean()")
    result = patched(
        tmp_path, {}, imports="", setup=setup, net="torch.nn.Linear(16, 4)", loss="loss = score(out)"
    )
    assert "@amp_float32\ndef score" in result.text


@pytest.mark.parametrize(
    ("setup", "loss"),
    [
        ("", "criterion = score; loss = criterion(out)"),
        ("", "criterion = functools.partial(score); loss = criterion(out)"),
        ("def step(out, loss_fn):\n    return loss_fn(out)\n", "loss = step(out, score)"),
        ("SCORES = {'log': score}\n", "loss = SCORES[name](out)"),
        ("class Loss:\n    def __init__(self):\n        self.how = score\n", "loss = Loss().how(out)"),
    ],
)
def test_a_function_under_another_name_is_read_like_under_its_own(tmp_path: Path, setup, loss):
    body = f"return {LOG.format('p')}"
    parts = {"net": "torch.nn.Linear(16, 4)", "loss": loss.replace("; ", "\n    ")}
    here = patched(tmp_path, {}, imports="import functools", setup=SCORE.format(body=body) + setup, **parts)
    assert "@amp_float32\ndef score" in here.text
    other = {"scores.py": "import torch\n\n\n" + SCORE.format(body=body)}
    there = patched(
        tmp_path, other, imports="import functools\nfrom scores import score", setup=setup, **parts
    )
    assert there.outcome == "declined" or "amp_float32(" in there.text


OPS = """import torch


def far(p):
    return torch.log(1 - torch.sigmoid(p))


class Far:
    def __call__(self, p):
        return far(p)


TABLE = {"far": far}
"""
HOLDER = """import functools
import ops
import torch
from ops import TABLE, Far, far


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.fc, self.way, self.ways = torch.nn.Linear(16, 4), {way}, [far]
        self.register_forward_hook({hook})

    def forward(self, x):
        return {call}
"""


@pytest.mark.parametrize(
    ("way", "call"),
    [
        ("far", "self.way(self.fc(x))"),
        ("functools.partial(far)", "self.way(self.fc(x))"),
        ("lambda p: far(p)", "self.way(self.fc(x))"),
        ("TABLE[0]", "self.way(self.fc(x))"),
        ("getattr(ops, 'f' + 'ar')", "self.way(self.fc(x))"),
        ("Far()", "self.way(self.fc(x))"),
        ("None", "self.ways[0](self.fc(x))"),
        ("None", "torch.utils.checkpoint.checkpoint(far, self.fc(x))"),
        ("hook", "self.fc(x)"),
        ("no", "self.fc(x)"),
    ],
)
def test_what_a_layer_of_another_file_holds_is_read_too(tmp_path: Path, way, call):
    hook = "lambda m, i, o: far(o)" if way == "hook" else "print"
    net = HOLDER.format(way=way if way not in ("hook", "no") else "None", call=call, hook=hook)
    if way == "no":
        net = net.replace(", [far]", ", []")
    result = patched(tmp_path, {"ops.py": OPS, "model.py": net})
    unseen = result.outcome == "patched" and "amp_float32(" not in result.text
    assert unseen == (way == "no")


@pytest.mark.parametrize("imports", ["from pkg import far", "from pkg import *", "import pkg\nfar = pkg.far"])
@pytest.mark.parametrize(
    "loss", ["far(out)", "sum(map(far, [out]))", "torch.utils.checkpoint.checkpoint(far, out)"]
)
def test_a_function_is_read_through_the_packages_that_pass_it_on(tmp_path: Path, imports, loss):
    """And where it is handed to what calls it."""
    files = {
        "pkg/__init__.py": "from .losses import far",
        "pkg/losses/__init__.py": "from .contrastive import score as far",
        "pkg/losses/contrastive.py": "import torch\n\n\n" + SCORE.format(body=f"return {LOG.format('p')}"),
    }
    parts = {"imports": imports, "loss": f"loss = {loss}", "net": "torch.nn.Linear(4, 4)"}
    result = patched(tmp_path, files, **parts)
    assert code_of(result) == "probabilities" or "amp_float32(" in result.text


LOSSES = """import torch


def score(p):
    return torch.log(1 - torch.sigmoid(p)).mean()


class Base:
    def __call__(self, p):
        return score(p)


class Score(Base):
    pass


SCORES = {"one": score, "other": Score}


def get(name):
    return SCORES[name]


def make(name):
    return Score()
"""


@pytest.mark.parametrize(
    "made",
    [
        "Score()",
        "make(name)",
        "get(name)",
        "SCORES[name]",
        "getattr(losses, name)",
        "lambda p: losses.score(p)",
    ],
)
def test_a_loss_of_another_file_is_read_however_it_is_chosen(tmp_path: Path, made):
    """Classes that are no modules too: what calling their objects runs."""
    made = made if made.startswith(("getattr", "lambda")) else f"losses.{made}"
    parts = {"setup": f"criterion = {made}", "loss": "loss = criterion(out)", "net": "torch.nn.Linear(4, 4)"}
    result = patched(tmp_path, {"losses.py": LOSSES}, imports="import losses", **parts)
    assert code_of(result) == "probabilities" or "amp_float32(" in result.text


@pytest.mark.parametrize(
    ("returns", "loss", "code"),
    [
        ("", "loss = criterion(out, y)", "patched"),  # a counter of FLOPs beside the losses, say
        ("", "criterion(out, y); loss = out.mean()", "float64"),
        ("return y", "loss = criterion(out, y)", "float64"),
    ],
)
def test_what_is_chosen_by_name_and_used_gives_something_back(tmp_path: Path, returns, loss, code):
    losses = f"import torch\n\ndef count(x, y):\n    y.ops = torch.DoubleTensor([1])\n    {returns}\n"
    losses += "\ndef squared(x, y):\n    return (x - y).pow(2).mean()\n"
    parts = {"setup": "criterion = getattr(losses, name)", "loss": loss.replace("; ", "\n    ")}
    result = patched(
        tmp_path, {"losses.py": losses}, imports="import losses", net="torch.nn.Linear(4, 4)", **parts
    )
    assert code_of(result) == code


@pytest.mark.parametrize(
    ("setup", "put", "code"),
    [
        ("kept = torch.zeros(8, 4)", "kept[mask] = net(x)", "patched"),
        ("kept = {}", "kept[mask] = net(x)", "in_place_scatter"),
        ("kept = torch.zeros(8)", "kept[mask] = float(net(x).mean())", "patched"),
        ("kept = torch.zeros(8)", "kept[mask] = net(x).mean().item() * 2", "in_place_scatter"),
        ("kept = torch.zeros(8, 4)", "half = net(x); kept[mask] = half[mask]", "patched"),
        ("kept = {}", "half = net(x); kept[mask] = half.detach()", "in_place_scatter"),
    ],
)
def test_only_a_tensor_put_into_a_tensor_takes_its_dtype(tmp_path: Path, setup, put, code):
    loss = f"mask = x[:, 0] > 0; {put}; loss = torch.nn.functional.mse_loss(net(x), y)"
    loss = loss.replace("; ", "\n    ").replace("(net(x), y)", "(kept[mask] + net(x), y)")
    assert (
        code_of(patched(tmp_path, {}, imports="", setup=setup, net="torch.nn.Linear(16, 4)", loss=loss))
        == code
    )


@pytest.mark.slow
def test_the_decorator_casts_what_holds_tensors_and_keeps_signature_and_name(tmp_path: Path):
    result = patched(
        tmp_path,
        {},
        imports="",
        setup=SCORE.format(body=f"return {LOG.format('p')}"),
        net="torch.nn.Linear(16, 4)",
        loss="loss = score(out)",
    )
    head = result.text.split("net = ")[0]
    checks = """
import collections, inspect, pickle
Pair = collections.namedtuple("Pair", "a b")
half = torch.ones(2, 2, dtype=torch.bfloat16)
seen = amp_float32(lambda *values: values)
given = ([half], Pair(half, 1), half.max(1), collections.OrderedDict(a=half), (v for v in [half]), zip([half], [1]))
listed, pair, top, table, made, zipped = seen(*given)
found = [listed[0], pair.a, top.values, table["a"], next(made), next(zipped)[0]]
assert {t.dtype for t in found} == {torch.float32}, found
assert isinstance(pair, Pair) and given[3]["a"] is half and isinstance(table, collections.OrderedDict)
assert list(inspect.signature(score).parameters) == ["p"] and pickle.loads(pickle.dumps(score)) is score
"""
    done = subprocess.run([sys.executable, "-c", head + checks], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


ITERATED = """def orthogonal(q):
    for _ in range(20):
        error = q.t() @ q - torch.eye(4)
        q = q - q @ error / 2
        if error.norm() <= {}:
            break
    return q
"""


@pytest.mark.parametrize(("tolerance", "island"), [("1e-6", True), ("0.1", False)])
def test_a_loop_that_ends_at_a_small_error_runs_in_fp32(tmp_path: Path, tolerance, island):
    result = patched(
        tmp_path,
        {},
        imports="",
        setup=ITERATED.format(tolerance),
        net="torch.nn.Linear(16, 4)",
        loss="loss = orthogonal(out[:4]).sum()",
    )
    assert ("@amp_float32" in result.text) == island


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("(x * x).mean(0) - x.mean(0) ** 2", "cancellation"),
        ("(x * x).mean(0) - x.mean(0)", "patched"),
    ],
)
def test_a_batchs_statistics_as_a_difference_of_means_need_fp32(tmp_path: Path, value, code):
    layer = f"class Norm(torch.nn.Module):\n    def forward(self, x):\n        x = self.one(x)\n        return {value}"
    result = patched(tmp_path, {}, imports="", setup=layer, net="Norm()", loss="loss = out.sum()")
    assert code_of(result) == code


def test_a_static_method_is_found_by_its_class(tmp_path: Path):
    loss = (
        "class Loss:\n    @staticmethod\n    def of(out):\n        return torch.fft.rfft(out).abs().mean()\n"
    )
    result = patched(
        tmp_path, {}, imports="", setup=loss, net="torch.nn.Linear(16, 4)", loss="loss = Loss.of(out)"
    )
    assert "amp_float32(torch.fft.rfft)(out)" in result.text


def test_a_wave_of_times_runs_in_fp32(tmp_path: Path):
    encode = (
        "class Encode(torch.nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.w = torch.nn.Linear({}, 16)\n    def forward(self, t):\n        return torch.cos(self.w(t))\n"
    )
    loss = "loss = (Encode()(x[:, :1]) * net(x)).mean()"
    texts = [
        patched(
            tmp_path, {}, imports="", setup=encode.format(n), net="torch.nn.Linear(16, 16)", loss=loss
        ).text
        for n in (1, 16)
    ]
    assert ["@amp_float32\n    def forward" in text for text in texts] == [True, False]


@pytest.mark.parametrize(
    ("phase", "code"),
    [
        ("torch.cat([x.new_zeros(4), torch.einsum('i,j->ij', x[:, 0], self.f)]).cos()", "@amp_float32"),
        ("torch.sin(2 * torch.pi * x @ self.f)", "@amp_float32"),
        ("(torch.arange(16).type_as(x)[:, None] * self.f).sin()", "@amp_float32"),
        ("torch.sin(self.omega_0 * self.w(x))", "coordinates"),
        ("torch.sin(30 * x)", "coordinates"),
        ("torch.sin(2 * x)", "patched"),
        ("torch.sin(x[:, None] * self.f)", "patched"),
    ],
)
def test_a_wave_of_what_half_precision_rounded_is_declined_or_made_in_fp32(tmp_path: Path, phase, code):
    encode = (
        "class Encode(torch.nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.w, self.f, self.omega_0 = torch.nn.Linear(16, 16), torch.ones(16), 30\n"
        f"    def forward(self, x):\n        return {phase}\n"
    )
    loss = "loss = (Encode()(x) * net(x)).mean()"
    result = patched(tmp_path, {}, imports="", setup=encode, net="torch.nn.Linear(16, 16)", loss=loss)
    assert code_of(result) == ("patched" if code.startswith("@") else code)
    assert ("@amp_float32\n    def forward" in result.text) == code.startswith("@")


@pytest.mark.parametrize("cast", ["x = x.float()", "pass"])
def test_what_switches_autocast_off_and_casts_is_left_to_its_author(tmp_path: Path, cast):
    files = with_knn()
    head = "with torch.autocast('cuda', enabled=False):"
    body = f"    {cast}\n    inner = -2 * torch.matmul(x, x.transpose(1, 0))".replace("\n    ", "\n        ")
    files["layers.py"] = files["layers.py"].replace(
        "    inner = -2 * torch.matmul(x, x.transpose(1, 0))", f"    {head}\n    {body}"
    )
    assert ("amp_float32" in patched(tmp_path, files).text) == (cast == "pass")


def test_a_class_beside_what_a_script_imports_counts_if_its_caller_makes_it(tmp_path: Path):
    files = {
        "layers.py": WHITEN.format(decorator="", more="") + "\n\ndef count(x):\n    return len(x)\n",
        "main.py": "import train\nfrom layers import Whiten\ntrain.run(Whiten())\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    script = (
        "import torch\nfrom layers import count\n\n\ndef run(net):\n"
        "    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)\n    for x, y in data:\n"
        "        optimizer.zero_grad()\n        loss = (net(x) - y).mean()\n"
        "        loss.backward()\n        optimizer.step()\n        print(count(x))\n"
    )
    result = patch(script, ["mixed_precision"], Wishes(), tmp_path / "train.py", tmp_path)
    assert "amp_layers.Whiten.forward = amp_float32(amp_layers.Whiten.forward)" in result.text


def test_a_function_of_a_file_that_only_the_caller_reads_cannot_be_set(tmp_path: Path):
    files = {
        "losses.py": "import torch\nfrom warp import count\nclass Loss(torch.nn.Module):\n"
        "    def forward(self, out, y):\n        return count(out).mean()\n",
        "warp.py": "import torch\ndef count(x):\n    found = torch.zeros(8, 4)\n"
        "    return found.scatter_add_(0, x.long(), x)\n",
        "main.py": "import train\nfrom losses import Loss\ntrain.run(Loss())\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    text = (
        "import torch\n\n\ndef run(given, net, loader, optimizer):\n    for x, y in loader:\n"
        "        optimizer.zero_grad()\n        loss = given(net(x.cuda()), y.cuda())\n        loss.backward()\n"
        "        optimizer.step()\n"
    )
    result = patch(text, ["mixed_precision"], Wishes(), tmp_path / "train.py", tmp_path)
    assert code_of(result) == "in_place_scatter"


@pytest.mark.parametrize(
    ("index", "code"), [("nodes", "in_place_scatter"), ("0", "patched"), ("slice(0, 8)", "patched")]
)
def test_what_a_layer_of_another_file_puts_by_index_has_another_dtype(tmp_path: Path, index, code):
    cell = (
        "import torch\n\n\nclass Net(torch.nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.cell = torch.nn.GRUCell(16, 4)\n        self.kept = torch.nn.Parameter(torch.zeros(8, 4))\n\n"
        "    def forward(self, x, nodes=None):\n        kept = self.kept.data.clone()\n"
        f"        kept[{index}] = self.cell(x, self.kept)\n        return kept\n\n"
        "    def update(self):\n        self.last = self.kept\n        self.kept = self.cell\n"
    )
    assert code_of(patched(tmp_path, {"model.py": cell})) == code


TYPED = """import torch
import torch.nn.functional as F
{imports}

class Net({base}):
    def __init__(self):
        super().__init__()
        self.lin, self.emb = torch.nn.Linear(16, 4), torch.nn.Embedding(16, 4)
        self.lins = torch.nn.ModuleList(torch.nn.Linear(16, 4) for _ in range(3))
        self.w, self.token = torch.nn.Parameter(torch.ones(16, 4)), torch.nn.Parameter(torch.ones(4))
        self.head, self.norm = torch.nn.Sequential(self.lin, torch.nn.ReLU()), torch.nn.LayerNorm(4)

    def {name}(self, x, kind):
        out = torch.zeros(len(x), 4, device=x.device)
        {body}
        return out
    {more}
"""


@pytest.mark.parametrize(
    ("body", "islands"),
    [
        ("mask = kind > 0; out[mask] = self.lin(x[mask])", True),
        ("out[kind == 1] = self.lins[1](x[kind == 1])", True),
        ("for t, lin in enumerate(self.lins): mask = kind == t; out[mask] = lin(x[mask])", True),
        ("i = (kind == 1) & (x[:, 0] > 0); out[i] = torch.bmm(x[i][None], self.w[None])[0]", True),
        ("i = torch.nonzero(kind).squeeze(1); h = x[i] @ self.w; out[i] = torch.relu(h).view(-1, 4)", True),
        ("i = kind.argsort(); h = F.linear(x, self.w.t()); out[i, :] = h * 2 - F.relu(h)", True),
        ("out = x.new_zeros(len(x), 4); mask = kind > 0; out[mask] = self.head(x[mask])", True),
        ("out[~kind.bool()] = F.dropout(self.lin(x), 0.5)[~kind.bool()]", True),
        ("out = self.lin(x); mask = kind > 0; out[mask] = self.token", True),
        ("for i in range(3): out[:, i] = self.lin(x)[:, i]", False),
        ("out[3] = self.lin(x[3])", False),
        ("out[:, 1:3] = self.lin(x)[:, 1:3]", False),
        ("mask = kind > 0; out[mask] += self.lin(x[mask])", False),
        ("mask = kind > 0; out[mask] = self.lin(x[mask]).float()", False),
        ("mask = kind > 0; out[mask] = self.lin(x[mask]).softmax(1)", False),
        ("mask = kind > 0; out[mask] = self.norm(self.lin(x[mask]))", False),
        ("mask = kind > 0; out[mask] = self.emb(kind[mask])", False),
        ("mask = kind > 0; out[mask] = self.lin(x[mask]) + self.token", False),
        ("mask = kind > 0; h = self.lin(x); out = torch.zeros_like(h); out[mask] = h[mask]", False),
        ("mask = kind > 0; h = self.lin(x); out = h.clone(); out[mask] = h[mask] / 2", False),
        ("mask = kind > 0; out = self.lin(x); out[mask] = 0.0", False),
    ],
)
def test_what_a_layer_of_another_file_puts_by_mask_runs_in_fp32(tmp_path: Path, body, islands):
    head, colon, rest = body.partition(": ") if body.startswith("for") else ("", "", body)
    lines = [head + ":", *(f"    {part}" for part in rest.split("; "))] if colon else rest.split("; ")
    layer = TYPED.format(
        imports="", base="torch.nn.Module", name="forward", body="\n        ".join(lines), more=""
    )
    parts = {"imports": "from model import Net", "net": "torch.nn.Sequential(Net(), torch.nn.Linear(4, 4))"}
    setup = "first, last = Net().to(device), torch.nn.Linear(4, 4).to(device)"
    result = patched(
        tmp_path, {"model.py": layer}, **parts, setup=setup, loss="loss = last(first(x, y)).mean()"
    )
    assert result.outcome == "patched"
    assert ("amp_model.Net.forward = amp_float32(amp_model.Net.forward)" in result.text) == islands


def test_what_message_passing_runs_is_weighed(tmp_path: Path):
    layer = TYPED.format(
        imports="from torch_geometric.nn import MessagePassing",
        base="MessagePassing",
        name="message",
        body="mask = kind > 0\n        out[mask] = self.lin(x[mask])",
        more="def forward(self, x, kind):\n        return self.propagate(kind, x=x, kind=kind)",
    )
    setup = "first, last = Net().to(device), torch.nn.Linear(4, 4).to(device)"
    loss = "loss = last(first(x, y)).mean()"
    result = patched(tmp_path, {"model.py": layer}, imports="from model import Net", setup=setup, loss=loss)
    assert result.outcome == "patched"
    assert "amp_model.Net.message = amp_float32(amp_model.Net.message)" in result.text


@pytest.mark.parametrize(
    ("hides", "name", "call"),
    [
        ("import os\ndef choose(n):\n    os.environ['CUDA_VISIBLE_DEVICES'] = n\n", "choose", "choose('3')"),
        (
            "import os\nclass C:\n    def choose(self, n):\n"
            "        os.environ['CUDA_VISIBLE_DEVICES'] = n\ncfg = C()\n",
            "cfg",
            "cfg.choose('3')",
        ),
    ],
)
def test_a_gpu_that_another_file_hides_is_not_asked_for_at_import(tmp_path: Path, hides, name, call):
    imports = f"from model import Net\nfrom gpu import {name}"
    result = patched(tmp_path, {**with_knn(), "gpu.py": hides}, imports=imports, setup=call)
    settings, _, wrapper = result.text.partition("def amp_float32")
    assert "amp_dtype = torch.float16" in settings and "is_available" not in settings
    assert 'GradScaler("cpu"' in settings  # one for "cuda" asks when it is made
    assert "is_available" in wrapper.partition("return run")[0]


def test_a_grid_in_the_dtype_of_a_flow_holds_no_pixels_in_bf16(tmp_path: Path):
    warp = (
        "def grid(b, h, w):\n    x = torch.arange(w).repeat(b, h, 1)\n    y = torch.arange(h).repeat(b, w, 1)\n"
        "    return torch.stack([x, y.transpose(1, 2)], 1)\n\n\ndef warp(x, flow):\n"
        "    at = grid(8, 4, 4){} + flow\n"
        "    return torch.nn.functional.grid_sample(x, at.permute(0, 2, 3, 1))\n"
    )
    chosen = [
        patched(
            tmp_path,
            {},
            imports="",
            setup=warp.format(cast),
            net="torch.nn.Conv2d(2, 2, 1)",
            loss="loss = warp(x, out).mean()",
        ).text
        for cast in (".type_as(flow)", ".float().to(device)")
    ]
    assert ["amp_dtype = torch.bfloat16" in text for text in chosen] == [False, True]


@pytest.mark.parametrize(("elsewhere", "island"), [("pass", True), ("self.kept = self.first(x)", False)])
def test_an_attribute_that_only_the_function_itself_stores_is_fp32(tmp_path: Path, elsewhere, island):
    books = (
        "class Book(torch.nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.register_buffer('kept', torch.zeros(8, 16))\n"
        "        self.first = torch.nn.Linear(16, 16)\n\n    def forward(self, x):\n"
        "        d = (x ** 2).sum(1, keepdim=True) + (self.kept ** 2).sum(1) - 2 * x @ self.kept.t()\n"
        "        self.kept = 0.9 * self.kept + 0.1 * x[:8]\n        return self.kept[d.argmin(1)]\n\n"
        f"    def fill(self, x):\n        {elsewhere}\n"
    )
    net = "torch.nn.Sequential(torch.nn.Linear(16, 16), Book(), torch.nn.Linear(16, 4))"
    result = patched(tmp_path, {}, imports="", setup=books, net=net)
    assert ("@amp_float32\n    def forward" in result.text) == island


POLICY = """import torch
from torch.distributions import Categorical, Normal


class Policy(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.out = torch.nn.Linear(16, 4)

    def forward(self, x):
        {body}


class Squashed(torch.distributions.Distribution):
    def log_prob(self, x):
        return torch.log(1 - x * x + 1e-6)
"""


@pytest.mark.parametrize(
    ("body", "more", "code"),
    [
        ("p = self.out(x).softmax(-1); return Categorical(p).log_prob(p.argmax(1))", "", "patched"),
        ("return Categorical(x).log_prob(x.argmax(1)), self.out(x)", "", "probabilities"),
        ("d = Normal(self.out(x), 1); return d.log_prob(d.rsample())", "", "patched"),
        ("d = Normal(self.out(x), 1); return d.log_prob(d.rsample())", "Squashed()", "probabilities"),
    ],
)
def test_a_policy_of_another_file_forms_what_it_draws_from_in_fp32(tmp_path: Path, body, more, code):
    imports = "import policy"
    loss = "loss = policy.Policy().forward(x).mean() + torch.nn.functional.mse_loss(out, y)"
    files = {"policy.py": POLICY.format(body=body.replace("; ", "\n        "))}
    result = patched(
        tmp_path,
        files,
        imports=imports,
        net="torch.nn.Linear(16, 4)",
        setup=more and f"policy.{more}",
        loss=loss,
    )
    assert code_of(result) == code


def test_what_an_imported_file_puts_on_the_path_is_found(tmp_path: Path):
    (tmp_path / ".git").mkdir()
    wrap = (
        "import torch\n\n\nclass Wrap:\n    def __init__(self, net):\n"
        "        self.model = torch.nn.DataParallel(net)\n"
    )
    files = {
        "config.py": "import sys\nsys.path.insert(0, root + '/common')\n",
        "model.py": "import torch\n\n\nclass Net(torch.nn.Linear):\n    pass\n",
        "common/base.py": wrap,
    }
    (tmp_path / "common").mkdir()
    imports = "import config\nfrom base import Wrap\nfrom model import Net"
    result = patched(tmp_path, files, imports=imports, net="Wrap(Net(8, 4)).model")
    assert "amp_dtype = torch.float16" in result.text


@pytest.mark.parametrize(("factor", "mode"), [("1e3", "bf16 only: 1000.0 * output"), ("10", "amp_scaler")])
def test_a_metric_that_magnifies_what_leaves_autocast_takes_no_fp16(tmp_path: Path, factor, mode):
    metrics = f"class Result:\n    def evaluate(self, output):\n        return ({factor} * output[output > 0]).mean()\n"
    files = {"metrics.py": metrics, "model.py": "import torch\n\n\nclass Net(torch.nn.Linear):\n    pass\n"}
    imports = "from model import Net\nfrom metrics import Result"
    loss = "loss = (out - y).pow(2).mean()\n    Result().evaluate(out.data)"
    result = patched(tmp_path, files, imports=imports, net="Net(16, 4)", loss=loss)
    assert mode in result.text


HEAD = """import torch


class Head(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(3, 3))

    def forward(self, x):
        cosine = torch.mm(x, self.weight).clamp(-1, 1)
        phi = 0.9 * cosine - 0.4 * torch.sqrt(1 - {power})
        low = cosine <= -0.9
        phi[low] = {put}
        return phi
"""


@pytest.mark.parametrize(
    ("power", "put", "island"),
    [
        ("torch.pow(cosine, 2)", "cosine[low]", True),
        ("cosine * cosine", "cosine[low]", False),
        ("cosine**2", "phi[low] * 2", False),
    ],
)
def test_what_autocast_widens_takes_no_half_values_by_a_mask(tmp_path, power, put, island):
    head = HEAD.format(power=power, put=put)
    train = """import torch
{}
net, head = torch.nn.Linear(3, 3).cuda(), Head().cuda()
optimizer = torch.optim.SGD([*net.parameters(), *head.parameters()], lr=0.1)
for x, y in data:
    optimizer.zero_grad()
    loss = torch.nn.functional.cross_entropy(head(net(x.cuda())), y.cuda())
    loss.backward()
    optimizer.step()
"""
    (tmp_path / "layers.py").write_text(head)
    here = patch(train.format(head.removeprefix("import torch")), ["mixed_precision"], Wishes())
    there = patch(
        train.format("from layers import Head"),
        ["mixed_precision"],
        Wishes(),
        tmp_path / "train.py",
        tmp_path,
    )
    assert [r.outcome for r in (here, there)] == ["patched", "patched"]
    assert ["amp_float32" in r.text for r in (here, there)] == [island, island]


def test_a_long_way_back_to_where_a_value_comes_from_is_cut(tmp_path: Path):
    names = [f"way{i}" for i in range(300)]
    chain = "".join(f"{b} = {a}.next\n" for a, b in zip(["first", *names], names, strict=False))
    result = patched(
        tmp_path,
        {},
        imports="import first",
        setup=chain,
        net="torch.nn.Linear(4, 4)",
        loss=f"loss = {names[-1]}(out)",
    )
    assert result.outcome in ("patched", "declined")


@pytest.mark.parametrize("made", ["getattr(nets, name)()", "nets.__dict__[name]()"])
def test_a_model_made_by_name_does_not_run_every_function_of_its_file(tmp_path: Path, made):
    nets = f"import torch\n\n\ndef unused(p):\n    return {LOG.format('p')}\n"
    result = patched(tmp_path, {"nets.py": nets}, imports="import nets", net=made)
    assert result.outcome == "patched" and "amp_float32" not in result.text


VAT = """import torch


class Smooth(torch.nn.Module):
    def __init__(self, xi={xi}):
        super().__init__()
        self.xi = xi

    def forward(self, net, x):
        d = torch.rand(x.shape).to(x.device)
        d.requires_grad_()
        (net(x + self.xi * d) - net(x)).pow(2).mean().backward()
        return (net(x + d.grad / d.grad.norm()) - net(x)).pow(2).mean()
"""


@pytest.mark.parametrize(("xi", "full"), [("1e-6", True), ("10.0", False)])
def test_what_moves_the_input_less_than_half_precision_resolves_runs_in_fp32(tmp_path: Path, xi, full):
    result = patched(
        tmp_path,
        {"vat.py": VAT.format(xi=xi)},
        imports="from vat import Smooth",
        setup="smooth = Smooth()",
        net="torch.nn.Linear(16, 4)",
        loss="loss = out.mean() + smooth(net, x)",
    )
    assert ("amp_vat.Smooth.forward = amp_float32(amp_vat.Smooth.forward)" in result.text) == full
    assert "no fp16 (backward_elsewhere)" in result.warnings[0]


SHAKE = """import torch


class Shake(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, span):
        {work}
        ctx.save_for_backward(x)
        return scale * x @ x

    @staticmethod
    def backward(ctx, grad):
        return grad @ ctx.saved_tensors[0], None


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.last = torch.nn.Linear(4, 4)

    def forward(self, x):
        return self.last(Shake.apply(x, [0, 1]))
"""


@pytest.mark.parametrize(
    ("work", "code"),
    [
        ("scale = torch.empty(1).uniform_(*span)", "patched"),
        ("scale = torch.relu_(span)", "custom_function"),
    ],
)
def test_what_a_new_tensor_is_filled_from_is_not_changed(tmp_path: Path, work, code):
    assert code_of(patched(tmp_path, {"model.py": SHAKE.format(work=work)})) == code
