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
        ({"setup": "torch.autograd.set_detect_anomaly(True)"}, "reads_grad", "patched"),
        ({"setup": "torch.autograd.set_detect_anomaly(False)"}, "patched", "patched"),
        ({"middle": "out = average.lerp_(out, 0.1)"}, "in_place_scatter", "in_place_scatter"),
        ({"middle": "average.lerp_(out.float(), 0.1)"}, "patched", "patched"),
        ({"middle": "out = torch.lerp(out, net(out), 0.1)"}, "patched", "patched"),
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
        ({"middle": "out = out.masked_fill(y > 0, -2 ** 32 + 1)"}, "fp16_constant", "patched"),
        ({"middle": "assert out.dtype == x.dtype"}, "own_low_precision", "own_low_precision"),
        ({"middle": "assert y.dtype == torch.int64"}, "patched", "patched"),
        ({"middle": "out = out * (3 ** 2 + 10 ** 99)"}, "patched", "patched"),
        (
            {"middle": "rows = torch.tensor([0, 1])\n    z[rows] += net(x[rows])"},
            "in_place_scatter",
            "in_place_scatter",
        ),
        ({"middle": "hits = torch.gt(out, y).double().mean()"}, "patched", "patched"),
        ({"middle": "hits = out.max(1)[1].eq(y).double().mean()"}, "patched", "patched"),
        ({"middle": "hits = out.double().mean()"}, "float64", "float64"),
        ({"middle": "ratio = torch.exp(log_prob - old_log_prob)"}, "patched", "patched"),
        (
            {"middle": "ratio = torch.exp(log_prob - old_log_prob) * (x[:, :-1] != 0)"},
            "probabilities",
            "probabilities",
        ),
        (
            {"middle": "adv = y - out[:, 0]\n    weight = torch.exp(3 * adv.detach())"},
            "probabilities",
            "probabilities",
        ),
        ({"middle": "advantages = y\n    weight = torch.exp(3 * advantages)"}, "patched", "patched"),
        ({"middle": "a = 1;"}, "patched", "patched"),
        ({"middle": "angle = torch.atan2(out.data, out.data)"}, "patched", "patched"),
        ({"middle": "out = net(x).cpu()"}, "update_undecidable", "patched"),
        ({"middle": "shown = net(x).detach().cpu()"}, "patched", "patched"),
        (
            {
                "middle": "val, i = torch.topk(out, 1)\n    p = torch.full_like(out, 0)\n    p.scatter_(1, i, val)"
            },
            "patched",
            "patched",
        ),
        ({"middle": "out = flow.inverse(out, y)"}, "patched", "patched"),
        ({"middle": "out = out.index_copy_(0, y, torch.multinomial(out, 1))"}, "patched", "patched"),
        ({"before_step": "helper.unscale_(optimizer)"}, "partial_amp", "partial_amp"),
        (
            {"setup": "out = parallel_apply([net], [data[0]])"},
            "patched",
            "data_parallel",
        ),
    ],
)
def test_what_one_file_shows_decides_on_each_precision(parts, fp16, bf16):
    assert code_of("fp16", **parts) == fp16
    assert code_of("bf16", **parts) == bf16


def test_an_older_policys_probabilities_are_a_warning():
    for ratio in ("torch.exp(log_prob - old_log_prob)", "torch.exp(torch.log(p_a) - torch.log(prob_a))"):
        warnings = result_of("bf16", middle=f"ratio = {ratio}").warnings
        assert any("line 9: it compares probabilities" in w for w in warnings)


@pytest.mark.parametrize(
    ("hook", "code"),
    [("lambda m, i, o: o.double()", "float64"), ("seen", "float64"), ("lambda m, i, o: o * 2", "patched")],
)
def test_a_hook_of_a_forward_pass_runs_under_autocast_too(hook, code):
    setup = f"def seen(m, i, o):\n    return o.double()\n\n\nnet.register_forward_hook({hook})"
    assert code_of("bf16", setup=setup) == code


PENALTY = """class Critic(torch.nn.Module):
    def forward(self, x):
        slope = torch.autograd.grad(self.net(x).sum(), x, create_graph=True)[0]
        slope = slope.view(slope.size(0), -1)
        return {size}
"""


