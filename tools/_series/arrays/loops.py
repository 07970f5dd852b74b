"""The fused loops, compiled by numba (extra `series`): per value the same operations in the same order as plain.py."""

import math
from typing import Any

import numpy as np
from numba import intp, njit, uint64, uintp

from . import alignment
from .streams import ATTEMPT, BASE, DENSITY, GOLDEN, SURE, TAIL, WIDTH

_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31, _S11, _S12 = (np.uint64(n) for n in (30, 27, 31, 11, 12))
_ONE, _LAYER, _SIGN, _TWO = np.uint64(1), np.uint64(0xFF), np.uint64(0x100), np.uint64(2)
_UNIT = 2.0**-53

compiled = njit(nogil=True, cache=True, error_model="numpy")
inlined = njit(nogil=True, cache=True, inline="always")
align = compiled(alignment.align)


@inlined
def _bits(key: Any, position: Any) -> Any:
    bits = key + (position + _ONE) * GOLDEN
    bits = (bits ^ (bits >> _S30)) * _FIRST
    bits = (bits ^ (bits >> _S27)) * _SECOND
    return bits ^ (bits >> _S31)


@compiled
def _rare(key: Any, position: Any, layer: Any, size: Any, negative: Any) -> Any:
    """The 1.2 % of draws that miss the sure part of their layer."""
    while True:
        if layer == BASE:
            while True:
                position += _TWO * ATTEMPT
                first = 1.0 - (_bits(key, position) >> _S11) * _UNIT
                second = 1.0 - (_bits(key, position + ATTEMPT) >> _S11) * _UNIT
                beyond = -math.log(first) / TAIL
                if -2.0 * math.log(second) > beyond * beyond:
                    return -(TAIL + beyond) if negative else TAIL + beyond
        chance = (_bits(key, position + ATTEMPT) >> _S11) * _UNIT
        height = DENSITY[layer + 1] + chance * (DENSITY[layer] - DENSITY[layer + 1])
        if height < math.exp(-0.5 * size * size):
            return -size if negative else size
        position += _TWO * ATTEMPT
        bits = _bits(key, position)
        layer = np.int64(bits & _LAYER)
        mantissa = np.float64(bits >> _S12)
        size = mantissa * WIDTH[layer]
        negative = (bits & _SIGN) != 0
        if mantissa < SURE[layer]:
            return -size if negative else size


@inlined
def _normal(key: Any, position: Any) -> Any:
    bits = _bits(key, position)
    layer = np.int64(bits & _LAYER)
    mantissa = np.float64(bits >> _S12)
    size = mantissa * WIDTH[layer]
    negative = (bits & _SIGN) != 0
    draw = -size if negative else size
    return _rare(key, position, layer, size, negative) if mantissa >= SURE[layer] else draw


@compiled
def add_noise(x: Any, keys: Any, scale: Any, out: Any) -> None:
    """out = x + scale * normal, a draw a value."""
    series, steps, channels = x.shape
    for i in range(series):
        for t in range(steps):
            for c in range(channels):
                out[i, t, c] = x[i, t, c] + scale[i, c] * _normal(keys[i], uint64(t * channels + c))


@compiled
def fill_normals(keys: Any, out: Any) -> None:
    """A standard normal number for each position of each stream."""
    for i in range(out.shape[0]):
        for t in range(out.shape[1]):
            out[i, t] = _normal(keys[i], uint64(t))


@compiled
def deviations(x: Any, out: Any) -> None:
    """The standard deviation over time of each series and channel, missing values left out."""
    series, steps, channels = x.shape
    for i in range(series):
        for c in range(channels):
            seen = 0
            for t in range(steps):
                seen += x[i, t, c] == x[i, t, c]
            seen = max(seen, 1)
            mean = _lane_sum(x[i, :, c], 0.0, False) / seen
            out[i, c] = math.sqrt(_lane_sum(x[i, :, c], mean, True) / seen)


@compiled
def _lane_sum(values: Any, mean: Any, squared: Any) -> Any:
    """The sum in four interleaved lanes (which the processor adds side by side), of squared distances if asked."""
    lanes = np.zeros(4)
    whole = len(values) // 4 * 4
    for first in range(0, whole, 4):
        for lane in range(4):
            value = np.float64(values[first + lane]) - mean
            value = value * value if squared else value
            lanes[lane] += value if value == value else 0.0
    for t in range(whole, len(values)):
        value = np.float64(values[t]) - mean
        value = value * value if squared else value
        lanes[t - whole] += value if value == value else 0.0
    return (lanes[0] + lanes[1]) + (lanes[2] + lanes[3])


@compiled
def multiply_cubic(x: Any, breaks: Any, cubic: Any, out: Any) -> None:
    """out = x * curve, where the curve is a cubic in (t - break) between breaks: cubic[i, piece, power, channel]."""
    series, _, channels = x.shape
    for i in range(series):
        for j in range(len(breaks) - 1):
            first, last = breaks[j], breaks[j + 1]
            if channels == 1:
                a, b, c, d = cubic[i, j, 0, 0], cubic[i, j, 1, 0], cubic[i, j, 2, 0], cubic[i, j, 3, 0]
                # flat slices counted from 0: strides and signs that the compiler knows, so it vectorises
                piece, result = x[i].ravel()[first:last], out[i].ravel()[first:last]
                for t in range(len(piece)):
                    u = np.float64(t)
                    result[t] = piece[t] * (a + u * (b + u * (c + u * d)))
            else:
                for t in range(first, last):
                    u = np.float64(t - first)
                    for k in range(channels):
                        curve = cubic[i, j, 2, k] + u * cubic[i, j, 3, k]
                        curve = cubic[i, j, 0, k] + u * (cubic[i, j, 1, k] + u * curve)
                        out[i, t, k] = x[i, t, k] * curve


@compiled
def resample(x: Any, breaks: Any, quadratic: Any, out: Any) -> None:
    """out(t) = x at a position that is quadratic in (t - break) between breaks[i], interpolated linearly."""
    series, steps, channels = x.shape
    end, last = np.float64(steps - 1), uintp(steps - 2)
    for i in range(series):
        row, result = x[i].ravel(), out[i]
        for j in range(breaks.shape[1] - 1):
            first = breaks[i, j]
            a, b, c = quadratic[i, j, 0], quadratic[i, j, 1], quadratic[i, j, 2]
            for t in range(first, breaks[i, j + 1]):
                u = np.float64(t - first)
                position = a + u * (b + u * c)
                position = position if position > 0.0 else 0.0
                position = position if position < end else end
                left = uintp(position)  # unsigned: a signed index is tested for counting from the end
                left = left if left < last else last
                share = position - np.float64(intp(left))
                if channels == 1:
                    low = row[left]
                    result[uintp(t), 0] = low + share * (row[left + uintp(1)] - low)
                else:
                    at = left * uintp(channels)
                    for k in range(uintp(channels)):
                        low = row[at + k]
                        result[uintp(t), k] = low + share * (row[at + uintp(channels) + k] - low)
