"""Models and rows for benchmarks/compression.py; nothing is downloaded.

The three open reference models come from ../shared/data/compression/zoo_open.py where that file exists; the others are
in compression_networks.py. Each is trained briefly on data that ships with scikit-learn or is generated from a seed.
"""

import importlib.util
from pathlib import Path

import compression_networks as networks
import numpy as np
import torch
from compression_networks import CHANNELS, HORIZON, LOOKBACK
from torch import nn

ZOO = Path(__file__).resolve().parents[2] / "shared/data/compression/zoo_open.py"


def series(seed=0, length=3000):
    """Windows of four noisy seasonal series with a slow trend, in time order."""
    rng, t = np.random.default_rng(seed), np.arange(length)
    waves = [np.sin(2 * np.pi * t / p + s) for p, s in ((24, 0), (24, 1), (168, 0), (48, 2))]
    x = np.stack(waves, 1) + 0.0003 * t[:, None] + 0.1 * rng.standard_normal((length, CHANNELS))
    starts = range(length - LOOKBACK - HORIZON)
    windows = np.stack([x[i : i + LOOKBACK + HORIZON] for i in starts]).astype("float32")
    return windows[:, :LOOKBACK], windows[:, LOOKBACK:]


def tokens(seed=0, count=5000):
    """Sequences whose class is the feature with the largest autocovariance."""
    x = np.random.default_rng(seed).standard_normal((count, 32, 8)).astype("float32")
    return x, (x[:, 1:, :4] * x[:, :-1, :4]).sum(1).argmax(1)


def digits():
    from sklearn.datasets import load_digits

    found = load_digits()
    x = torch.nn.functional.interpolate(
        torch.from_numpy((found.images / 16).astype("float32")[:, None]), size=(32, 32)
    )
    order = np.random.default_rng(0).permutation(len(x))
    return x.numpy()[order], found.target[order]


def boosted(folder):
    """A LightGBM classifier of digits, as its text file; the tree row of the benchmark."""
    import lightgbm

    x, y = digits()
    x = x.reshape(len(x), -1)[:, ::4]
    cut = len(x) // 3
    settings = {"objective": "multiclass", "num_class": 10, "verbose": -1, "num_threads": 1, "seed": 0}
    lightgbm.train(settings, lightgbm.Dataset(x[:cut], y[:cut]), 60).save_model(folder / "boosted.txt")
    x, y = x[cut:], y[cut:]
    cut = int(len(x) * 0.6)
    return (x[:cut], y[:cut]), (x[cut:], y[cut:])


def words(seed=0, count=4000):
    """Token sequences of four kinds, told apart by which words are frequent; one row in twenty is mislabelled."""
    rng = np.random.default_rng(seed)
    kinds = rng.integers(0, 4, count)
    chances = rng.dirichlet(np.full(2000, 0.3), 4) * 0.25 + 0.75 / 2000
    x = np.stack([rng.choice(2000, 128, p=chances[kind]) for kind in kinds])
    return x, np.where(rng.random(count) < 0.05, rng.integers(0, 4, count), kinds)


OWN = {
    "encoder": (networks.Encoder, tokens, "accuracy", 300),
    "convolutional": (networks.Convolutional, series, "mae", 150),
    "recurrent": (networks.Recurrent, series, "mae", 60),
    "blocks": (networks.Blocks, series, "mae", 200),
    "separable": (networks.Separable, digits, "accuracy", 200),
    "hierarchical": (networks.Hierarchical, series, "mae", 300),
    "decomposed": (networks.Decomposed, series, "mae", 400),
    "vision": (networks.Vision, digits, "accuracy", 150),
    "text": (networks.Text, words, "accuracy", 100),
    "patched": (networks.Patched, series, "mae", 120),
    "tagger": (networks.Tagger, words, "accuracy", 100),
}


def train(model, x, y, metric, steps):
    torch.manual_seed(0)
    model.train()
    loss = nn.functional.cross_entropy if metric == "accuracy" else nn.functional.l1_loss
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    x, y = torch.from_numpy(x), torch.from_numpy(y)
    for _ in range(steps):
        rows = torch.randint(0, len(y), (64,))
        value = loss(model(x[rows]), y[rows])
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    return model.eval()


def make(name, folder):
    """(model, metric, rows for the tool, rows that it never sees); the state dict lies in the folder."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    if name in OWN:
        build, rows, metric, steps = OWN[name]
        x, y = rows()
        cut, model = len(x) // 2, build()
        _once(folder / f"{name}.pt", model, lambda: train(model, x[:cut], y[:cut], metric, steps))
        x, y = x[cut:], y[cut:]
    else:
        zoo = open_zoo()
        data = zoo.data(name)
        model, metric = zoo.MAKE[name](), "mae" if name in zoo.REGRESSION else "accuracy"
        _once(folder / f"{name}.pt", model, lambda: model.load_state_dict(zoo.train(name, data).state_dict()))
        x, y = data["eval_x"], data["eval_y"]
    cut = int(len(x) * 0.6)
    return model.eval(), metric, (x[:cut], y[:cut]), (x[cut:], y[cut:])


def _once(path, model, run):
    """The state dict of an earlier run where there is one, else train and keep it."""
    if path.exists():
        model.load_state_dict(torch.load(path, weights_only=True))
    else:
        run()
        torch.save(model.state_dict(), path)


def open_zoo():
    spec = importlib.util.spec_from_file_location("zoo_open", ZOO)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