@pytest.mark.parametrize(
    ("size", "outcome"),
    [("(slope.norm(2, dim=1) - 1).pow(2).mean()", "patched"), ("slope + slope.norm()", "second_order")],
)
def test_only_the_size_of_a_gradient_is_a_penalty(size, outcome):
    assert code_of("bf16", setup=PENALTY.format(size=size)) == outcome
    unpacked = PENALTY.replace("slope = torch", "(slope,) = torch").replace("True)[0]", "True)")
    assert code_of("bf16", setup=unpacked.format(size=size)) == outcome


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
    ("MyDataParallel(out)", "patched", "data_parallel"),
    ("torch.nn.BCELoss()(out, out)", "patched", "patched"),
    ("out.half()", "own_low_precision", "own_low_precision"),
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


def test_what_a_class_inherits_from_another_file_counts(tmp_path: Path):
    found = codes_with_helper(
        tmp_path,
        "MyDataParallel(net)",
        imports="from helpers import Maker\n\n\nclass Mine(Maker):\n    pass\n\n",
    )
    assert found == ["patched", "data_parallel"]


TO_ARRAY = "def shown(t):\n    {body}\n    return t\n\n\n"


@pytest.mark.parametrize(
    ("body", "given", "found"),
    [
        ("t = t.detach().cpu().numpy()", "out[0]", "shown(out[0].float())"),
        ("t = t.detach().cpu().numpy()", "y", "shown(y)"),
        ("t = torch.max(t, 1)[1].cpu().numpy()", "out", "shown(out)"),
        ("first = t[0]\n    t = first.numpy()", "out", "numpy_of_low_precision"),
        ("t = t.logits.cpu().numpy()", "out", "numpy_of_low_precision"),
        ("t = t.data.cpu().numpy()", "t=out", "shown(t=out.float())"),
    ],
)
def test_what_a_function_makes_an_array_of_is_fp32(tmp_path: Path, body, given, found):
    here = {"imports": TO_ARRAY.format(body=body), "before_step": f"shown({given})"}
    result = result_of("bf16", **here)
    assert found in (result.text if result.outcome == "patched" else result.sites[0].reason_code)
    (tmp_path / "helpers.py").write_text("import torch\n\n\n" + here["imports"])
    there = code_of("bf16", tmp_path / "train.py", **{**here, "imports": "from helpers import shown"})
    assert there == (found if found == "numpy_of_low_precision" else "patched")


@pytest.mark.parametrize(
    ("package", "value", "found"),
    [
        ("tensorboardX", "out.mean()", "out.mean().float()"),
        ("tensorboardX", "out", "out.float()"),
        ("tensorboardX", "shown", "numpy_of_low_precision"),  # might be a number
        ("tensorboardX", "loss.item()", "loss.item()"),
        ("tensorboard", "out.mean()", "out.mean()"),
    ],
)
def test_a_logger_that_makes_arrays_by_itself_is_given_fp32(package, value, found):
    parts = {"imports": f"from {package} import SummaryWriter", "setup": "log = SummaryWriter()"}
    line = f"log.add_scalar('out', {value}, 1)"
    result = result_of("bf16", **parts, middle="shown = 0\n    shown = out.mean()", before_step=line)
    shown = f"log.add_scalar('out', {found}, 1)"
    assert shown in result.text if result.outcome == "patched" else result.sites[0].reason_code == found


def test_a_weight_that_the_forward_pass_sets_must_not_become_half():
    layer = "class Net(torch.nn.Module):\n    def forward(self, x):\n        {}\n        return x\n\n\n"
    assert code_of(imports=layer.format("self.u.data = torch.mv(self.w, self.v)")) == "in_place_scatter"
    assert code_of(imports=layer.format("self.u.data[:] = torch.mv(self.w, self.v)")) == "patched"


def test_a_patch_without_any_site_is_none():
    text = TRAIN.format(imports="", setup="", middle="pass", before_step="pass")
    text = text.replace("loss = torch.nn.functional.mse_loss(out, y.cuda())", "loss + ()").replace(
        "    optimizer.zero_grad()\n", "    loss = 0\n"
    )
    assert patch(text, ["mixed_precision"], Wishes("bf16")).outcome == "declined"


