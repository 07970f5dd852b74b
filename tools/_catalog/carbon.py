"""Grams of CO2 for a kilowatt hour, by cloud region; of the region where its provider says so, else of its country.

From codecarbon 3.3.2 (MIT): Google's figures for its regions, and for 2023 the countries of Our World in Data.
"""

import csv
from functools import cache
from pathlib import Path

SOURCE = "codecarbon 3.3.2 (MIT): Google's regions, countries in 2023"


@cache
def grams_per_kwh(provider: str | None, region: str | None) -> float | None:
    """None where the place is not held."""
    return _table().get((provider, region))


@cache
def _table() -> dict[tuple[str | None, str | None], float]:
    with (Path(__file__).parent / "carbon.csv").open(encoding="utf-8", newline="") as file:
        return {(row["provider"], row["region"]): float(row["grams_per_kwh"]) for row in csv.DictReader(file)}
