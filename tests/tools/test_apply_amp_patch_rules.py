"""The smaller remedies of apply_amp_patch: what they do to a training that runs, and what they leave alone."""

import runpy
import warnings
from pathlib import Path

import pytest
from optimizing_resources.tools.apply_amp_patch.codemod import Result, patch
from optimizing_resources.tools.apply_amp_patch.context import Wishes


def patched(text: str, *remedies: str, path: Path | None = None) -> Result:
    return patch(text, list(remedies), Wishes(), path)


def verdict(text: str, remedy: str) -> tuple[str, str]:
    result = patched(text, remedy)
    return result.outcome, next(s.reason_code for s in result.sites if s.action != "warn")


def run(text: str, folder: Path) -> dict:
    path = folder / "script.py"
    path.write_text(text, encoding="utf-8")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return runpy.run_path(str(path))


EPOCHS = """
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
epochs = {epochs}
loader = DataLoader(TensorDataset(torch.randn(20, 3), torch.randn(20, 1)), batch_size=8)
model = torch.nn.Linear(3, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
rates = []


def train():
    for x, y in loader:
        optimizer.zero_grad()
        F.mse_loss(model(x), y).backward()
        optimizer.step()


def fit(first=0):
    for epoch in range(first, epochs):
        {before}
        rates.append(optimizer.param_groups[0]["lr"])
        train()
        {after}
        print(epoch)


fit()
"""


def epochs(count: int = 4, before: str = "pass", after: str = "pass") -> str:
    return EPOCHS.format(epochs=count, before=before, after=after)


@pytest.mark.parametrize("count", [1, 2, 5, 30])
def test_a_schedule_by_epochs_wastes_neither_the_first_nor_the_last(count, tmp_path):
    rates = run(patched(epochs(count), "lr_schedule").text, tmp_path)["rates"]
    assert len(rates) == count and rates[0] > 0.08 and max(rates) <= 0.1 + 1e-9
    assert rates[-1] > 0.0005 and (count < 5 or rates[-1] < 0.02)


def test_an_epoch_that_is_cut_short_after_training_counts(tmp_path):
    whole = run(patched(epochs(), "lr_schedule").text, tmp_path)["rates"]
    text = patched(epochs(after="if epoch % 2 == 0:\n            continue"), "lr_schedule").text
    assert run(text, tmp_path)["rates"] == whole


def test_a_schedule_that_is_built_again_has_the_same_peak(tmp_path):
    """A cell run twice, or an optimizer loaded from a checkpoint: its rate is the last one, not the peak."""
    cell = patched(epochs(), "lr_schedule").text.replace("fit()\n", "fit()\nfit()\nfit(first=epochs)\n")
    rates = run(cell, tmp_path)["rates"]
    assert rates[:4] == rates[4:]


@pytest.mark.parametrize(
    "text",
    [
        epochs(before="if epoch % 2 == 0: continue"),
        epochs().replace(
            "    for x, y in loader:\n        ", "    x, y = next(loader)\n    if x[0] > 0:\n        "
        ),
    ],
    ids=["epochs left out", "steps left out"],
)
def test_a_loop_that_does_not_train_in_every_round_is_no_measure_of_the_steps(text):
    assert verdict(text, "lr_schedule") == ("declined", "epochs_not_found")


BATCHES = """
import torch


class Data(torch.utils.data.{kind}):
    pass


loader = torch.utils.data.DataLoader(Data(), batch_size=8)
model = torch.nn.Linear(3, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for epoch in range(3):
    for x in loader:
        optimizer.zero_grad()
        model(x).sum().backward()
        optimizer.step()
"""


@pytest.mark.parametrize(("kind", "total"), [("Dataset", "3 * len(loader)"), ("IterableDataset", "4, div")])
def test_only_a_loader_that_has_a_length_is_scheduled_by_batches(kind, total):
    assert f"total_steps={total}" in patched(BATCHES.format(kind=kind), "lr_schedule").text


HELD_OUT = """
import torch
import torch.nn.functional as F


def evaluate(data):
    total = 0.0
    for x, y in data:
        total += F.mse_loss(model(x), y).item()
    return total / len(data)


def part(size):
    return [(torch.randn(4, 3), torch.randn(4, 1)) for _ in range(size)]


torch.manual_seed(0)
train_data, val_data, test_data = part(3), part(2), part(2)
model = torch.nn.Linear(3, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
{setup}
seen = []
for epoch in range(40):
    for x, y in train_data:
        optimizer.zero_grad()
        F.mse_loss(model(x), y).backward()
        optimizer.step()
    {epoch}
    seen.append({seen})
"""
SUM = "for x, y in val_data:\n        val_sum += F.mse_loss(model(x), y).item()"


