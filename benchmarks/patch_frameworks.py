"""Run a small training of every framework with the option that apply_amp_patch sets, against the installed release.

    python benchmarks/patch_frameworks.py PYTHON [PATTERN]

PYTHON needs torch and the frameworks; one that is missing is left out and named. Each script is patched for every
precision and run on the CPU: the option has to be accepted, the loss has to fall, and the layer's output shows the
dtype it computed in (fp16 is a matter of GPUs: most frameworks refuse or ignore it here, which the row says).
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from optimizing_resources.tools.apply_amp_patch.codemod import patch
from optimizing_resources.tools.apply_amp_patch.context import Wishes

HERE = Path(__file__).resolve().parent
PROBE = '''
import torch
torch.manual_seed(0)


class Probe(torch.nn.Module):
    """A linear layer that notes the dtype it computes in."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(8, 1)
        self.kinds = set()
        self.losses = []

    def forward(self, x):
        out = self.layer(x)
        if torch.is_grad_enabled():
            self.kinds.add(str(out.dtype))
        return out


inputs = torch.randn(256, 8)
targets = inputs.sum(1, keepdim=True)
data = torch.utils.data.TensorDataset(inputs, targets)


def mse(out, y):
    return torch.nn.functional.mse_loss(out.float(), y)


def show(net, losses):
    import json
    print("RESULT", json.dumps([sorted(net.kinds), losses[0], losses[-1]]))
