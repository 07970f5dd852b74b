"""The smaller remedies on what real scripts do: seen while reading their patches, each a wrong one once."""

import ast
from pathlib import Path

import pytest
from optimizing_resources.tools.apply_amp_patch.codemod import Result, patch
from optimizing_resources.tools.apply_amp_patch.context import Wishes


def patched(text: str, *remedies: str, path: Path | None = None) -> Result:
    return patch(text, list(remedies), Wishes("auto", 2), path)


def code(text: str, remedy: str, path: Path | None = None) -> str:
    return next(s.reason_code for s in patched(text, remedy, path=path).sites if s.action != "warn")


TRAINING = """
import torch
import torch.nn.functional as F
{classes}
model = {made}
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for epoch in range(5):
    {before}
    for x, y in loader:
        optimizer.zero_grad()
        F.mse_loss(model(x), y).backward()
        optimizer.step()
{after}
"""


def training(
    classes: str = "", made: str = "torch.nn.Sequential(layer)", before: str = "pass", after: str = ""
) -> str:
    return TRAINING.format(classes=classes, made=made, before=before, after=after)


def test_an_optimizer_that_each_phase_builds_anew_is_a_schedule():
    before = "if epoch in (0, 3): optimizer = torch.optim.SGD(model.parameters(), lr=0.1 / (1 + epoch))"
    assert code(training(), "lr_schedule") == "schedule"
    assert code(training(before=before), "lr_schedule") == "schedule_elsewhere"


def test_the_model_that_is_loaded_behind_the_training_is_not_the_one_to_compile():
    text = training().replace("for epoch", "if True:\n  for epoch").replace("\n    ", "\n      ")
    text += "  with open('best') as f:\n    model = torch.load(f)\n"
    lines = patched(text, "compile").text.splitlines()
    assert lines.index("model.compile()") < next(i for i, line in enumerate(lines) if "epoch in" in line)


CELL = """
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.cell = torch.nn.Linear(3, 3)

    def forward(self, inputs):
        for x in {over}:
            h = self.cell(x)
        return h
"""


@pytest.mark.parametrize(
    ("over", "outcome"), [("inputs", "declined"), ("zip(inputs, h)", "declined"), ("range(3)", "patched")]
)
def test_a_forward_that_walks_through_its_input_is_not_compiled(over, outcome):
    assert patched(training(CELL.format(over=over), "Net()"), "compile").outcome == outcome


@pytest.mark.parametrize(
    "hook", ["register_forward_hook", "register_forward_pre_hook", "register_full_backward_hook"]
)
def test_hooks_that_a_compiled_model_would_not_call_are_declined(hook):
    assert code(training(after=f"model.{hook}(note)"), "compile") == "backward_hook"


COLLATE = """
import functools
import torch
from torch.utils.data import DataLoader
from torchvision.datasets import MNIST

device = torch.device("cuda")


def collate(batch, where="cpu"):
    return torch.stack(batch){moved}


chosen = functools.partial(collate, where=device)
loader = DataLoader(MNIST("."), batch_size=8, collate_fn=chosen)
"""


def test_what_a_collate_function_puts_on_the_gpu_cannot_be_pinned():
    assert code(COLLATE.format(moved=""), "dataloader") == "loader_options"
    assert code(COLLATE.format(moved=".to(device)"), "dataloader") == "data_on_gpu"


def test_a_dataset_of_another_file_that_makes_gpu_tensors_cannot_be_pinned(tmp_path):
    data = "import torch\nclass Data(torch.utils.data.Dataset):\n    def __getitem__(self, i): return self.x[i]{}\n"
    text = "import torch\nfrom data import Data\nloader = torch.utils.data.DataLoader(Data(), shuffle=True)\n"
    (tmp_path / "train.py").write_text(text, encoding="utf-8")
    for moved, expected in (("", "loader_options"), (".cuda()", "data_on_gpu")):
        (tmp_path / "data.py").write_text(data.format(moved), encoding="utf-8")
        assert code(text, "dataloader", tmp_path / "train.py") == expected


@pytest.mark.parametrize(
    ("line", "stay"),
    [
        ("loader.sampler.set_epoch(epoch)", True),
        ("print(len(loader.dataset))", True),
        ("loader.dataset.sample_negatives()", False),
        ("data.epoch = epoch", False),
    ],
)
def test_workers_do_not_outlive_an_epoch_whose_data_change(line, stay):
    text = f"""
import torch
from torchvision.datasets import MNIST


def main():
    data = MNIST(".")
    loader = torch.utils.data.DataLoader(data, batch_size=8, shuffle=True)
    for epoch in range(3):
        {line}
        train(loader)
"""
    after = patched(text, "dataloader").text
    assert "num_workers=loader_workers" in after and ("persistent_workers" in after) is stay


def test_an_argument_below_a_comment_leaves_the_closing_line_alone():
    text = "import torch\noptimizer = torch.optim.Adam(\n    model.parameters(),\n    lr=0.1  # tuned\n)\n"
    after = patched(text, "fused_optimizer").text
    assert after == text.replace("lr=0.1  # tuned", "lr=0.1,  # tuned\n    fused=torch.cuda.is_available(),")
    assert ast.parse(after)


