"""The refreshed tables of a workspace: PROVIDER.csv, written whole or not at all."""

import csv
import io
import os
import tempfile
from collections.abc import Iterable
from datetime import date
from pathlib import Path

from ..._catalog.prices import REFRESHED_COLUMNS, Offer, Prices
from .fresh import Fresh
from .judge import Judged


def save(
    folder: Path, provider: str, judged: Judged, prices: Prices, *, source: str, method: str | None
) -> int:
    """Replace the provider's rows in the regions that were fetched; returns the number of rows kept from before."""
    today = date.today().isoformat()
    regions = {row.region for row in judged.rows}
    rows = [_fresh(row, today, source, method) for row in judged.rows]
    old = [
        _held(offer)
        for offer in prices.offers(providers=[provider])
        if offer.region not in regions or (offer.region, offer.machine.name) in judged.held_back
    ]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([REFRESHED_COLUMNS, *sorted(rows + old, key=str)])
    folder.mkdir(exist_ok=True)
    handle, fresh = tempfile.mkstemp(dir=folder)
    with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
        file.write(text.getvalue())
    os.replace(fresh, folder / f"{provider}.csv")
    return len(old)


def _fresh(row: Fresh, today: str, source: str, method: str | None) -> list[str]:
    spot = row.spot is not None
    return _texts(
        (
            row.region,
            row.machine,
            row.accelerator,
            row.accelerator_count,
            row.gpu_memory_bytes,
            row.vcpus,
            row.ram_bytes,
            row.on_demand,
            row.spot,
            row.commit_1y,
            row.commit_3y,
            row.reclaimed_per_month,
            today,
            today if spot else None,
            method if spot else None,
            "terms of the provider",
            source,
        )
    )


def _held(offer: Offer) -> list[str]:
    machine, source = offer.machine, offer.source
    return _texts(
        (
            offer.region,
            machine.name,
            machine.accelerator,
            machine.accelerator_count,
            machine.gpu_memory_bytes,
            machine.vcpus,
            machine.ram_bytes,
            offer.on_demand_usd_per_hour,
            offer.spot_usd_per_hour,
            offer.commit_1y_usd_per_hour,
            offer.commit_3y_usd_per_hour,
            offer.reclaimed_per_month,
            source.as_of,
            source.spot_as_of,
            source.spot_method,
            source.licence,
            source.text,
        )
    )


def _texts(values: Iterable[object]) -> list[str]:
    return ["" if value is None else str(value) for value in values]
