"""Rewrite a folder of collected prices into the catalog: `python .ci/import_prices.py FOLDER`.

Takes only rows whose source states a permissive licence (see SOURCES and NOTICE); every other row is counted and
left out. FOLDER holds instances.csv.gz, one row per offer, empty where a figure is not known.
"""

import csv
import gzip
import sys
from pathlib import Path

CATALOG = Path(__file__).resolve().parents[1] / "tools" / "_catalog"
GIB = 1024**3

# How a row's `source` begins -> the id under which price_sources.csv dates it and names its licence.
SOURCES = {
    "karpenter-provider-aws@": "karpenter-aws",
    "karpenter-provider-azure@": "karpenter-azure",
    "google-cloud-pricing-cost-calculator@": "gcp-calculator",
    "n1: google-cloud-pricing-cost-calculator": "gcp-n1-mixed",
    "the-full-stack/website": "full-stack",
}
DROP_SPOT_FROM = {"full-stack"}  # a spot price of 2025-03 says nothing about today's
MACHINE = (
    "provider",
    "machine",
    "accelerator",
    "accelerator_count",
    "gpu_memory_bytes",
    "vcpus",
    "ram_bytes",
)
PRICE = (
    "provider", "region", "machine", "on_demand_usd_per_hour", "spot_usd_per_hour", "commit_1y_usd_per_hour",
    "commit_3y_usd_per_hour", "reclaimed_per_month", "source",
)  # fmt: skip


def source_id(text: str) -> str | None:
    return next((name for start, name in SOURCES.items() if text.startswith(start)), None)


def least(text: str) -> str:
    """The lower end where one source writes a range such as 12-16: that much is certain."""
    return text.split("-")[0]


def gib_to_bytes(text: str) -> str:
    return str(round(float(least(text)) * GIB)) if text else ""


def trimmed(text: str) -> str:
    return format(float(text), ".10g") if text else ""


def main(folder: Path) -> None:
    machines, prices, left_out = {}, [], 0
    with gzip.open(folder / "instances.csv.gz", "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            source = source_id(row["source"])
            if source is None:
                left_out += 1
                continue
            key = (row["cloud"], row["instance_type"])
            machines[key] = (
                *key, row["accelerator"], row["accelerator_count"], gib_to_bytes(row["gpu_mem_gib_each"]),
                least(row["vcpu"]), gib_to_bytes(row["ram_gib"]),
            )  # fmt: skip
            spot = "" if source in DROP_SPOT_FROM else trimmed(row["spot_usd_h"])
            prices.append((
                row["cloud"], row["region"], row["instance_type"], trimmed(row["on_demand_usd_h"]), spot,
                trimmed(row["commit_1y_usd_h"]), trimmed(row["commit_3y_usd_h"]),
                row["spot_interruption_bucket"], source,
            ))  # fmt: skip
    for name, header, rows in (
        ("machines.csv", MACHINE, sorted(machines.values())),
        ("prices.csv", PRICE, sorted(prices)),
    ):
        with (CATALOG / name).open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([header, *rows])
    print(
        f"{len(machines)} machines, {len(prices)} prices; {left_out} rows without a stated licence left out"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