'''
SCRIPTS = {
    "lightning": """
import lightning as L
import torch
from probe import *


class Module(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = Probe()

    def training_step(self, batch, index):
        loss = mse(self.net(batch[0]), batch[1])
        self.net.losses.append(loss.item())
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.05)


module = Module()
quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
trainer = L.Trainer(max_epochs=2, accelerator="cpu", **quiet)
trainer.fit(module, torch.utils.data.DataLoader(data, batch_size=16))
show(module.net, module.net.losses)
""",
    "fabric": """
import torch
from lightning import Fabric
from probe import *

fabric = Fabric(accelerator="cpu", devices=1)
net = Probe()
model, optimizer = fabric.setup(net, torch.optim.SGD(net.parameters(), lr=0.05))
loader = fabric.setup_dataloaders(torch.utils.data.DataLoader(data, batch_size=16))
for epoch in range(2):
    for x, y in loader:
        loss = mse(model(x), y)
        fabric.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        net.losses.append(loss.item())
show(net, net.losses)
""",
    "accelerate": """
import torch
from accelerate import Accelerator
from probe import *

accelerator = Accelerator(cpu=True)
net = Probe()
optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
model, optimizer, loader = accelerator.prepare(net, optimizer, torch.utils.data.DataLoader(data, batch_size=16))
for epoch in range(2):
    for x, y in loader:
        optimizer.zero_grad()
        loss = mse(model(x), y)
        accelerator.backward(loss)
        optimizer.step()
        net.losses.append(loss.item())
show(net, net.losses)
""",
    "transformers": """
import torch
from transformers import Trainer, TrainingArguments
from probe import *


class Model(Probe):
    def forward(self, x, labels):
        out = super().forward(x)
        loss = mse(out, labels)
        if torch.is_grad_enabled():
            self.losses.append(loss.item())
        return {"loss": loss, "logits": out}


rows = [{"x": x, "labels": y} for x, y in data]
arguments = TrainingArguments(
    "out",
    num_train_epochs=2,
    learning_rate=0.05,
    report_to=[],
    save_strategy="no",
    use_cpu=True,  # no GPU here
)
net = Model()
Trainer(model=net, args=arguments, train_dataset=rows).train()
show(net, net.losses)
""",
    "skorch": """
import torch
from probe import *
from skorch import NeuralNetRegressor


class Model(Probe):
    pass


net = NeuralNetRegressor(Model, max_epochs=3, lr=0.05, device="cpu", verbose=0, train_split=None)
net.fit(inputs.numpy(), targets.numpy())
show(net.module_, net.history[:, "train_loss"])
""",
    "ignite": """
import torch
from ignite.engine import Events, create_supervised_trainer
from probe import *

net = Probe()
optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
trainer = create_supervised_trainer(net, optimizer, mse, device="cpu")
trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: net.losses.append(engine.state.output))
trainer.run(torch.utils.data.DataLoader(data, batch_size=16), max_epochs=2)
show(net, net.losses)
""",
    "fastai": """
import torch
from fastai.basics import *
from probe import *

rows = list(data)
net = Probe()
loaders = DataLoaders(DataLoader(rows, bs=16), DataLoader(rows, bs=16))
learn = Learner(loaders, net, loss_func=mse, lr=0.05)
learn.fit(3)
show(net, [float(row[0]) for row in learn.recorder.values])
""",
    "deepspeed": """
import os

import torch
from probe import *

os.environ.update(RANK="0", WORLD_SIZE="1", LOCAL_RANK="0", MASTER_ADDR="127.0.0.1", MASTER_PORT="29511")
os.environ["DS_ACCELERATOR"] = "cpu"
import deepspeed

net = Probe()
config = {
    "train_batch_size": 16,
    "optimizer": {"type": "Adam", "params": {"lr": 0.05, "torch_adam": True}},
}
engine, optimizer, _, _ = deepspeed.initialize(model=net, model_parameters=net.parameters(), config=config)
for epoch in range(2):
    for x, y in torch.utils.data.DataLoader(data, batch_size=16):
        loss = mse(engine(x.to(next(net.parameters()).dtype)), y)
        engine.backward(loss)
        engine.step()
        net.losses.append(loss.item())
show(net, net.losses)
""",
}


def run(python: str, text: str) -> dict[str, object]:
    """What one patched script answers."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "probe.py").write_text(PROBE, encoding="utf-8")
        (Path(folder) / "train.py").write_text(text, encoding="utf-8")
        command = [python, "train.py"]
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
        except subprocess.TimeoutExpired:
            return {"error": "no end within 300 s"}
    found = re.search(r"RESULT (.*)", done.stdout)
    if not found:
        lines = [line for line in done.stderr.strip().split("\n") if line and not line.startswith("[")]
        return {"error": lines[-1][:200] if lines else "no result"}
    kinds, first, last = json.loads(found.group(1))
    return {
        "computed_in": kinds,
        "first_loss": round(first, 4),
        "last_loss": round(last, 4),
        "learns": last < first,
    }


def versions(python: str) -> dict[str, str]:
    """The installed releases."""
    names = ["torch", "pytorch-ignite", *SCRIPTS]
    code = (
        "import importlib.metadata as m, json\n"
        f"found = {{d.metadata['Name'].lower(): d.version for d in m.distributions()}}\n"
        f"print(json.dumps({{n: found[n] for n in {names!r} if n in found}}))"
    )
    return json.loads(subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout)


def main() -> None:
    python, wanted = sys.argv[1], re.compile(sys.argv[2] if len(sys.argv) > 2 else ".")
    target = HERE / "results" / "patch_frameworks.json"
    result = json.loads(target.read_text(encoding="utf-8")) if target.exists() else {}
    result["versions"] = versions(python)
    for name, text in SCRIPTS.items():
        if not wanted.search(name):
            continue
        rows: dict[str, object] = {"unpatched": run(python, text)}
        for precision in ("auto", "bf16", "fp16"):
            patched = patch(text, ["mixed_precision"], Wishes(precision))
            codes = [site.reason_code for site in patched.sites]
            ran = run(python, patched.text) if patched.text != text else {}
            rows[precision] = {"outcome": patched.outcome, "codes": codes, **ran}
        result[name] = rows
        target.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        print(name, json.dumps(rows), flush=True)


if __name__ == "__main__":
    main()