APEX = """from apex import amp
import torch

net = torch.nn.Linear(2, 1).cuda()
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
{initialize}
for x, y in data:
    optimizer.zero_grad()
    loss = torch.nn.functional.mse_loss(net(x), y)
    with amp.scale_loss(loss, optimizer) as scaled:
        scaled.backward()
    optimizer.step()
"""


@pytest.mark.parametrize(
    ("initialize", "outcome"),
    [("net, optimizer = amp.initialize(net, optimizer, opt_level='O1')", "patched"), ("", "declined")],
)
def test_apex_that_another_file_initializes_stays(initialize, outcome):
    assert patch(APEX.format(initialize=initialize), ["mixed_precision"], Wishes()).outcome == outcome


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


def remedy(text: str, name: str, path: Path | None = None):
    return patch(text, [name], Wishes(), path)


@pytest.mark.parametrize(
    ("name", "text", "outcome", "code"),
    [
        (
            "lr_schedule",
            TRAIN.replace("{middle}", "optimizer.param_groups[0].update(lr=rate)"),
            "already",
            "already",
        ),
        (
            "lr_schedule",
            "import torch\n\ndef attack(model, delta, y):\n    optimizer = torch.optim.SGD([delta], lr=1.0)\n"
            "    for step in range(10):\n        loss = -torch.nn.functional.mse_loss(model(delta), y)\n"
            "        optimizer.zero_grad()\n        loss.backward()\n        optimizer.step()\n",
            "declined",
            "epochs_not_found",
        ),
        (
            "gradient_checkpointing",
            "from transformers import AutoModel\nteacher = AutoModel.from_pretrained('a')\n"
            "teacher.requires_grad_(False)\nout = teacher(x)\n",
            "nothing_to_do",
            "no_training_loop",
        ),
        (
            "gradient_checkpointing",
            "from transformers import AutoModel\nsource = AutoModel.from_pretrained('a')\n"
            "mine.load_state_dict(source.state_dict())\n",
            "nothing_to_do",
            "no_training_loop",
        ),
        (
            "gradient_checkpointing",
            "from transformers import AutoModel\nmodel = AutoModel.from_pretrained('a')\nloss = model(x)\n",
            "framework_option",
            "framework_option",
        ),
        (
            "compile",
            TRAIN.replace(
                "out = net", "torch.autograd.grad(net(x).sum(), x, create_graph=True)\n    out = net"
            ),
            "declined",
            "second_order",
        ),
        (
            "compile",
            TRAIN.replace("torch.nn.Linear(2, 1).cuda()", "make_net()")
            .replace("{setup}", "mse = torch.nn.MSELoss()")
            .replace("torch.nn.functional.mse_loss", "mse"),
            "declined",
            "model_not_found",
        ),
        (
            "inference_mode",
            "import torch, higher\n\ndef test(model, data):\n    model.eval()\n    for x in data:\n"
            "        print(model(x))\n\nsolver = higher.get_diff_optim(a, b)\n",
            "declined",
            "evaluation_not_separate",
        ),
    ],
)
def test_the_other_remedies_leave_alone_what_is_no_training(name, text, outcome, code):
    for part in ("imports", "setup", "middle", "before_step"):
        text = text.replace("{" + part + "}", "pass")
    result = remedy(text, name)
    assert (result.outcome, result.sites[0].reason_code) == (outcome, code)


DATA = """import torch


class Lines(torch.utils.data.Dataset):
    def __init__(self, name):
        {init}

    def __len__(self):
        return 10

    def __getitem__(self, index):
        {item}
        return self.file.readline() if {reads} else index


def main():
    loader = torch.utils.data.DataLoader({data}, batch_size=2)
    for epoch in range(3):
        batch = {batch}


if __name__ == "__main__":
    main()
"""


