"""How a transform runs: checks on its input, blocks of series over threads, numba's loops where they are installed."""

import importlib.util
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np

from . import plain
from .streams import Keys, keys_of

_BLOCK_VALUES = 1 << 19  # 4 MiB of float64: large beside the fixed cost of a block, small beside the output


def loops() -> ModuleType:
    """The compiled loops, or their numpy twins where numba is missing or NUMBA_DISABLE_JIT is set."""
    if not _has_numba() or os.environ.get("NUMBA_DISABLE_JIT", "0") != "0":
        return plain
    from . import loops as compiled  # numba: 0.5 s

    return compiled


@cache
def _has_numba() -> bool:
    return importlib.util.find_spec("numba") is not None


def as_series(x: Any) -> Any:
    """The input as a contiguous float array (series, time, channels); integers become float64."""
    array = np.asarray(x)
    if array.dtype == object or array.dtype.kind not in "fiub":
        raise ValueError(f"Numbers are wanted, in an array (series, time, channels); saw {array.dtype}")
    if array.ndim not in (2, 3):
        raise ValueError(f"An array (series, time) or (series, time, channels) is wanted; saw {array.shape}")
    kind = array.dtype if array.dtype in (np.float32, np.float64) else np.float64
    return np.ascontiguousarray(array if array.ndim == 3 else array[:, :, None], dtype=kind)


def transform(
    x: Any,
    method: str,
    work: Callable[[ModuleType, Any, Keys, Any], None],
    *,
    seed: int,
    ids: Sequence[object] | None = None,
    copy: int = 0,
    threads: int | None = None,
    out: Any = None,
) -> Any:
    """`work(loops, x, keys, out)` over blocks of series; the result has the shape of `x`."""
    series = as_series(x)
    keys = keys_of(seed, method, copy, len(series), ids)
    result = np.empty_like(series) if out is None else out
    code = loops()

    def block(first: int) -> None:
        part = slice(first, first + rows)
        work(code, series[part], keys[part], result[part])

    rows = max(1, _BLOCK_VALUES // max(1, series.shape[1] * series.shape[2]))
    starts = range(0, len(series), rows)
    workers = min(threads or usable_cores(), len(starts))
    if workers < 2:
        for first in starts:
            block(first)
    else:
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(block, starts))
    return result.reshape(np.shape(x)) if out is None else out


def usable_cores() -> int:
    """The processors this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