def held_out(epoch: str, setup: str = "pass", seen: str = "0") -> str:
    return HELD_OUT.format(epoch=epoch, setup=setup, seen=seen)


@pytest.mark.parametrize(
    "epoch",
    [
        "val = evaluate(val_data)\n    tested = evaluate(test_data)",
        "fit = evaluate(train_data)\n    val = evaluate(val_data)",
        "val = 0.0\n    for x, y in val_data:\n        val += F.mse_loss(model(x), y).item()",
    ],
    ids=["test loss too", "training loss too", "summed in place"],
)
def test_the_stop_watches_the_loss_of_the_data_held_out(epoch, tmp_path):
    seen = run(patched(held_out(epoch, seen="val"), "early_stopping").text, tmp_path)["seen"]
    assert len(seen) < 40 and len(seen) - 1 - seen.index(min(seen)) == 5


@pytest.mark.parametrize(
    ("epoch", "setup"),
    [
        ("one = evaluate(part(1))\n    two = evaluate(part(1))", "pass"),
        ("fit = evaluate(train_data)", "pass"),
        (SUM, "val_sum = 0.0"),
        (f"val_sum = 0.0\n    {SUM}\n        if len(x) > 9: val_sum = 0.0", "pass"),
        (f"val_sum = 0.0\n    {SUM}\n    val_sum = 0.0", "pass"),
    ],
    ids=["which of two", "training data", "never reset", "reset while summing", "reset at the end"],
)
def test_a_loss_of_unknown_data_or_extent_is_not_watched(epoch, setup):
    assert verdict(held_out(epoch, setup), "early_stopping") == ("declined", "no_validation_loss")


def test_a_loss_of_test_data_is_watched_with_a_warning():
    assert "impartial" in patched(held_out("loss = evaluate(test_data)"), "early_stopping").warnings[-1]


@pytest.mark.parametrize(
    ("setup", "outcome"),
    [
        (
            "plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=args.patience)",
            "patched",
        ),
        ("stopper = EarlyStopping(patience=3)", "already"),
        ("torch.distributed.init_process_group('gloo')", "declined"),
    ],
)
def test_a_patience_of_a_schedule_is_no_early_stop(setup, outcome):
    assert verdict(held_out("val = evaluate(val_data)", setup), "early_stopping")[0] == outcome


EVALUATION = """
import torch


class Net(torch.nn.Module):
    def forward(self, x):
        return x * 2


{decorator}def measure(net, data{more}):
    net.eval()
    total = 0.0
    for x in data:
        {body}
    return {value}


{call}
"""


@pytest.mark.parametrize(
    ("parts", "outcome"),
    [
        ({}, "patched"),
        ({"value": "total"}, "patched"),
        ({"body": "total += net(x)", "value": "total"}, "declined"),
        ({"body": "total = net(x)", "value": "total", "call": "print(measure(Net(), data))"}, "patched"),
        ({"body": "x = attack.perturb(x)\n        total += net(x).item()", "more": ", attack"}, "declined"),
        ({"body": "net.register(x)", "value": "Inner()"}, "nothing_to_do"),
    ],
    ids=["numbers", "name of a number", "for another file", "printed", "an attack", "nothing run"],
)
def test_only_what_cannot_be_differentiated_elsewhere_loses_its_gradients(parts, outcome):
    usual = {"decorator": "", "more": "", "call": "", "body": "total += net(x).item()", "value": "total / 2"}
    text = EVALUATION.format(**{**usual, **parts})
    if outcome == "nothing_to_do":
        text = text.replace("net.register(x)", "pass").replace(
            "    return Inner()",
            "\n    class Inner:\n        def run(self, x):\n            return net(x)\n\n    return Inner()",
        )
    assert patched(text, "inference_mode").outcome == outcome


def test_gradients_are_switched_off_below_other_decorators(tmp_path):
    text = EVALUATION.format(
        decorator="@staticmethod\n", more="", body="total += net(x).item()", value="total", call="pass"
    ).replace("Net(torch.nn.Module):\n", "Net(torch.nn.Module):\n    {}\n")
    head, _, rest = text.partition("@staticmethod\n")
    method, _, tail = rest.partition("\n\n\n")
    inside = "".join(f"    {line}\n" for line in ("@staticmethod\n" + method).splitlines())
    text = head.replace("    {}\n", inside + "\n") + "shown = Net().measure(Net(), [torch.ones(1)])\n" + tail
    result = patched(text, "inference_mode")
    assert result.outcome == "patched" and run(result.text, tmp_path)["shown"] == 2.0


