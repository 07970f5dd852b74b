"""How far copies are from their originals, a line a method; on a sample of series, since it is a description."""

from typing import Any

import numpy as np

from .arrays.streams import Floats
from .block import Copies, bridge
from .intake.series import Series
from .methods import Wish

_SAMPLE = 200  # copies a method
_LAGS = 12


def fidelity(series: Series, copies: Copies, wishes: list[Wish]) -> list[dict[str, Any]]:
    """For each method: distances of autocorrelation, spectrum and values, and of the nearest copy."""
    return [_of_method(series, copies, w.name) for w in wishes]


def _of_method(series: Series, copies: Copies, name: str) -> dict[str, Any]:
    entries = [e for e in copies.entries if e["method"] == name]
    picked = entries[:: max(1, len(entries) // _SAMPLE)][:_SAMPLE]
    pairs = [
        (series.of(e["series"]), copies.values[e["first_row"] : e["first_row"] + e["rows"]]) for e in picked
    ]
    return describe(name, pairs, len(entries))


def describe(name: str, pairs: list[tuple[Floats, Floats]], copies: int | None = None) -> dict[str, Any]:
    """The mean distances over pairs of original and copy, each (time, channels); the first channel is compared."""
    copies = len(pairs) if copies is None else copies
    pairs = pairs[:_SAMPLE]
    lines = [_alike(bridge(a[None])[0, :, 0], bridge(b[None])[0, :, 0]) for a, b in pairs if len(a) > 3]
    measures = {
        "acf_distance": _acf_distance, "spectral_distance": _spectral_distance,
        "ks_distance": _ks_distance, "copy_distance": _copy_distance,
    }  # fmt: skip
    found = {key: [f(a, b) for a, b in lines if np.std(a) > 0] for key, f in measures.items()}
    summary = {key: round(float(np.mean(v)), 4) if v else None for key, v in found.items()}
    return {"method": name, "copies": copies, "sampled": len(lines), **summary, "basis": "measured"}


def _alike(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    """Both divided by the size of the original, so that no square overflows."""
    size = float(np.abs(a).max()) or 1.0
    return a / size, b / size


def acf(x: Floats, lags: int = _LAGS) -> Floats:
    """The autocorrelation at lags 1 to `lags`."""
    x = x - x.mean()
    power = float(x @ x) or 1.0
    return np.array([float(x[k:] @ x[: len(x) - k]) / power for k in range(1, min(lags, len(x) - 1) + 1)])


def _acf_distance(a: Floats, b: Floats) -> float:
    return float(np.abs(acf(a) - acf(b)).mean())


def _spectral_distance(a: Floats, b: Floats) -> float:
    shares = []
    for x in (a, b):
        power = np.abs(np.fft.rfft(x - x.mean()))[1:] ** 2
        shares.append(np.cumsum(power) / (power.sum() or 1.0))
    return float(np.abs(shares[0] - shares[1]).mean())


def _ks_distance(a: Floats, b: Floats) -> float:
    grid = np.sort(np.concatenate([a, b]))
    below = [np.searchsorted(np.sort(x), grid, side="right") / len(x) for x in (a, b)]
    return float(np.abs(below[0] - below[1]).max())


def _copy_distance(a: Floats, b: Floats) -> float:
    """Root mean square difference in standard deviations of the original: 0 is the original itself."""
    return float(np.sqrt(((a - b) ** 2).mean()) / np.std(a))
