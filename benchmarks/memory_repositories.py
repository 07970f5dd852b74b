"""Peak of a CPU training step, predicted and measured, with models straight from public repositories.

    REPOSITORIES=FOLDER python benchmarks/memory_repositories.py [NAME...]

FOLDER holds checkouts under the names of the repositories (see the first argument of `take` in each step); what is not
there is skipped. Nothing of theirs is part of this file. Truth and table as in memory_unseen.py.
"""

import importlib
import os
import sys
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

ROOT = Path(os.environ.get("REPOSITORIES", "repositories"))
Made = dict[str, Any]


def take(folder: str, module: str) -> Any:
    """A module of a checkout."""
    if not (ROOT / folder).exists():
        raise FileNotFoundError(f"no checkout {folder}")
    sys.path.insert(0, str(ROOT / folder))
    return importlib.import_module(module)


def made(model: nn.Module, batch: Any, loss: Any, optimizer: Any = torch.optim.AdamW, **more: Any) -> Made:
    return {"model": model, "batch": batch, "loss": loss, "optimizer": optimizer(model.parameters()), **more}


def sgd(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, 0.1, momentum=0.9)


def labels(count: int, *shape: int) -> torch.Tensor:
    return torch.randint(0, count, shape)


def classify(model: nn.Module, batch: Any) -> Any:
    return F.cross_entropy(model(batch[0]), batch[1])


def regress(model: nn.Module, batch: Any) -> Any:
    return F.mse_loss(model(batch[0]), batch[1])


STEPS = ("memory_repositories_images", "memory_repositories_sequences")


def main() -> None:
    bench = importlib.import_module("memory_unseen")
    bench.ALONE = modules = [importlib.import_module(name) for name in STEPS]
    bench.names = lambda: [name for module in modules for name in module.NAMES]
    bench.main()


if __name__ == "__main__":
    main()