def test_a_tokenizer_is_no_model_that_evaluates():
    text = (
        "import torch\nfrom transformers import AutoModel, AutoTokenizer\n"
        "tokenizer = AutoTokenizer.from_pretrained('a')\nmodel = AutoModel.from_pretrained('a')\nmodel.eval()\n"
        "for line in lines:\n    rows.append(tokenizer(line))\n"
    )
    assert patched(text, "inference_mode").text == text


FEATURES = """
import torch

net, head = torch.nn.Linear(3, 3), torch.nn.Linear(3, 1)
optimizer = torch.optim.SGD([*net.parameters(), *head.parameters()], lr=0.1)
{collect}
for features in kept:
    optimizer.zero_grad()
    loss = head(features).sum()
    loss.backward()
    optimizer.step()
"""
BY_FUNCTION = """
def collect(net, data):
    net.eval()
    found = []
    for x in data:
        found.append(net(x))
    return found


kept = collect(net, data)"""


@pytest.mark.parametrize(
    ("collect", "outcome"),
    [
        ("kept = []\nnet.eval()\nfor x in data:\n    kept.append(net(x))", "declined"),
        ("kept = []\nnet.eval()\nfor x in data:\n    kept.append(net(x).detach())", "patched"),
        (BY_FUNCTION, "declined"),
        (BY_FUNCTION.replace("kept =", "shown ="), "patched"),
    ],
    ids=["features", "without gradients", "by a function", "not trained on"],
)
def test_features_that_are_trained_on_keep_their_gradients(collect, outcome):
    assert patched(FEATURES.format(collect=collect), "inference_mode").outcome == outcome


BLOCKS = """
import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, width, norm=nn.LayerNorm):
        super().__init__()
        self.norm = norm(width)
        self.linear = nn.Linear(width, width)

    def forward(self, x):
        {forward}
        return x + self.linear(self.norm(x)).relu()


def layers(width, block, count):
    found = nn.ModuleList()
    for _ in range(count):
        found.append(block(width{more}))
    return found


class Net(nn.Module):
    def __init__(self, block):
        super().__init__()
        self.blocks = {blocks}

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return x


net = Net(Block)
"""


@pytest.mark.parametrize(
    ("parts", "verdict_of"),
    [
        ({}, ("patched", "checkpointed")),
        ({"more": ", nn.BatchNorm1d"}, ("declined", "batch_norm_in_block")),
        ({"more": ", norm=nn.BatchNorm1d"}, ("declined", "batch_norm_in_block")),
        ({"forward": "self.calls += 1"}, ("declined", "state_in_block")),
        ({"forward": "self.seen.mul_(0.9).add_(x)"}, ("declined", "state_in_block")),
        ({"forward": "self.losses.append(x.mean())"}, ("declined", "state_in_block")),
        ({"forward": "self.last = x"}, ("patched", "checkpointed")),
        ({"blocks": "nn.ModuleList([nn.Linear(4, 4) for _ in range(3)])"}, ("declined", "blocks_not_found")),
        ({"forward": "x = checkpoint(x) if self.use_checkpoint else x"}, ("already", "already")),
    ],
)
def test_blocks_are_computed_twice_only_where_that_is_the_same(parts, verdict_of):
    usual = {"forward": "pass", "more": "", "blocks": "layers(4, block, 3)"}
    assert verdict(BLOCKS.format(**{**usual, **parts}), "gradient_checkpointing") == verdict_of


def test_only_a_checkpoint_gets_the_argument_of_one():
    text = (
        "import torch\nfrom torch.utils.checkpoint import checkpoint, get_device_states\n\n\n"
        "def run(f, x):\n    states = get_device_states(x)\n    return checkpoint(f, x), states\n"
    )
    after = patched(text, "gradient_checkpointing").text
    assert "checkpoint(f, x, use_reentrant=False)" in after and "get_device_states(x)\n" in after


COMPILED = """
import torch


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(3, 3)

    def forward(self, x):
        {forward}
        return self.layer(x)


def train(net, data):
    for x in data:
        optimizer.zero_grad()
        net(x).sum().backward()
        optimizer.step()
    return net


net = Net()
optimizer = torch.optim.{optimizer}
{middle}
net = train(net, [torch.ones(2, 3)])
{end}
"""


