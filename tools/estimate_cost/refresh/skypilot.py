"""Smaller clouds, from SkyPilot's hosted catalogue: one CSV a cloud, read by its header (the order varies).

GpuInfo is JSON in some files and a Python literal in others; one cloud writes GiB into its MiB field.
"""

import ast
import csv
import json
from collections.abc import Iterator, Sequence
from typing import Any

from ..._catalog.prices import Prices
from .fresh import Fresh, gib_to_bytes
from .source import bad, read_lines

_NEEDED = ("InstanceType", "Region", "Price")
_MIB_AT_LEAST = 1000  # a card has more than 1000 MiB, and less than 1000 GiB


def endpoint(cloud: str) -> str:
    base = "https://raw.githubusercontent.com/skypilot-org/skypilot-catalog/master/catalogs/v8"
    return f"{base}/{cloud}/vms.csv"


def fetch(endpoint: str, regions: Sequence[str], prices: Prices) -> Iterator[Fresh]:
    """Every priced row, in the named regions (none: in all)."""
    lines = read_lines(endpoint)
    names = next(csv.reader([next(lines, "")]), [])
    if missing := [name for name in _NEEDED if name not in names]:
        raise bad(endpoint, f"has no column {', '.join(missing)} any more")
    for cells in csv.reader(lines):
        if len(cells) != len(names):
            raise bad(endpoint, "broke off inside a row", ",".join(cells)[:80])
        row = dict(zip(names, cells, strict=True))
        if row["Price"] and (not regions or row["Region"] in regions):
            yield Fresh(
                region=row["Region"],
                machine=row["InstanceType"],
                on_demand=float(row["Price"]),
                spot=_spot(row),
                accelerator=row.get("AcceleratorName") or None,
                accelerator_count=float(row.get("AcceleratorCount") or 0),
                gpu_memory_bytes=_card_bytes(row.get("GpuInfo", "")),
                vcpus=float(row["vCPUs"]) if row.get("vCPUs") else None,
                ram_bytes=gib_to_bytes(row.get("MemoryGiB")),
            )


def _spot(row: dict[str, str]) -> float | None:
    """None where the file repeats the on-demand price: that is no spot offer."""
    text = row.get("SpotPrice") or ""
    return float(text) if text and float(text) != float(row["Price"]) else None


def _card_bytes(text: str) -> int | None:
    if not text:
        return None
    try:
        info: Any = json.loads(text)
    except ValueError:
        info = ast.literal_eval(text)
    size = float(info["Gpus"][0]["MemoryInfo"]["SizeInMiB"])
    return round(size * 1024**2) if size >= _MIB_AT_LEAST else gib_to_bytes(size)
