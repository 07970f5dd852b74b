"""Random streams addressed by (seed, method, series, copy, position), so that no order of work can change a draw.

The stream of a series is SplitMix64 started at a key hashed from those four. Normal numbers come from the 256-layer
ziggurat of Marsaglia and Tsang (2000), attempt by attempt at fixed positions. `loops.py` holds the same in numba.
"""

import hashlib
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Keys = npt.NDArray[np.uint64]
Floats = npt.NDArray[np.float64]

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
ATTEMPT = np.uint64(1 << 40)  # distance between the attempts of one draw; positions stay below it
TAIL = 3.6541528853610088  # where the lowest of 256 layers of equal area ends, and that area
_AREA = 0.00492867323399
BASE = 255  # the lowest layer, which has the tail
_MANTISSA = float(1 << 52)


def _ziggurat() -> tuple[Floats, Floats, Floats]:
    """Per layer: the widest sure mantissa, the width of one mantissa step, the density at its edge."""
    edges = np.empty(257)
    density = math.exp(-0.5 * TAIL**2)
    edges[256], edges[255] = _AREA / density, TAIL
    for layer in range(254, 0, -1):
        above = _AREA / edges[layer + 1] + math.exp(-0.5 * edges[layer + 1] ** 2)
        edges[layer] = math.sqrt(-2.0 * math.log(above))
    edges[0] = 0.0
    widths = edges[1:] / _MANTISSA
    return np.floor(edges[:-1] / edges[1:] * _MANTISSA), widths, np.exp(-0.5 * edges**2)


SURE, WIDTH, DENSITY = _ziggurat()


def mix(bits: Keys) -> Keys:
    """The SplitMix64 finaliser."""
    bits = (bits ^ (bits >> np.uint64(30))) * _FIRST
    bits = (bits ^ (bits >> np.uint64(27))) * _SECOND
    return bits ^ (bits >> np.uint64(31))


def digest(*parts: object) -> int:
    """64 bits of a hash over the parts, the same on every machine."""
    text = "\x1f".join(map(str, parts)).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


def keys_of(seed: int, method: str, copy: int, series: int, ids: Sequence[object] | None = None) -> Keys:
    """One key a series, from its id where ids are given and from its row otherwise."""
    own = (
        np.arange(series, dtype=np.uint64)
        if ids is None
        else np.fromiter((digest(i) for i in ids), np.uint64, series)
    )
    return mix(mix(own * GOLDEN + np.uint64(1)) ^ np.uint64(digest(seed, method, copy)))


def bits_at(keys: Keys, positions: Keys) -> Keys:
    """64 random bits at each position of each stream (the two broadcast)."""
    return mix(keys + (positions + np.uint64(1)) * GOLDEN)


def unit(bits: Keys) -> Floats:
    """Bits as numbers in [0, 1)."""
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def uniforms(keys: Keys, count: int, first: int = 0) -> Floats:
    """`count` numbers in [0, 1) a series, from position `first` of its stream."""
    return unit(bits_at(keys[:, None], np.arange(first, first + count, dtype=np.uint64)[None, :]))


def normals(keys: Keys, count: int, first: int = 0) -> Floats:
    """`count` standard normal numbers a series, from position `first` of its stream."""
    positions = np.broadcast_to(np.arange(first, first + count, dtype=np.uint64)[None, :], (len(keys), count))
    flat_keys = np.broadcast_to(keys[:, None], positions.shape).reshape(-1)
    return _ziggurat_draws(flat_keys, positions.reshape(-1)).reshape(positions.shape)


def _ziggurat_draws(keys: Keys, positions: Keys) -> Floats:
    bits = bits_at(keys, positions)
    layer, mantissa = (bits & np.uint64(0xFF)).astype(np.intp), (bits >> np.uint64(12)).astype(np.float64)
    size = mantissa * WIDTH[layer]
    drawn = np.where(bits & np.uint64(0x100), -size, size)
    (pending,) = np.nonzero(mantissa >= SURE[layer])
    for at in pending[layer[pending] == BASE]:
        drawn[at] = math.copysign(_tail(int(keys[at]), int(positions[at])), drawn[at])
    pending = pending[layer[pending] < BASE]
    edge = layer[pending]
    chance = unit(bits_at(keys[pending], positions[pending] + ATTEMPT))
    height = DENSITY[edge + 1] + chance * (DENSITY[edge] - DENSITY[edge + 1])
    refused = pending[height >= np.exp(-0.5 * size[pending] * size[pending])]
    if len(refused):
        drawn[refused] = _ziggurat_draws(keys[refused], positions[refused] + np.uint64(2) * ATTEMPT)
    return drawn


def _tail(key: int, position: int) -> float:
    """A draw beyond the lowest layer (Marsaglia 1964); about one in 3,700 draws gets here."""
    step = int(ATTEMPT)
    while True:
        position += 2 * step
        first, second = (
            float(unit(bits_at(np.array([key], np.uint64), np.array([p % 2**64], np.uint64)))[0])
            for p in (position, position + step)
        )
        beyond = -math.log(1.0 - first) / TAIL
        if -2.0 * math.log(1.0 - second) > beyond * beyond:
            return TAIL + beyond
