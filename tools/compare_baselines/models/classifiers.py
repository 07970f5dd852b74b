"""Classifiers of labelled series: nearest neighbour under dynamic time warping, LightGBM on features, a small FCN."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..._series.arrays.streams import Floats

Cases = list[Floats]  # (time, channels) each
_BAND = 0.1  # of the length: how far two series may be shifted against each other (Sakoe and Chiba 1978)
_POINTS = 64  # a channel is given to LightGBM and the network at this many points at most
_EPOCHS, _BATCH, _RATE = 120, 16, 1e-3


def knn_dtw(train: Cases, labels: Any, test: Cases, seed: int) -> Any:
    """The label of the nearest training series; each series is normalised first."""
    from .dtw import nearest  # numba: 0.5 s

    return labels[nearest([_normal(x) for x in test], [_normal(x) for x in train], _BAND)]


def lightgbm(train: Cases, labels: Any, test: Cases, seed: int) -> Any:
    """Gradient boosting on the points of a series and a few figures about it."""
    import lightgbm as lgb

    known, codes = np.unique(labels, return_inverse=True)
    points = _points(train)
    leaf = max(1, min(20, len(train) // (5 * len(known))))
    model = lgb.LGBMClassifier(
        min_child_samples=leaf,
        deterministic=True,
        force_row_wise=True,
        num_threads=1,
        verbosity=-1,
        seed=seed,
    )
    model.fit(_features(train, points), codes)
    chances = np.asarray(model.booster_.predict(_features(test, points)))
    return known[chances.argmax(axis=1) if chances.ndim == 2 else (chances > 0.5).astype(int)]


def fcn(train: Cases, labels: Any, test: Cases, seed: int) -> Any:
    """A fully convolutional network (Wang et al. 2017), small enough for a CPU."""
    import torch
    from torch import nn

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    known, codes = np.unique(labels, return_inverse=True)
    points = _points(train)
    x, held = (torch.tensor(_stack(cases, points), dtype=torch.float32) for cases in (train, test))
    y = torch.tensor(codes)
    layers: list[Any] = []
    for before, after, width in ((x.shape[1], 32, 7), (32, 64, 5), (64, 32, 3)):
        layers += [nn.Conv1d(before, after, width, padding="same"), nn.BatchNorm1d(after), nn.ReLU()]
    network = nn.Sequential(*layers, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(32, len(known)))
    optimizer = torch.optim.Adam(network.parameters(), lr=_RATE)
    order = torch.Generator().manual_seed(seed)
    steps = max(1, _EPOCHS * 50 // max(len(x), 50))
    for _ in range(steps):
        for batch in torch.randperm(len(x), generator=order).split(_BATCH):
            if len(batch) < 2:  # batch normalisation needs two
                continue
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(x[batch]), y[batch]).backward()
            optimizer.step()
    network.eval()
    with torch.no_grad():
        return known[network(held).argmax(dim=1).numpy()]


CLASSIFIERS: dict[str, tuple[Callable[..., Any], tuple[str, ...], str]] = {
    "knn_dtw": (knn_dtw, ("numba",), "series"),
    "lightgbm": (lightgbm, ("lightgbm",), "series"),
    "fcn": (fcn, ("torch",), "torch"),
}


def _normal(x: Floats) -> Floats:
    spread = x.std(axis=0, keepdims=True)
    return np.asarray((x - x.mean(axis=0, keepdims=True)) / np.where(spread > 0, spread, 1.0))


def _points(cases: Cases) -> int:
    return int(min(_POINTS, np.median([len(x) for x in cases])))


def _stack(cases: Cases, points: int) -> Floats:
    """All series at `points` points, (series, channels, time), each normalised."""
    grid = np.linspace(0.0, 1.0, points)
    return np.array(
        [[np.interp(grid, np.linspace(0.0, 1.0, len(x)), c) for c in _normal(x).T] for x in cases]
    )


def _features(cases: Cases, points: int) -> Floats:
    shape = _stack(cases, points).reshape(len(cases), -1)
    figures = [
        np.concatenate([x.mean(0), x.std(0), x.min(0), x.max(0), np.diff(x, axis=0).std(0)]) for x in cases
    ]
    return np.hstack([shape, np.array(figures)])
