"""What the probe and the supervisor cost a step: pairs of the same training with and without them, in turns.

Writes results/measure_overhead.json. Run: python benchmarks/measure_overhead.py [--python PYTHON] [--pairs 12]
The training times its own steps (about 20 ms and more); a figure is the ratio of its medians with and without
measure_run, by wall time and by processor time, with the 95 % interval over the pairs.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from optimizing_resources.tools._core.contract import CALL, Call
from optimizing_resources.tools._core.spread import paired_ratio
from optimizing_resources.tools._core.workspace import Workspace
from optimizing_resources.tools.measure_run import MeasureRunRequest, measure_run

RESULTS = Path(__file__).parent / "results" / "measure_overhead.json"
PROGRAM = """
import statistics, time, torch
from torch import nn
torch.manual_seed(0)
torch.set_num_threads(1)
layer = nn.TransformerEncoderLayer(64, 4, 128, batch_first=True)
model = nn.Sequential(nn.TransformerEncoder(layer, 3), nn.Linear(64, 8))
data = torch.utils.data.TensorDataset(torch.randn(1600, 32, 64), torch.randn(1600, 32, 8))
optimizer = torch.optim.AdamW(model.parameters())
walls, processors = [], []
for epoch in range(3):
    for x, y in torch.utils.data.DataLoader(data, batch_size=16):
        start, busy = time.perf_counter(), time.thread_time()
        loss = nn.functional.mse_loss(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        walls.append(time.perf_counter() - start)
        processors.append(time.thread_time() - busy)
print("wall", statistics.median(walls[10:]), "processor", statistics.median(processors[10:]))
"""


def figures(text: str) -> tuple[float, float]:
    words = text.split()
    return float(words[words.index("wall") + 1]), float(words[words.index("processor") + 1])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--pairs", type=int, default=12)
    typed = parser.parse_args()
    bare, probed = [], []
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "train.py"
        script.write_text(PROGRAM, encoding="utf-8")
        CALL.set(Call(Workspace.of_the_caller(Path(folder))))

        def alone() -> None:
            done = subprocess.run([typed.python, str(script)], capture_output=True, text=True, check=True)
            bare.append(figures(done.stdout))

        def measured() -> None:
            report = measure_run(MeasureRunRequest(command=["python", str(script)], python=typed.python))
            probed.append(figures(Path(report.output_path or "").read_text(encoding="utf-8")))

        for pair in range(typed.pairs):
            for act in (alone, measured) if pair % 2 == 0 else (measured, alone):
                act()
            print(bare[-1], probed[-1], flush=True)
    result = {"pairs": typed.pairs, "step_seconds": sorted(wall for wall, _ in bare)[len(bare) // 2]}
    for column, name in enumerate(("wall", "processor")):
        ratio = paired_ratio([one[column] for one in bare], [one[column] for one in probed])
        result[name] = {"ratio": ratio.value, "low": ratio.low, "high": ratio.high}
    print(json.dumps(result))
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