@pytest.mark.parametrize(
    ("parts", "code"),
    [
        ({}, "loader_options"),
        ({"init": "self.file = open(name)"}, "data_has_state"),
        ({"item": "self.position += 1"}, "data_has_state"),
        ({"item": "if self.file is None: self.file = open('a')"}, "loader_options"),
        ({"reads": "True"}, "data_has_state"),
        ({"data": "range(100)"}, "data_in_memory"),
        ({"batch": "next(iter(loader))"}, "data_has_state"),
    ],
)
def test_workers_serve_only_data_that_each_can_read_alone(parts, code):
    usual = {"init": "self.file = None", "item": "pass", "data": 'Lines("a")', "reads": "False"}
    text = DATA.format(**{**usual, "batch": "list(loader)", **parts})
    if parts.get("reads") != "True":
        text = text.replace("self.file.readline() if False else index", "index")
    assert remedy(text, "dataloader").sites[0].reason_code == code


@pytest.mark.parametrize(
    ("imports", "code"),
    [
        ("from opacus import PrivacyEngine\nengine = PrivacyEngine()", "engine_backward"),
        ("from torch_geometric.loader import DataLoader\ndata = DataLoader(graphs)", "batch_axis_unknown"),
        ("data = torch.utils.data.DataLoader(pairs, batch_size=8)", "micro_batches"),
    ],
)
def test_only_batches_of_independent_samples_are_split(imports, code):
    text = TRAIN.format(imports=imports, setup="", middle="pass", before_step="pass")
    assert remedy(text, "gradient_accumulation").sites[0].reason_code == code


def test_a_file_with_deprecated_helpers_only_is_migrated_and_patched_at_once():
    text = TRAIN.format(
        imports="from torch.cuda.amp import custom_fwd\n\n\nclass Scale(torch.autograd.Function):\n"
        "    @staticmethod\n    @custom_fwd\n    def forward(ctx, x):\n        return x\n",
        setup="",
        middle="pass",
        before_step="pass",
    )
    result = patch(text, ["mixed_precision"], Wishes("bf16"))
    assert 'custom_fwd(device_type="cuda")' in result.text and "torch.autocast(" in result.text
    assert patch(result.text, ["mixed_precision"], Wishes("bf16")).text == result.text


def test_weights_that_ran_without_gradients_get_them_in_the_same_region():
    """Up to torch 2.10 autocast handed on the half copies that it made under no_grad, which lead to no weight."""
    first = "for again in range(2):\n        with torch.no_grad(): first = {}\n        kept = torch.cat([first, x])"
    first += "\n    out = net(kept)"
    for handed, disabled in (("guess(net, x)", True), ("guess(x)", False)):
        result = result_of("bf16", middle=f"extra = {handed}")
        assert ("cache_enabled=False" in result.text) is disabled
    for run, disabled in (("net(x)", True), ("x * 2", False)):
        result = result_of("bf16", middle=first.format(run))
        assert result.outcome == "patched"
        assert ("cache_enabled=False" in result.text) is disabled


CONDITIONED = """import torch


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.net = torch.nn.Linear(2, 2)

    def forward(self, x):
        return self.net(self.guess(x))

    @torch.no_grad()
    def guess(self, x):
        return {guess}
"""


@pytest.mark.parametrize(("guess", "disabled"), [("self.net(x)", True), ("x.clamp(0, 1)", False)])
def test_a_model_of_another_file_that_conditions_itself_keeps_its_gradients(tmp_path: Path, guess, disabled):
    (tmp_path / "net.py").write_text(CONDITIONED.format(guess=guess))
    parts = {"imports": "from net import Net", "setup": "net = Net()"}
    result = result_of("bf16", tmp_path / "train.py", **parts)
    assert result.outcome == "patched" and ("cache_enabled=False" in result.text) is disabled


REPLAY = """import numpy as np
import torch

net = torch.nn.Linear(2, 1).cuda()
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)


class Agent:
    def __init__(self):
        self.memory = []

    def act(self, state):
        return net(state).cpu()

    def step(self, state, action):
        self.memory.append((state, action))
        self.learn(self.memory)

    def learn(self, drawn):
        actions = torch.from_numpy(np.vstack([e[1] for e in drawn])).cuda()
        loss = (net(drawn[0][0]) - actions).pow(2).mean()
        loss.backward()
        optimizer.step()


agent = Agent()
while True:
    action = agent.act(state)
    state = env.step(action.numpy())
    agent.step(state, action)
"""


