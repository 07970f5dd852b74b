"""Models and rows for benchmarks/compression.py; nothing is downloaded.

The three open reference models come from ../shared/data/compression/zoo_open.py where that file exists; the others are
defined here. Every model is trained briefly on data that ships with scikit-learn or is generated from a seed.
"""

import importlib.util
from pathlib import Path

import numpy as np
import torch
from torch import nn

ZOO = Path(__file__).resolve().parents[2] / "shared/data/compression/zoo_open.py"
LOOKBACK, HORIZON, CHANNELS = 96, 24, 4


class Encoder(nn.Module):
    """Transformer encoder over 32 tokens of 8 features."""

    def __init__(self, width=128, layers=3, classes=4):
        super().__init__()
        self.embed = nn.Linear(8, width)
        layer = nn.TransformerEncoderLayer(width, 4, 4 * width, 0.0, batch_first=True, norm_first=True)
        self.body = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.head = nn.Linear(width, classes)

    def forward(self, x):
        return self.head(self.body(self.embed(x)).mean(1))


class Convolutional(nn.Module):
    """Dilated 1-D convolutions over a series; the last level is taken off and put back."""

    def __init__(self, width=64):
        super().__init__()
        layers, last = [], CHANNELS
        for dilation in (1, 2, 4, 8):
            layers += [nn.Conv1d(last, width, 3, padding=dilation, dilation=dilation), nn.ReLU()]
            last = width
        self.body, self.head = nn.Sequential(*layers), nn.Linear(width * LOOKBACK, HORIZON * CHANNELS)

    def forward(self, x):
        last = x[:, -1:, :]
        y = self.body((x - last).transpose(1, 2)).flatten(1)
        return self.head(y).reshape(-1, HORIZON, CHANNELS) + last


class Recurrent(nn.Module):
    """Two GRU layers and a linear head."""

    def __init__(self, width=128):
        super().__init__()
        self.rnn, self.head = (
            nn.GRU(CHANNELS, width, 2, batch_first=True),
            nn.Linear(width, HORIZON * CHANNELS),
        )

    def forward(self, x):
        last = x[:, -1:, :]
        y, _ = self.rnn(x - last)
        return self.head(y[:, -1]).reshape(-1, HORIZON, CHANNELS) + last


class Blocks(nn.Module):
    """Residual fully connected blocks (N-BEATS, generic)."""

    def __init__(self, width=256, blocks=4):
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Linear(LOOKBACK, width),
                nn.ReLU(),
                nn.Linear(width, width),
                nn.ReLU(),
                nn.Linear(width, LOOKBACK + HORIZON),
            )
            for _ in range(blocks)
        )

    def forward(self, x):
        last = x[:, -1:, :]
        rest, total = (x - last).transpose(1, 2), 0
        for block in self.blocks:
            back, forward = block(rest).split([LOOKBACK, HORIZON], -1)
            rest, total = rest - back, total + forward
        return total.transpose(1, 2) + last


class Separable(nn.Module):
    """Depthwise separable 2-D convolutions (MobileNet style) on 32 x 32 digits."""

    def __init__(self, width=64, classes=10):
        super().__init__()
        layers, last = self.layer(1, width, 3, 2), width
        for stride in (1, 2, 1, 2):
            layers += self.layer(last, last, 3, stride, groups=last) + self.layer(last, 2 * width, 1, 1)
            last = 2 * width
        self.body, self.head = nn.Sequential(*layers), nn.Linear(last, classes)

    def forward(self, x):
        return self.head(self.body(x).mean((2, 3)))

    @staticmethod
    def layer(before, after, kernel, stride, groups=1):
        convolution = nn.Conv2d(before, after, kernel, stride, kernel // 2, groups=groups, bias=False)
        return [convolution, nn.BatchNorm2d(after), nn.ReLU()]


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


OWN = {
    "encoder": (Encoder, tokens, "accuracy", 300),
    "convolutional": (Convolutional, series, "mae", 150),
    "recurrent": (Recurrent, series, "mae", 60),
    "blocks": (Blocks, series, "mae", 200),
    "separable": (Separable, digits, "accuracy", 200),
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
