"""Series that imitate nothing but the size and length of the original: kernel_synth and sarima_series."""

from types import ModuleType
from typing import Any

import numpy as np

from .blocks import transform
from .streams import Floats, Keys, normals, uniforms

_LONGEST_KERNEL = 512  # a draw needs the Cholesky factor of a matrix this wide; longer series interpolate it
_NUGGET = 1e-6


def kernel_synth(x: Any, *, seed: int, season: int = 1, **run: Any) -> Any:
    """A draw from a Gaussian process whose kernel is put together at random (KernelSynth, Ansari et al. 2024)."""

    def work(code: ModuleType, x: Any, keys: Keys, out: Any) -> None:
        points = min(x.shape[1], _LONGEST_KERNEL)
        at = np.linspace(0.0, 1.0, points)
        for i in range(len(x)):
            chance = uniforms(keys[i : i + 1], 16)[0]
            root = np.linalg.cholesky(
                _kernel(at, chance, season / max(x.shape[1], 1)) + _NUGGET * np.eye(points)
            )
            for c in range(x.shape[2]):
                draws = normals(keys[i : i + 1], points, first=16 + c * points)[0]
                wave = np.interp(np.linspace(0.0, 1.0, x.shape[1]), at, (root * draws[None, :]).sum(axis=1))
                out[i, :, c] = _sized(wave, x[i, :, c])

    return transform(x, "kernel_synth", work, seed=seed, **run)


def sarima_series(x: Any, *, seed: int, season: int = 1, **run: Any) -> Any:
    """A simulated seasonal ARIMA(1,1,1)(1,0,0) with random coefficients, at the size of the original."""

    def work(code: ModuleType, x: Any, keys: Keys, out: Any) -> None:
        steps, warm = x.shape[1], 2 * season + 20
        chance = uniforms(keys, 3)
        near, far, moving = 1.6 * chance[:, 0] - 0.8, 0.95 * chance[:, 1], 1.2 * chance[:, 2] - 0.6
        for c in range(x.shape[2]):
            shock = normals(keys, steps + warm, first=16 + c * (steps + warm))
            wave = np.zeros_like(shock)
            for t in range(steps + warm):
                wave[:, t] = shock[:, t] + (moving * shock[:, t - 1] if t else 0.0)
                if t:
                    wave[:, t] += near * wave[:, t - 1] * (1.0 - far if season > 1 else 1.0)
                if season > 1 and t >= season:
                    wave[:, t] += far * wave[:, t - season]
            level = np.cumsum(wave[:, warm:], axis=1) / np.sqrt(steps) if season == 1 else wave[:, warm:]
            for i in range(len(x)):
                out[i, :, c] = _sized(level[i], x[i, :, c])

    return transform(x, "sarima_series", work, seed=seed, **run)


def _kernel(at: Floats, chance: Floats, period: float) -> Floats:
    """A sum or product of two or three of: smooth, periodic, linear, rough."""
    far = np.abs(at[:, None] - at[None, :])
    width = 0.02 + 0.3 * chance[0]
    parts = [
        np.exp(-0.5 * (far / width) ** 2),
        np.exp(-2.0 * np.sin(np.pi * far / max(period or 1.0, 0.01)) ** 2 / (0.5 + chance[1]) ** 2),
        np.outer(at, at),
        np.exp(-far / width),
    ]
    kernel = parts[int(chance[2] * 4)]
    for k in range(1 + int(chance[3] * 2)):
        other = parts[int(chance[4 + k] * 4)]
        kernel = kernel + other if chance[8 + k] < 0.5 else kernel * other
    return np.asarray(kernel)


def _sized(wave: Floats, like: Floats) -> Floats:
    """The wave with the mean and deviation of the original."""
    spread = wave.std()
    return np.asarray(like.mean() + (wave - wave.mean()) / (spread or 1.0) * like.std())
