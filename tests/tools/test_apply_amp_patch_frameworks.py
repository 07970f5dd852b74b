"""Scripts whose loop is a framework's: the smaller remedies set its option or say what to write."""

import ast

import pytest
from optimizing_resources.tools.apply_amp_patch.codemod import Result, patch
from optimizing_resources.tools.apply_amp_patch.context import Wishes

TRAINER = """
from transformers import AutoModelForCausalLM, Trainer, TrainingArguments

model = AutoModelForCausalLM.from_pretrained("gpt2")
{more}
arguments = TrainingArguments("out"{options})
Trainer(model=model, args=arguments, train_dataset=data).train()
"""
OTHERS = {
    "lightning": "import lightning as L\ntrainer = L.Trainer(max_epochs=3)\ntrainer.fit(module, loader)\n",
    "fastai": "from fastai.vision.all import *\nlearn = vision_learner(loaders, resnet18)\nlearn.fit(3)\n",
    "skorch": "from skorch import NeuralNetClassifier\nnet = NeuralNetClassifier(Net)\nnet.fit(x, y)\n",
    "ignite": "from ignite.engine import create_supervised_trainer\n"
    "create_supervised_trainer(model, optimizer, loss).run(loader)\n",
    "deepspeed": "import deepspeed\nengine, *_ = deepspeed.initialize(model=model, config=path)\n"
    "for x, y in loader:\n    engine.backward(loss_of(engine(x), y))\n    engine.step()\n",
}


def asked(
    text: str, remedy: str = "gradient_accumulation", steps: int | None = 4, grow: bool = False
) -> Result:
    return patch(text, [remedy], Wishes("auto", steps, grow))


def arguments_of(text: str) -> dict[str, str]:
    """The keywords of the one TrainingArguments or Trainer call."""
    call = next(
        n
        for n in ast.walk(ast.parse(text))
        if isinstance(n, ast.Call) and ast.unparse(n.func).endswith(("TrainingArguments", "L.Trainer"))
    )
    return {str(k.arg): ast.unparse(k.value) for k in call.keywords}


@pytest.mark.parametrize(
    ("options", "more", "size"),
    [
        (", per_device_train_batch_size=16", "", "4"),
        ("", "", "2"),  # the Trainer's default is 8
        (", per_device_train_batch_size=BATCH", "BATCH = 32\n", "BATCH // 4"),
        (", per_device_train_batch_size=2, gradient_accumulation_steps=8", "", "4"),
    ],
)
def test_the_trainer_accumulates_with_the_same_samples_per_step(options, more, size):
    once = asked(TRAINER.format(options=options, more=more))
    given = arguments_of(once.text)
    assert once.outcome == "framework_option"
    assert (given["gradient_accumulation_steps"], given["per_device_train_batch_size"]) == ("4", size)
    again = asked(once.text)
    assert again.outcome == "already" and again.text == once.text


def test_growing_leaves_the_batch_as_it_is():
    text = TRAINER.format(options=", per_device_train_batch_size=6", more="")
    given = arguments_of(asked(text, grow=True).text)
    assert (given["gradient_accumulation_steps"], given["per_device_train_batch_size"]) == ("4", "6")
    assert arguments_of(asked(OTHERS["lightning"], grow=True).text)["accumulate_grad_batches"] == "4"


@pytest.mark.parametrize(
    ("options", "more", "code"),
    [
        (", per_device_train_batch_size=6", "", "batch_not_divisible"),
        (", per_device_train_batch_size=args.batch", "", "framework_flag"),
        (", **settings", "", "framework_flag"),
        (", dataloader_drop_last=True", "", "batch_not_divisible"),
        (
            "",
            "from transformers import BertForSequenceClassification as B\nB.from_pretrained(x)\n",
            "loss_unknown",
        ),
        ("", "class Contrast(Trainer):\n    def compute_loss(self, model, inputs): ...\n", "loss_unknown"),
    ],
)
def test_what_a_divided_batch_could_change_is_declined(options, more, code):
    result = asked(TRAINER.format(options=options, more=more))
    assert (result.outcome, result.sites[0].reason_code) == ("declined", code)


def test_a_number_of_the_command_line_is_left_to_it():
    text = TRAINER.format(options=", gradient_accumulation_steps=args.steps", more="")
    assert asked(text).outcome == "already"


@pytest.mark.parametrize("remedy", ["gradient_accumulation", "lr_schedule", "early_stopping", "compile"])
@pytest.mark.parametrize("text", OTHERS.values(), ids=OTHERS)
def test_another_frameworks_loop_is_declined_with_what_to_write(text, remedy):
    result = asked(text, remedy)
    assert (result.outcome, result.text) == ("declined", text)


def test_manual_optimization_does_not_look_at_the_option():
    text = OTHERS["lightning"] + "module.automatic_optimization = False\n"
    assert asked(text, grow=True).outcome == "declined"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (
            "from transformers import HfArgumentParser\nHfArgumentParser((Model, Training)).parse()\n",
            "framework_flag",
        ),
        ("import lightning as L\nclass Net(L.LightningModule): ...\n", "framework_elsewhere"),
    ],
)
def test_a_trainer_that_is_set_up_elsewhere_is_pointed_to(text, code):
    for remedy in ("gradient_accumulation", "early_stopping"):
        assert asked(text, remedy).sites[0].reason_code == code


def test_checkpointing_of_a_trainer_needs_a_model_that_has_the_switch():
    own = "\nimport torch\nclass Net(torch.nn.Module): ...\nmodel = Net()\n"
    plain = TRAINER.format(options="", more="")
    assert asked(plain, "gradient_checkpointing").outcome == "framework_option"
    plain_module = own + plain[plain.index("arguments") :].replace(
        "TrainingArguments", "transformers.TrainingArguments"
    )
    assert asked(f"import transformers\n{plain_module}", "gradient_checkpointing").outcome == "declined"
    flags = TRAINER.format(options=", **settings", more="")
    assert asked(flags, "gradient_checkpointing").sites[0].reason_code == "framework_flag"


def test_a_loop_beside_the_trainers_is_told_to_keep_its_precision():
    text = TRAINER.format(options="", more="")
    own = "import torch\noptimizer = torch.optim.SGD(model.parameters(), lr=0.1)\nfor x, y in data:\n"
    own += "    loss = torch.nn.functional.mse_loss(model(x), y)\n    loss.backward()\n    optimizer.step()\n"
    assert asked(text, "mixed_precision").warnings == []
    assert "line" in asked(text + own, "mixed_precision").warnings[0]
