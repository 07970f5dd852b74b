"""One method applied to equally long series: parameters, season, donors, rounding, and why a copy is not kept."""

import inspect
from dataclasses import dataclass
from typing import Any

import numpy as np

from .arrays.streams import Floats, digest
from .methods import Wish

MOST_DONORS = 64
_UNCHANGED = (
    "the method leaves such a series as it is (constant, too small to differ, all missing, no other donor)"
)
_ROUNDING = 1e-14  # of a series' size: a mixture of a series with itself is no copy


@dataclass(frozen=True)
class Donors:
    """Series that others may be mixed with, each (time, channels), without holes."""

    ids: list[str]
    values: list[Floats]

    def as_long_as(self, steps: int) -> tuple[list[str], Any]:
        """The last `steps` steps of those that have them."""
        fit = [i for i, y in enumerate(self.values) if len(y) >= steps]
        stacked = np.stack([self.values[i][len(self.values[i]) - steps :] for i in fit]) if fit else None
        return [self.ids[i] for i in fit], stacked


def draw_donors(ids: list[str], seed: int) -> list[int]:
    """Which series may be donors: those whose ids hash lowest, so that neither order nor blocks matter."""
    ranked = sorted(range(len(ids)), key=lambda i: digest(seed, "donor", ids[i]))
    return sorted(ranked[:MOST_DONORS])


def apply(
    wished: Wish, x: Floats, ids: list[str], copy: int, *, seed: int, season: int, donors: Donors | None = None,
    threads: int | None = None,
) -> Floats:  # fmt: skip
    """One copy of each of the series `x` (series, time, channels); `x` itself where the method cannot work."""
    steps = x.shape[1]
    if steps < wished.method.least(season):
        return x
    given = dict(wished.parameters)
    if "season" in inspect.signature(wished.method.function).parameters:
        given["season"] = season
    if wished.method.donors:
        donor_ids, values = donors.as_long_as(steps) if donors else ([], None)
        if values is None:
            return x
        given.update(donors=values, donor_ids=donor_ids)
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is found and left out by `fates`
        made = wished.method.function(x, seed=seed, ids=ids, copy=copy, threads=threads, **given)
    return np.asarray(made)


def finish(made: Floats, wished: Wish) -> Floats:
    """Rounded and cut off below, where that was asked for."""
    made = np.rint(made) if wished.round else made
    return made if wished.minimum is None else np.maximum(made, wished.minimum)


def fates(x: Floats, made: Floats, wished: Wish, season: int) -> Any:
    """Why each copy is left out, or "" for those that stay."""
    count = len(x)
    why = np.full(count, "", dtype=object)
    size = np.nan_to_num(np.abs(x)).max(axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):  # what overflowed differs
        same = (np.abs(x - made) <= _ROUNDING * size) | (np.isnan(x) & np.isnan(made))
    if wished.name != "identity":
        why[same.reshape(count, -1).all(axis=1)] = _UNCHANGED
    why[
        (np.isinf(made) | (np.isnan(made) & ~np.isnan(x) & ~_near_holes(x))).reshape(count, -1).any(axis=1)
    ] = "values too large for double precision"
    if (least := wished.method.least(season)) > x.shape[1]:
        why[:] = f"shorter than the {least} points the method needs"
    return why


def _near_holes(x: Floats) -> Any:
    """Whether a channel has a hole anywhere: a warp may move it."""
    return np.broadcast_to(np.isnan(x).any(axis=1, keepdims=True), x.shape)
