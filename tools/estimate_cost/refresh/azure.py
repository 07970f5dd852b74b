"""Azure: the documented retail prices API, page by page. No account is needed.

A spot price is an item whose skuName ends in "Spot"; Windows and low-priority items are left out. The API gives no
sizes, so only machines whose sizes are held come through. Prices in another currency than USD are indicative only.
"""

from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlencode, urlsplit

from ..._catalog.prices import Prices
from .fresh import Fresh
from .source import bad, column, read_json

ENDPOINT = "https://prices.azure.com/api/retail/prices"
_MOST_PAGES = 1000


def fetch(endpoint: str, regions: Sequence[str], prices: Prices) -> Iterator[Fresh]:
    """Consumption prices of Linux machines in the named regions."""
    for region in regions:
        asked = f"serviceName eq 'Virtual Machines' and armRegionName eq '{region}' and priceType eq 'Consumption'"
        query = urlencode({"api-version": "2023-01-01-preview", "$filter": asked})
        found: dict[str, dict[str, float]] = {}
        for item in _items(f"{endpoint}?{query}", endpoint):
            _collect(item, found, endpoint)
        for name, price in found.items():
            machine = prices.machines.get(("azure", name))
            if machine is None or "list" not in price:
                continue
            yield Fresh(
                region=region,
                machine=name,
                on_demand=price["list"],
                spot=price.get("spot") or None,
                accelerator=machine.accelerator,
                accelerator_count=machine.accelerator_count,
                gpu_memory_bytes=machine.gpu_memory_bytes,
                vcpus=machine.vcpus,
                ram_bytes=machine.ram_bytes,
            )


def _items(url: str, endpoint: str) -> Iterator[dict[str, Any]]:
    """Every item of every page; a link that leads back, or to another host, ends the refresh."""
    seen: set[str] = set()
    while url:
        if url in seen or len(seen) >= _MOST_PAGES:
            raise bad(endpoint, "sends its pages in a loop", url)
        if urlsplit(url).netloc != urlsplit(endpoint).netloc:
            raise bad(endpoint, "links its next page on another host", url)
        seen.add(url)
        page = read_json(url)
        yield from column(page, "Items", endpoint)
        url = page.get("NextPageLink") or ""


def _collect(item: dict[str, Any], found: dict[str, dict[str, float]], endpoint: str) -> None:
    price, currency = column(item, "retailPrice", endpoint), column(item, "currencyCode", endpoint)
    if currency != "USD":
        raise bad(endpoint, "states prices in another currency", currency)
    name, sku = column(item, "armSkuName", endpoint), column(item, "skuName", endpoint)
    hourly = item.get("unitOfMeasure") == "1 Hour" and item.get("type", "Consumption") == "Consumption"
    if not name or not hourly or "Windows" in item.get("productName", "") or "Low Priority" in sku:
        return
    found.setdefault(name, {})["spot" if sku.endswith("Spot") else "list"] = float(price)
