"""The array engine: `f(x, *, seed, **parameters)` on arrays (series, time, channels) or (series, time).

Every transform also takes `ids` (the stream of a series follows its id instead of its row), `copy` (a number; copies
differ), `threads`, and `out` (an array to write into). The same seed gives the same bytes whatever `threads`, the order
of the series, and whether numba is installed. A missing value stays missing and spreads one step at most.
"""

from .._series.arrays.bootstrap import moving_block_bootstrap, recombination
from .._series.arrays.generators import kernel_synth, sarima_series
from .._series.arrays.mixing import dtw_barycenter, mixup
from .._series.arrays.noise import identity, jitter, magnitude_warp, scaling
from .._series.arrays.spectral import dominant_shuffle, frequency_mask, frequency_mix, iaaft
from .._series.arrays.warps import time_warp, upsampling, window_slice, window_warp

__all__ = [
    "dominant_shuffle", "dtw_barycenter", "frequency_mask", "frequency_mix", "iaaft", "identity", "jitter",
    "kernel_synth", "magnitude_warp", "mixup", "moving_block_bootstrap", "recombination", "sarima_series", "scaling",
    "time_warp", "upsampling", "window_slice", "window_warp",
]  # fmt: skip
