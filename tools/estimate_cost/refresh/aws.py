"""Amazon EC2: the public price list (a CSV per region, hundreds of MB) and the spot advisor file.

Shapes as read by open-source clients: five lines of metadata, then a header; `region_index.json` names each region's
file; the advisor gives savings (s) and an interruption range (r) per type. No account is needed. A spot price is
derived, list x (1 - savings): the spot price history itself needs an account.
"""

import csv
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urljoin

from ..._catalog.prices import Prices
from .fresh import Fresh, gib_to_bytes, known
from .source import bad, column, read_json, read_lines

ENDPOINT = "https://pricing.us-east-1.amazonaws.com/offers/v1.0/aws/AmazonEC2/current/region_index.json"
ADVISOR = "https://spot-bid-advisor.s3.amazonaws.com/spot-advisor-data.json"

_WANTED = {
    "TermType": "OnDemand",
    "Unit": "Hrs",
    "Tenancy": "Shared",
    "Operating System": "Linux",
    "Pre Installed S/W": "NA",
    "CapacityStatus": "Used",
}
_NEEDED = (*_WANTED, "PricePerUnit", "Instance Type")


def fetch(endpoint: str, regions: Sequence[str], prices: Prices) -> Iterator[Fresh]:
    """On-demand prices of the named regions, with spot where the advisor has it."""
    index = column(read_json(endpoint), "regions", endpoint)
    advisor_url = ADVISOR if endpoint == ENDPOINT else urljoin(endpoint, "spot-advisor-data.json")
    advisor = read_json(advisor_url)
    ranges = {one["index"]: one["label"] for one in column(advisor, "ranges", advisor_url)}
    for region in regions:
        if region not in index:
            raise bad(endpoint, f"lists no region {region}")
        path = column(index[region], "currentVersionUrl", endpoint).replace("index.json", "index.csv")
        url = urljoin(endpoint, path)
        spot = column(advisor, "spot_advisor", advisor_url).get(region, {}).get("Linux", {})
        yield from _region(url, region, spot, ranges, prices)


def _region(
    url: str, region: str, spot: dict[str, Any], ranges: dict[int, str], prices: Prices
) -> Iterator[Fresh]:
    lines = read_lines(url)
    header = next((line for line in lines if '"TermType"' in line or line.startswith("TermType")), None)
    names = next(csv.reader([header])) if header else []
    if missing := [name for name in _NEEDED if name not in names]:
        raise bad(url, f"has no column {', '.join(missing)} any more")
    for cells in csv.reader(lines):
        if len(cells) != len(names):
            raise bad(url, "broke off inside a row", ",".join(cells)[:80])
        row = dict(zip(names, cells, strict=True))
        if not row["Instance Type"] or any(row[name] != value for name, value in _WANTED.items()):
            continue
        if (fresh := _fresh(row, region, spot, ranges, prices)) is not None:
            yield fresh


def _fresh(
    row: dict[str, str], region: str, spot: dict[str, Any], ranges: dict[int, str], prices: Prices
) -> Fresh | None:
    name, list_price = row["Instance Type"], float(row["PricePerUnit"])
    held = known("aws", name, prices)
    gpus = float(row.get("GPU") or 0)
    if gpus and (held is None or held.accelerator is None):
        return None  # a GPU of unknown name cannot be compared
    exact = held if held is not None and held.name == name else None
    advice = spot.get(name)
    return Fresh(
        region=region,
        machine=name,
        on_demand=list_price,
        spot=round(list_price * (1 - advice["s"] / 100), 6) if advice else None,
        reclaimed_per_month=ranges.get(advice["r"]) if advice else None,
        accelerator=held.accelerator if held and (gpus or exact) else None,
        accelerator_count=exact.accelerator_count if exact else gpus,
        gpu_memory_bytes=held.gpu_memory_bytes if held and (gpus or exact) else None,
        vcpus=float(row["vCPU"]) if row.get("vCPU") else None,
        ram_bytes=gib_to_bytes(row.get("Memory")),
    )
