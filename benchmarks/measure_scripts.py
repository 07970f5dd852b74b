"""Real, unmodified training scripts under measure_run: are steps exact and step times right?

Writes results/measure_scripts.json. Run: python benchmarks/measure_scripts.py CHECKOUTS [NAME ...] --python PYTHON
CHECKOUTS holds pytorch/examples, karpathy/nanoGPT, karpathy/minGPT, karpathy/makemore, karpathy/ng-video-lecture,
graykode/nlp-tutorial, yunjey/pytorch-tutorial, MorvanZhou/PyTorch-Tutorial, Lightning-AI/pytorch-lightning,
pytorch/ignite and keras-team/keras under their repository's name; PYTHON has torch, torchvision, lightning,
jsonargparse, transformers, accelerate, pytorch-ignite, keras, gymnasium and matplotlib. Data is synthetic, made
here. Each script runs through own_timing.py, which counts and times the optimizer steps by another route in the
same process.
"""

import argparse
import json
import os
import pickle
import random
import re
import statistics
import struct
from array import array
from pathlib import Path

from optimizing_resources.tools._core.contract import CALL, Call
from optimizing_resources.tools._core.workspace import Workspace
from optimizing_resources.tools.measure_run import MeasureRunReport, MeasureRunRequest, measure_run

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "measure_scripts.json"
STEPS = 40


def mnist(folder: Path, rows: int = 4000) -> None:
    """Random digits in the files that torchvision looks for."""
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    dice = random.Random(0)
    for kind in ("train", "t10k"):
        images = struct.pack(">IIII", 2051, rows, 28, 28) + dice.randbytes(rows * 784)
        labels = struct.pack(">II", 2049, rows) + bytes(dice.randrange(10) for _ in range(rows))
        (raw / f"{kind}-images-idx3-ubyte").write_bytes(images)
        (raw / f"{kind}-labels-idx1-ubyte").write_bytes(labels)


def characters(folder: Path) -> None:
    """Random characters as nanoGPT prepares them."""
    dice = random.Random(0)
    for name in ("train.bin", "val.bin"):
        (folder / name).write_bytes(array("H", (dice.randrange(65) for _ in range(200_000))).tobytes())
    meta = {"vocab_size": 65, "itos": dict(enumerate("abc")), "stoi": {}}
    (folder / "meta.pkl").write_bytes(pickle.dumps(meta))


