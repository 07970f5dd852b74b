"""A server's first estimate_memory call, which imports torch, against those that follow.

    .venv/bin/python benchmarks/warm_calls.py [sessions] [PYTHON ...]

Each session starts a server, makes four calls of a small step with different widths, and hangs up. With further
interpreters, whose installed versions of this project are to be compared, sessions take turns among all of them.
"""

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from server_load import Pipe, call

STEP = """
import torch
from torch import nn

def make_step(batch_size=8, width=256):
    model = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 10))
    return {
        "model": model,
        "batch": (torch.randn(batch_size, width), torch.randint(0, 10, (batch_size,))),
        "loss": lambda model, batch: nn.functional.cross_entropy(model(batch[0]), batch[1]),
        "optimizer": torch.optim.Adam(model.parameters()),
    }
"""
CALLS = 4


def session(python: str) -> list[float]:
    """Seconds that each call took."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "step.py").write_text(STEP, encoding="utf-8")
        server, took = Pipe(folder, python), []
        for number in range(CALLS):
            request = call(
                "estimate_memory", step="step.py:make_step", gpu="T4", arguments={"width": 256 + number}
            )
            began = time.perf_counter()
            [(ended, reply)] = server.wait(server.send([request]))
            assert not reply["result"]["isError"], reply  # type: ignore[index]
            took.append(ended - began)
        server.close()
    return took


def main(sessions: int, pythons: list[str]) -> None:
    """Print the medians."""
    seen: dict[str, list[list[float]]] = {python: [] for python in pythons}
    for _ in range(sessions):
        for python in pythons:
            seen[python].append(session(python))
    for python, rows in seen.items():
        first = statistics.median(row[0] for row in rows)
        later = statistics.median(seconds for row in rows for seconds in row[1:])
        print(
            f"first call {first:.2f} s, later calls {later:.2f} s (medians of {sessions} sessions) {python}"
        )
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5, [sys.executable, *sys.argv[2:]])