def test_a_model_out_of_sight_may_have_batch_norm():
    text = training(made="torch.nn.Linear(3, 3)").replace(
        "F.mse_loss(model(x), y).backward()", "loss = F.mse_loss(model(x), y)\n        loss.backward()"
    )
    assert patched(text, "gradient_accumulation").warnings == []
    notes = patched(text.replace("torch.nn.Linear(3, 3)", "Net()"), "gradient_accumulation").warnings
    assert notes[0].startswith("if the model has BatchNorm")


def test_a_list_that_grows_over_the_batch_is_not_filled_anew_by_each_part():
    text = """
import torch
embedder, model = torch.nn.Linear(3, 3), torch.nn.Linear(3, 3)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for parts, y in loader:
    found = list()
    for part in parts:
        found.append(embedder(part))
    optimizer.zero_grad()
    loss = torch.nn.functional.mse_loss(model(torch.stack(found)), y)
    loss.backward()
    optimizer.step()
"""
    assert code(text, "gradient_accumulation") == "state_across_batches"


def test_both_ways_to_make_a_hugging_face_model_get_its_switch():
    text = """
from transformers import DataCollatorForLanguageModeling, GPT2Config, GPT2LMHeadModel
if path:
    model = GPT2LMHeadModel.from_pretrained(path)
else:
    model = GPT2LMHeadModel(config=GPT2Config())
collator = DataCollatorForLanguageModeling(tokenizer)
train(model)
"""
    assert patched(text, "gradient_checkpointing").text.count("model.gradient_checkpointing_enable(") == 2


@pytest.mark.parametrize("made", ["BertAdam(p, lr=5e-5, warmup=0.1, t_total=100)", "AdamWScheduleFree(p)"])
def test_an_optimizer_that_schedules_its_rate_gets_no_second_schedule(made):
    imports = (
        "import torch\nfrom schedulefree import AdamWScheduleFree\nfrom bert.optimization import BertAdam\n"
    )
    text = (
        training()
        .replace("import torch\n", imports)
        .replace("torch.optim.SGD(model.parameters(), lr=0.1)", made)
    )
    assert code(text, "lr_schedule") == "already"
    assert code(text.replace(made, "BertAdam(p, lr=5e-5)"), "lr_schedule") == "schedule"


def test_a_class_that_derives_from_dataparallel_is_not_compiled():
    classes = "class Own(torch.nn.DataParallel):\n    pass\n"
    text = training(classes, "Own(torch.nn.Sequential(layer))").replace(
        ".zero_grad()", ".zero_grad(); model.train()"
    )
    assert code(text, "compile") == "data_parallel"
    assert code(text.replace(".DataParallel", ".Module"), "compile") == "compiled"


@pytest.mark.parametrize(
    ("made", "outcome"),
    [
        ("LayoutLMv3ForTokenClassification.from_pretrained(path)", "declined"),
        ("AutoModelForImageClassification.from_pretrained('facebook/convnext-tiny-224')", "declined"),
        ("AutoModelForImageClassification.from_pretrained('google/vit-base-patch16')", "framework_option"),
        ("XLMRobertaModel.from_pretrained(path)", "framework_option"),
    ],
)
def test_a_hugging_face_model_without_the_switch_is_declined(made, outcome):
    text = f"from transformers import {made.split('.')[0]}\nmodel = {made}\ntrain(model)\n"
    assert patched(text, "gradient_checkpointing").outcome == outcome


def test_a_total_that_grows_between_loss_and_backward_grows_once_per_batch():
    text = """
import torch
class Solver:
    def __init__(self):
        self.loss = None

    def train(self, loader):
        self.loss = torch.nn.MSELoss()
        total = 0
        for x, y in loader:
            self.optimizer.zero_grad()
            value = self.loss(self.model(x), y)
            total += value.item()
            value.backward()
            self.optimizer.step()
"""
    lines = patched(text, "gradient_accumulation").text.splitlines()
    kept = next(line for line in lines if "total +=" in line)
    assert kept == " " * 12 + "total += value.item()" and lines.index(kept) > lines.index(
        " " * 12 + "value = micro_value"
    )


@pytest.mark.parametrize(
    ("setup", "inside", "wanted"),
    [
        ("pass", "print(epoch / len(loader))", "grown_batch"),
        (
            "n = len(loader); total = 3 * n; s = LambdaLR(optimizer, lambda i: 1 - i / total)",
            "s.step()",
            "schedule_counts_batches",
        ),
        ("pass", "decay(optimizer, epoch, len(loader))", "schedule_counts_batches"),
        ("import ffcv; other = ffcv.loader.Loader(path)", "pass", "state_across_batches"),
    ],
)
def test_a_grown_batch_leaves_nothing_that_counts_batches(setup, inside, wanted):
    text = f"""
import torch
from torch.optim.lr_scheduler import LambdaLR
model = torch.nn.Linear(3, 3)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
{setup}
for epoch in range(3):
    for x, y in loader:
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        {inside}
"""
    result = patch(text, ["gradient_accumulation"], Wishes("auto", 2, grow_batch=True))
    assert result.sites[0].reason_code == wanted
    assert any("2 times smaller" in w for w in result.warnings) == ("print" in inside)


@pytest.mark.parametrize(("move", "told"), [("model.cuda()", True), ("other.cuda()", False)])
def test_a_model_that_moves_behind_its_optimizer_is_told_of(move, told):
    result = patched(training(before=move), "fused_optimizer")
    assert any("torch 2.4" in w for w in result.warnings) is told
