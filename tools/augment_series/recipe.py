"""Fresh copies while training: `Fresh(recipe, x, ids)` is a map-style dataset for torch's DataLoader.

data = Fresh("out.parquet.manifest.json", x, ids)     # x (series, time, channels), of training data only
for epoch in range(10):
    data.epoch = epoch                                # other copies each epoch, the same in every run
    for batch in DataLoader(data, batch_size=32): ...
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .._series.apply import apply, finish
from .._series.arrays.blocks import as_series
from .._series.arrays.streams import keys_of, uniforms
from .._series.methods import Wish, wish


class Fresh:
    """Each item is a copy of a series by one of the recipe's methods, or the original, chosen anew each epoch.

    `share` of the items are copies. Methods that mix series need `augment_series` itself, and are refused.
    """

    def __init__(
        self, recipe: str | Path, x: Any, ids: Sequence[object], *, season: int = 1, share: float = 0.5
    ) -> None:
        content = json.loads(Path(recipe).read_text(encoding="utf-8"))
        self.wishes: list[Wish] = [wish(m) for m in content["methods"]]
        if mixing := [w.name for w in self.wishes if w.method.donors]:
            raise ValueError(f"{mixing[0]} mixes series and cannot work one series at a time")
        self.seed, self.epoch, self.season, self.share = int(content["seed"]), 0, season, share
        self.x, self.ids = as_series(x), [str(i) for i in ids]

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, at: int) -> Any:
        chance, which = uniforms(keys_of(self.seed, "fresh", self.epoch, 1, [self.ids[at]]), 2)[0]
        one = self.x[at : at + 1]
        if chance >= self.share:
            return one[0]
        chosen = self.wishes[int(which * len(self.wishes))]
        made = apply(
            chosen, one, [self.ids[at]], self.epoch + 1, seed=self.seed, season=self.season, threads=1
        )
        return np.asarray(finish(made, chosen)[0], dtype=one.dtype)
