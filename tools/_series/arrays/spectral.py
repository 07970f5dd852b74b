"""Transforms in the frequency domain: frequency_mask, frequency_mix, dominant_shuffle, iaaft.

A line through both ends is taken off before and put back after, since a spectrum sees the series as a circle.
"""

from types import ModuleType
from typing import Any

import numpy as np

from .blocks import transform
from .mixing import pool_of
from .streams import Floats, Keys, uniforms

_ITERATIONS = 50  # of the surrogate's two corrections; its spectrum changes by less than 1 % after about 20


def frequency_mask(x: Any, *, seed: int, rate: float = 0.1, **run: Any) -> Any:
    """A random `rate` of the frequencies removed (Chen et al. 2023)."""

    def work(code: ModuleType, x: Any, keys: Keys, out: Any) -> None:
        line, spectrum = _spectrum(x)
        spectrum = np.where((_draws(keys, spectrum) < rate), 0.0, spectrum)
        out[:] = line + np.fft.irfft(spectrum, n=x.shape[1], axis=1)

    return transform(x, "frequency_mask", work, seed=seed, **run)


def frequency_mix(
    x: Any, *, seed: int, rate: float = 0.1, donors: Any = None, donor_ids: Any = None, **run: Any
) -> Any:
    """A random `rate` of the frequencies taken from a donor, at the size of the series (Chen et al. 2023)."""
    pool = pool_of(x, donors, donor_ids, run.get("ids"))

    def work(code: ModuleType, x: Any, keys: Keys, out: Any) -> None:
        line, spectrum = _spectrum(x)
        donor = pool.values[pool.pick(keys, 1, first=1 << 20)[:, 0]]
        size = x.std(axis=1, keepdims=True) / np.maximum(donor.std(axis=1, keepdims=True), 1e-300)
        _, other = _spectrum(donor)
        spectrum = np.where(_draws(keys, spectrum) < rate, other * size, spectrum)
        out[:] = line + np.fft.irfft(spectrum, n=x.shape[1], axis=1)

    return transform(x, "frequency_mix", work, seed=seed, **run)


def dominant_shuffle(x: Any, *, seed: int, top: int = 4, **run: Any) -> Any:
    """The `top` strongest frequencies exchange their components at random (Zhao et al. 2024)."""

    def work(code: ModuleType, x: Any, keys: Keys, out: Any) -> None:
        line, spectrum = _spectrum(x)
        power = np.abs(spectrum)
        power[:, 0] = -1.0
        strong = np.argsort(-power, axis=1, kind="stable")[:, : min(top, spectrum.shape[1] - 1)]
        order = np.argsort(uniforms(keys, strong.shape[1])[:, :, None], axis=1)
        moved = np.take_along_axis(strong, np.broadcast_to(order, strong.shape), axis=1)
        np.put_along_axis(spectrum, strong, np.take_along_axis(spectrum, moved, axis=1), axis=1)
        out[:] = line + np.fft.irfft(spectrum, n=x.shape[1], axis=1)

    return transform(x, "dominant_shuffle", work, seed=seed, **run)


def iaaft(x: Any, *, seed: int, **run: Any) -> Any:
    """A surrogate with the very values of the series and nearly its spectrum (Schreiber and Schmitz 1996)."""

    def work(code: ModuleType, x: Any, keys: Keys, out: Any) -> None:
        ranked = np.sort(x, axis=1)
        size = np.abs(np.fft.rfft(x, axis=1))
        shuffled = np.argsort(uniforms(keys, x.shape[1]), axis=1)[:, :, None]
        now = np.take_along_axis(x, np.broadcast_to(shuffled, x.shape), axis=1)
        for _ in range(_ITERATIONS):
            turned = np.fft.rfft(now, axis=1)
            turned = size * turned / np.maximum(np.abs(turned), 1e-300)
            wave = np.fft.irfft(turned, n=x.shape[1], axis=1)
            rank = np.argsort(np.argsort(wave, axis=1, kind="stable"), axis=1)
            now = np.take_along_axis(ranked, rank, axis=1)
        out[:] = now

    return transform(x, "iaaft", work, seed=seed, **run)


def _spectrum(x: Any) -> tuple[Floats, Any]:
    steps = x.shape[1]
    share = (np.arange(steps) / max(steps - 1, 1))[None, :, None]
    line = x[:, :1] + share * (x[:, -1:] - x[:, :1])
    return line, np.fft.rfft(x - line, axis=1)


def _draws(keys: Keys, spectrum: Any) -> Floats:
    """A number in [0, 1) for each frequency, alike for all channels; the mean is never touched."""
    drawn = uniforms(keys, spectrum.shape[1])[:, :, None]
    drawn[:, 0] = 1.0
    return drawn