def test_what_a_memory_makes_an_array_of_is_no_bf16():
    result = patch(REPLAY, ["mixed_precision"], Wishes("bf16"))
    assert result.outcome == "patched"
    assert (
        "env.step(action.float().numpy())" in result.text
        and "agent.step(state, action.float())" in result.text
    )


ATTACK = """import torch

net = torch.nn.Linear(2, 1).cuda()
x.requires_grad_()
loss = torch.nn.functional.mse_loss(net(x), y)
loss.backward()
x = x + 0.003 * x.grad{read}
"""


@pytest.mark.parametrize(("read", "outcome"), [(".sign()", "nothing_to_do"), ("", "patched")])
def test_an_attack_on_a_finished_model_trains_nothing(read, outcome):
    assert patch(ATTACK.format(read=read), ["mixed_precision"], Wishes("bf16")).outcome == outcome


@pytest.mark.parametrize(
    ("more", "outcome"),
    [("", "nothing_to_do"), ("weights = torch.optim.SGD(net.parameters(), 0.1)", "declined")],
)
def test_an_attack_by_an_optimizer_is_left_in_fp32(more, outcome):
    attack = (
        "import torch\n\nnet = torch.nn.Linear(2, 1).cuda()\ndelta = torch.zeros(2, requires_grad=True)\n"
        "attack = torch.optim.SGD([delta], lr=0.1)\n{}\nfor x, y in data:\n    seen = x + delta\n"
        "    loss = -torch.nn.functional.mse_loss(net(seen), y)\n    loss.backward()\n    attack.step()\n"
    )
    trains = f"{more}\nweights.zero_grad()\nnet(x).sum().backward()\nweights.step()\n" if more else ""
    result = patch(attack.format(trains), ["mixed_precision"], Wishes())
    assert result.outcome == outcome and (not more or result.sites[0].reason_code == "cancellation")


def test_anomalies_that_an_imported_file_detects_leave_bf16(tmp_path: Path):
    (tmp_path / "helpers.py").write_text("import torch\n\ntorch.autograd.set_detect_anomaly(True)\n")
    path, imports = tmp_path / "train.py", "from helpers import *"
    codes = [code_of(precision, path, imports=imports) for precision in ("fp16", "bf16")]
    assert codes == ["reads_grad", "patched"]


@pytest.mark.parametrize(
    ("added", "written"),
    [
        ("total += out.mean().detach()", "total += out.mean().detach().float()"),
        ("total = 0.9 * total + 0.1 * out.mean()", "total = 0.9 * total + (0.1 * out.mean()).float()"),
        ("total += loss.item()", "total += loss.item()"),
        ("total = total + (loss if x is None else 0)", "total = total + (loss if x is None else 0)"),
        ("total += net(x).detach().cpu().numpy()", "total += net(x).detach().cpu().numpy()"),
        ("part = 0\n    part += out.mean()", "part += out.mean()"),
    ],
)
def test_sums_over_steps_grow_in_fp32(added, written):
    script = (
        "import torch\n\nnet = torch.nn.Linear(2, 1).cuda()\noptimizer = torch.optim.SGD(net.parameters(), 0.1)\n"
        "total = 0\nfor x, y in data:\n    optimizer.zero_grad()\n    out = net(x)\n"
        f"    loss = torch.nn.functional.mse_loss(out, y)\n    loss.backward()\n    optimizer.step()\n    {added}\n"
    )
    lines = patch(script, ["mixed_precision"], Wishes()).text.split("\n")
    assert f"    {written}" in lines