def words(folder: Path) -> None:
    """Random words where word_language_model has wikitext."""
    dice = random.Random(0)
    for name in ("train.txt", "valid.txt", "test.txt"):
        lines = (" ".join(f"w{dice.randrange(500)}" for _ in range(20)) for _ in range(2000))
        (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")


def text(path: Path) -> None:
    dice = random.Random(0)
    path.write_text(
        "O God, O God!" + "".join(dice.choice("abcdefgh \n") for _ in range(50_000)), encoding="utf-8"
    )


NANO = (
    "--device=cpu --compile=False --eval_iters=1 --log_interval=1 --block_size=64 --batch_size=12 "
    "--n_layer=4 --n_head=4"
)
# name: folder below CHECKOUTS, script, arguments
SCRIPTS = {
    "mnist": ("examples/mnist", "main.py", "--epochs 1 --no-accel"),
    "mnist_rnn": ("examples/mnist_rnn", "main.py", "--epochs 1"),
    "vae": ("examples/vae", "main.py", "--epochs 1 --no-accel"),
    "siamese_network": ("examples/siamese_network", "main.py", "--epochs 1 --no-accel"),
    "dcgan": ("examples/dcgan", "main.py", "--dataset fake --ngf 16 --ndf 16 --batchSize 16 --workers 0"),
    "imagenet": ("examples/imagenet", "main.py", "--dummy -a resnet18 -b 4 -j 0 --epochs 1"),
    "imagenet_workers": ("examples/imagenet", "main.py", "--dummy -a squeezenet1_1 -b 8 -j 1 --epochs 1"),
    "word_language_model": (
        "examples/word_language_model", "main.py", "--epochs 1 --model LSTM --emsize 64 --nhid 64",
    ),
    "regression": ("examples/regression", "main.py", ""),
    "nanoGPT": ("nanoGPT", "train.py", f"config/train_shakespeare_char.py {NANO} --n_embd=128 --max_iters=200"),
    "minGPT_adder": ("minGPT", "projects/adder/adder.py", "--trainer.max_iters=200"),
    "minGPT_chargpt": ("minGPT/projects/chargpt", "chargpt.py", "--trainer.max_iters=200 --data.block_size=32"),
    "reinforce": ("examples/reinforcement_learning", "reinforce.py", "--log-interval 5"),
    "nnlm": ("nlp-tutorial/1-1.NNLM", "NNLM.py", ""),
    "textcnn": ("nlp-tutorial/2-1.TextCNN", "TextCNN.py", ""),
    "textlstm": ("nlp-tutorial/3-2.TextLSTM", "TextLSTM.py", ""),
    "seq2seq": ("nlp-tutorial/4-1.Seq2Seq", "Seq2Seq.py", ""),
    "nlp_transformer": ("nlp-tutorial/5-1.Transformer", "Transformer.py", ""),
    "linear_regression": ("pytorch-tutorial/tutorials/01-basics/linear_regression", "main.py", ""),
    "morvan_optimizers": ("PyTorch-Tutorial/tutorial-contents", "306_optimizer.py", ""),
    "morvan_dropout": ("PyTorch-Tutorial/tutorial-contents", "503_dropout.py", ""),
    "makemore": ("makemore", "makemore.py", "--max-steps 200 --n-layer 2"),
    "makemore_bow": ("makemore", "makemore.py", "--type bow --max-steps 200"),
    "bigram": ("ng-video-lecture", "bigram.py", ""),
    "fabric_image": ("pytorch-lightning/examples/fabric/image_classifier", "train_fabric.py", "--epochs 1"),
    "fabric_ppo": (
        "pytorch-lightning/examples/fabric/reinforcement_learning", "train_fabric.py", "--total-timesteps 4000",
    ),
    "lightning_autoencoder": (
        "pytorch-lightning/examples/pytorch/basics", "autoencoder.py",
        "--trainer.max_epochs 1 --trainer.accelerator cpu",
    ),
    "lightning_classifier": (
        "pytorch-lightning/examples/pytorch/basics", "backbone_image_classifier.py",
        "--trainer.max_epochs 1 --trainer.accelerator cpu",
    ),
    "ignite_mnist": ("ignite/examples/mnist", "mnist.py", "--epochs 1"),
    "ignite_reinforce": ("ignite/examples/reinforcement_learning", "reinforce.py", "--max-episodes 30"),
    "keras": ("keras/examples", "demo_functional.py", ""),
    "lightning": ("frameworks", "lightning_script.py", ""),
    "trainer": ("frameworks", "trainer_script.py", ""),
    "accelerate": ("frameworks", "accelerate_script.py", ""),
}  # fmt: skip

# What a script prints about its own step time, in milliseconds.
PRINTED = {
    "nanoGPT": {"printed_ms": r"time ([\d.]+)ms"},
    "minGPT_adder": {"printed_ms": r"iter_dt ([\d.]+)ms"},
    "minGPT_chargpt": {"printed_ms": r"iter_dt ([\d.]+)ms"},
    "word_language_model": {"printed_ms": r"ms/batch ([\d.]+)"},
}

_MODEL = """
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
torch.manual_seed(0)
net = nn.Sequential(nn.Linear(256, 1024), nn.ReLU(), nn.Linear(1024, 1024), nn.ReLU(), nn.Linear(1024, 10))
data = TensorDataset(torch.randn(6400, 256), torch.randint(0, 10, (6400,)))
"""
FRAMEWORKS = {
    "lightning_script.py": _MODEL
    + """
import lightning
class Module(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = net
    def training_step(self, batch, _):
        x, y = batch
        loss = nn.functional.cross_entropy(self.net(x), y)
        self.log("loss", loss)
        return loss
    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters())
lightning.Trainer(max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False).fit(
    Module(), DataLoader(data, batch_size=64)
)
""",
    "trainer_script.py": _MODEL
    + """
from transformers import Trainer, TrainingArguments
class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = net
    def forward(self, x, labels):
        out = self.net(x)
        return {"loss": nn.functional.cross_entropy(out, labels), "logits": out}
rows = [{"x": x, "labels": y} for x, y in data]
settings = TrainingArguments("out", num_train_epochs=1, per_device_train_batch_size=64, gradient_accumulation_steps=2,
                             use_cpu=True, report_to=[], save_strategy="no")
Trainer(Model(), settings, train_dataset=rows).train()
""",
    "accelerate_script.py": _MODEL
    + """
from accelerate import Accelerator
accelerator = Accelerator(cpu=True, gradient_accumulation_steps=2)
loader = DataLoader(data, batch_size=32)
model, optimizer, loader = accelerator.prepare(net, torch.optim.AdamW(net.parameters()), loader)
for x, y in loader:
    with accelerator.accumulate(model):
        loss = nn.functional.cross_entropy(model(x), y)
        accelerator.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
""",
}


def prepare(checkouts: Path) -> None:
    """The data the scripts look for."""
    mnist(checkouts / "examples" / "data")
    mnist(checkouts / "ignite" / "examples" / "mnist")
    for folder in ("Datasets", "examples/Datasets", "examples/pytorch/basics/data"):
        mnist(
            checkouts / "pytorch-lightning" / folder, rows=60_000
        )  # split into 55,000 and 5,000 by the scripts
    characters(checkouts / "nanoGPT" / "data" / "shakespeare_char")
    data = checkouts / "examples" / "word_language_model" / "data" / "wikitext-2"
    data.mkdir(parents=True, exist_ok=True)
    words(data)
    text(checkouts / "minGPT" / "projects" / "chargpt" / "input.txt")
    (checkouts / "frameworks").mkdir(exist_ok=True)
    for name, program in FRAMEWORKS.items():
        (checkouts / "frameworks" / name).write_text(program, encoding="utf-8")


def measured(checkouts: Path, name: str, python: str) -> MeasureRunReport:
    folder, script, arguments = SCRIPTS[name]
    os.environ |= {"PYTHONPATH": str(checkouts / "minGPT"), "MPLBACKEND": "Agg", "KERAS_BACKEND": "torch"}
    CALL.set(Call(Workspace.of_the_caller(checkouts / folder)))
    command = ["python", str(HERE / "own_timing.py"), script, *arguments.split()]
    pattern = {"steps": r"own steps (\d+)", "median": r"own median ([\d.]+)", **PRINTED.get(name, {})}
    return measure_run(
        MeasureRunRequest(command=command, max_steps=STEPS, max_seconds=240, python=python, metrics=pattern)
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("checkouts", type=Path)
    parser.add_argument("--python", required=True)
    parser.add_argument("names", nargs="*")
    typed = parser.parse_args()
    prepare(typed.checkouts)
    results = {}
    for name in typed.names or SCRIPTS:
        report = measured(typed.checkouts.resolve(), name, typed.python)
        printed = [value / 1e3 for _, value in report.metric_series.get("printed_ms", [])][5:]
        own, ours = report.metrics.get("median"), (report.step_seconds or {}).get("p50")
        results[name] = {
            "outcome": report.outcome, "reason": report.reason,
            "steps": report.steps, "own_steps": report.metrics.get("steps"),
            "step_seconds": ours, "own_step_seconds": own, "difference": ours / own - 1 if ours and own else None,
            "printed_median_seconds": statistics.median(printed) if printed else None,
            "step_source": report.step_source, "loss": report.loss[:2], "causes": [c.cause for c in report.causes],
        }  # fmt: skip
        print(name, json.dumps(results[name]), flush=True)
        if not typed.names:
            RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        if report.outcome in ("crashed", "never_stepped"):
            print(re.sub(r"(?m)^", "    ", Path(report.output_path or "").read_text(encoding="utf-8")[-600:]))


if __name__ == "__main__":
    main()