def compiled(**parts: str) -> str:
    usual = {"forward": "pass", "optimizer": "SGD(net.parameters(), lr=0.1)", "middle": "", "end": ""}
    return COMPILED.format(**{**usual, **parts})


@pytest.mark.parametrize(
    ("parts", "code"),
    [
        ({"forward": "for layer in range(3): x = self.layer(x)"}, "compiled"),
        ({"forward": "for t in range(x.size(1)): x = self.layer(x)"}, "loop_in_forward"),
        (
            {"forward": "steps = x.shape[0]\n        for t in range(steps): x = self.layer(x)"},
            "loop_in_forward",
        ),
        ({"forward": "for i, part in enumerate(x.split(1)): x = self.layer(x)"}, "loop_in_forward"),
        ({"end": "torch.onnx.export(net, x)"}, "traced_model"),
        ({"end": "writer.add_graph(net, x)"}, "traced_model"),
        ({"middle": "net.register_full_backward_hook(note)"}, "backward_hook"),
        ({"middle": "net = torch.nn.DataParallel(net)"}, "data_parallel"),
    ],
)
def test_only_a_model_that_compiles_to_the_same_is_compiled(parts, code):
    assert verdict(compiled(**parts), "compile")[1] == code


def test_a_model_is_compiled_before_it_trains_and_its_checkpoint_loads_in_the_original(tmp_path):
    end = "loss = torch.nn.MSELoss()\nnet = net\ntorch.save(net.state_dict(), {path!r})"
    path = str(tmp_path / "net.pt")
    text = patched(compiled(end=end.format(path=path)), "compile").text
    assert text.count(".compile()") == 1 and text.index("net = Net()\nnet.compile()") < text.index(
        "train(net, ["
    )
    after = run(text.replace(".compile()", '.compile(backend="eager")'), tmp_path)
    before = run(compiled(), tmp_path)
    before["net"].load_state_dict(torch_load(path))
    assert str(before["net"].state_dict()) == str(after["net"].state_dict())


def torch_load(path: str) -> dict:
    import torch

    return torch.load(path)


@pytest.mark.parametrize(
    ("parts", "code"),
    [
        ({"optimizer": "SGD(net.parameters(), lr=0.1, momentum=0.9)"}, "fused"),
        ({"optimizer": "SGD(net.parameters(), lr=0.1)", "end": "net.requires_grad_(True)"}, "fused"),
        (
            {"optimizer": "SGD(net.parameters(), lr=0.1, momentum=0.9)", "end": "net.requires_grad_()"},
            "unfrozen_later",
        ),
        ({"middle": "weight = torch.zeros(3, dtype=torch.complex64)"}, "fft_or_complex"),
    ],
)
def test_a_fused_optimizer_serves_weights_that_it_can_step(parts, code):
    assert verdict(compiled(**parts), "fused_optimizer")[1] == code


LOADED = """
import torch
from torchvision import datasets, transforms


def main():
    def inner(batch):
        return batch

    change = {transform}
    data = datasets.MNIST("a", transform=transforms.Compose([change]))
    names = sorted(data.classes, key=lambda name: name)
    loader = torch.utils.data.DataLoader(data, shuffle=True{more})


if __name__ == "__main__":
    main()
"""


@pytest.mark.parametrize(
    ("transform", "more", "workers"),
    [
        ("transforms.ToTensor()", "", True),
        ("transforms.Lambda(lambda x: x)", "", False),
        ("transforms.ToTensor()", ", collate_fn=inner", False),
        ("inner", "", False),
    ],
)
def test_workers_get_only_what_can_be_sent_to_another_process(transform, more, workers):
    result = patched(LOADED.format(transform=transform, more=more), "dataloader")
    assert ("num_workers=" in result.text) == workers and "pin_memory=" in result.text
    assert bool(result.warnings) == workers


def test_options_that_ask_for_a_gpu_do_not_move_a_script_to_one():
    text = epochs().replace("TensorDataset(torch.randn(20, 3), torch.randn(20, 1))", "data")
    remedies = ["dataloader", "fused_optimizer", "mixed_precision"]
    one_by_one = text
    for remedy in remedies:
        one_by_one = patched(one_by_one, remedy).text
    assert 'device_type="cpu"' in one_by_one and one_by_one == patched(text, *remedies).text
