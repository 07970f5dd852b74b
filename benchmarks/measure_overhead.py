"""What the probe costs a step: blocks of steps with and without its hooks, in turns, in one process.

Writes results/measure_overhead.json. Run: python benchmarks/measure_overhead.py [--python PYTHON] [--pairs 30]
The program takes the hooks off and puts them back between blocks of ten
steps and times its own steps; turns this short cancel the drifts of a busy machine. A figure is the ratio of a pair's
medians with and without, by wall time and by processor time of the training thread, with the 95 % interval over pairs.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from optimizing_resources.tools import measure_run as package
from optimizing_resources.tools._core.spread import paired_ratio

RESULTS = Path(__file__).parent / "results" / "measure_overhead.json"
ENGINE = Path(package.__file__).with_name("engine")
PROGRAM = """
import json, sys, time, torch
from torch import nn
from torch.optim import optimizer as optimizers
from torch.utils.data import dataloader
from probe.record import Record
from probe.torch_hooks import Hooks

torch.manual_seed(0)
torch.set_num_threads(1)
layer = nn.TransformerEncoderLayer(64, 4, 128, batch_first=True)
class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers, self.head = nn.TransformerEncoder(layer, 3), nn.Linear(64, 8)
    def forward(self, x):
        return self.head(self.layers(x))
model = Model()
data = torch.utils.data.TensorDataset(torch.randn(3200, 32, 64), torch.randn(3200, 32, 8))
optimizer = torch.optim.AdamW(model.parameters())
PLACES = [(torch.autograd, "backward"), (dataloader._BaseDataLoaderIter, "__next__"), (Model, "__call__")]
PLACES += [(torch.Tensor, n) for n in ("item", "tolist", "__bool__", "__float__", "__int__", "__index__")]

def batches():
    while True:
        yield from torch.utils.data.DataLoader(data, batch_size=BATCH)

def block(loader, steps=10):
    walls, processors = [], []
    for _ in range(steps):
        start, busy = time.perf_counter(), time.thread_time()
        x, y = next(loader)
        loss = nn.functional.mse_loss(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        walls.append(time.perf_counter() - start)
        processors.append(time.thread_time() - busy)
    return sorted(walls)[steps // 2], sorted(processors)[steps // 2]

loader = batches()
bare = [getattr(owner, name) for owner, name in PLACES]
block(loader)
Hooks(torch, Record(sys.argv[1])).install()
block(loader)
hooked = [getattr(owner, name) for owner, name in PLACES]
GLOBAL = [optimizers._global_optimizer_pre_hooks, optimizers._global_optimizer_post_hooks]
after = [dict(hooks) for hooks in GLOBAL]

def switch(on):
    for (owner, name), value in zip(PLACES, hooked if on else bare):
        setattr(owner, name, value)
    for hooks, having in zip(GLOBAL, after):
        hooks.clear()
        hooks.update(having if on else {})

pairs = []
for pair in range(int(sys.argv[2])):
    found = {}
    for on in (True, False) if pair % 2 else (False, True):
        switch(on)
        found[on] = block(loader)
    pairs.append([found[False], found[True]])
print(json.dumps(pairs))
"""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--pairs", type=int, default=30)
    typed = parser.parse_args()
    results = {}
    for batch in (16, 1):  # steps of 20 ms and more; and short ones, where the cost itself shows
        with tempfile.TemporaryDirectory() as folder:
            command = [
                typed.python,
                "-W",
                "ignore",
                "-c",
                PROGRAM.replace("BATCH", str(batch)),
                folder,
                str(typed.pairs),
            ]
            environment = {**os.environ, "PYTHONPATH": str(ENGINE)}
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        pairs = json.loads(done.stdout)
        found = {"pairs": len(pairs)}
        for column, name in enumerate(("wall", "processor")):
            without, having = ([pair[side][column] for pair in pairs] for side in (0, 1))
            ratio = paired_ratio(without, having)
            added = statistics.median(late - early for early, late in zip(without, having, strict=True))
            found[name] = {
                "step_seconds": statistics.median(without), "ratio": ratio.value, "low": ratio.low, "high": ratio.high,
                "added_seconds": added,
            }  # fmt: skip
        results[f"batch {batch}"] = found
        print(batch, json.dumps(found), flush=True)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