@pytest.mark.parametrize(
    ("middle", "fp16", "bf16"),
    [
        ("angle = torch.acos(out)", "patched", "probabilities"),
        ("sine = torch.sqrt(1.0 - out ** 2)", "patched", "probabilities"),
        ("sine = (1 - out.pow(2)).sqrt()", "patched", "probabilities"),
        ("angle = torch.acos(out.float())", "patched", "patched"),
        ("value = torch.atanh(out.tanh())", "probabilities", "probabilities"),
        ("s = torch.nn.functional.avg_pool2d(out * out, 3) - y ** 2", "cancellation", "cancellation"),
        ("s = out.masked_fill(y > 0, torch.finfo(torch.float32).min)", "fp16_constant", "fp16_constant"),
        ("s = out.masked_fill(y > 0, torch.finfo(out.dtype).min)", "patched", "patched"),
        ("NEVER = -1e9\n    s = out.masked_fill(y > 0, NEVER)", "fp16_constant", "patched"),
        (
            "far = torch.mm(out, out.t())\n    far = far.diag()[None] - 2 * far",
            "cancellation",
            "cancellation",
        ),
        ("c = out.t() @ out / 9 - (y.t() @ y) / 9", "cancellation", "cancellation"),
        ("c = x.t() @ out / 9 - (y.t() @ x) / 9", "patched", "patched"),
        ("mean = out @ torch.arange(1).float()[:, None]", "cancellation", "cancellation"),
        ("mean = out * torch.arange(1)", "patched", "patched"),
        ("p = torch.sigmoid(out + 0.1) - torch.sigmoid(out - 0.1)", "cancellation", "cancellation"),
        ("p = torch.sigmoid(out) - torch.tanh(out)", "patched", "patched"),
        ("p = out.exp() / (1 - beta ** 3)", "patched", "patched"),
        ("s = torch.matrix_exp(net.weight)", "patched", "patched"),
        ("self.eps = 1e-12\n    out = out / (out.abs() + self.eps)", "fp16_constant", "patched"),
        ("self.eps = 1e-12\n    out = out / (out.pow(2).mean(1) + self.eps).sqrt()", "patched", "patched"),
        ("s = y.masked_scatter(y > 0, out)", "in_place_scatter", "in_place_scatter"),
        ("z[torch.arange(2), torch.arange(2)] = net(x)", "in_place_scatter", "in_place_scatter"),
    ],
)
def test_what_half_precision_cannot_hold_or_tell_apart_is_found(middle, fp16, bf16):
    assert (code_of("fp16", middle=middle), code_of("bf16", middle=middle)) == (fp16, bf16)


@pytest.mark.parametrize(("given", "full"), [("out", True), ("y", False), ("out.argmax(1)", False)])
def test_a_function_without_a_half_kernel_runs_in_fp32(given, full):
    text = result_of(middle=f"level = torch.quantile({given}, 0.5)").text
    assert ("amp_float32(torch.quantile)" in text) == full


ENGINE = """import torch


def train_one_epoch(model, optimizer, loader, device):
    for images, targets in loader:
        losses = sum(loss for loss in model([i.to(device) for i in images], targets).values())
        optimizer.zero_grad()
        losses.backward()
        optimizer.step()
"""


@pytest.mark.parametrize(("kind", "bf16"), [("detection", "coordinates"), ("segmentation", "patched")])
def test_torchvisions_detection_models_take_fp16(tmp_path: Path, kind, bf16):
    main = f"from torchvision.models import {kind}\nfrom engine import train_one_epoch\n"
    main += f"train_one_epoch({kind}.some_model(), optimizer, loader, device)\n"
    (tmp_path / "engine.py").write_text(ENGINE)
    (tmp_path / "main.py").write_text(main)
    results = [
        patch(ENGINE, ["mixed_precision"], Wishes(precision), tmp_path / "engine.py", tmp_path)
        for precision in ("bf16", "fp16")
    ]
    codes = [r.sites[0].reason_code if r.outcome == "declined" else r.outcome for r in results]
    assert codes == [bf16, "patched"]


def test_a_running_mean_that_begins_as_none_is_kept_in_fp32():
    net = (
        "import torch\n\n\nclass Net(torch.nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.last, self.mean = torch.nn.Linear(2, 1), None\n\n    def forward(self, x):\n"
        "        now = self.last(x)\n"
        "        self.mean = now.detach() if self.mean is None else 0.9 * self.mean + 0.1 * now.detach()\n"
        "        return now - self.mean\n\n\n"
    )
    text = net + TRAIN.format(imports="", setup="", middle="pass", before_step="pass").replace(
        "torch.nn.Linear(2, 1)", "Net()"
    ).removeprefix("import torch\n")
    kept = "now.detach().float() if self.mean is None else 0.9 * self.mean + (0.1 * now.detach()).float()"
    assert kept in patch(text, ["mixed_precision"], Wishes()).text
