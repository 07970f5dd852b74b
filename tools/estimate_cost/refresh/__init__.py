"""Newer prices from the providers' public endpoints: explicit, streamed, and kept only when they look right.

source      what is read from an address, and how a bad reply is refused
fresh       one price as a provider states it
judge       whether an answer may replace what is held
aws, azure, gcp, lambda_cloud, runpod, skypilot    one module per source: `ENDPOINT` and `fetch`
store       the refreshed tables of a workspace
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ..._catalog.prices import Prices
from . import aws, azure, gcp, lambda_cloud, runpod, skypilot
from .fresh import Fresh

Fetch = Callable[[str, Sequence[str], Prices], Iterator[Fresh]]


@dataclass(frozen=True, slots=True)
class Provider:
    """Where a provider's prices come from. `by_region`: the caller has to name regions."""

    endpoint: str
    fetch: Fetch
    spot_method: str | None
    by_region: bool = False


def _catalogue(cloud: str) -> Provider:
    return Provider(skypilot.endpoint(cloud), skypilot.fetch, "list")


PROVIDERS = {
    "aws": Provider(aws.ENDPOINT, aws.fetch, "derived", by_region=True),
    "azure": Provider(azure.ENDPOINT, azure.fetch, "list", by_region=True),
    "gcp": Provider(gcp.ENDPOINT, gcp.fetch, "list"),
    "lambda": Provider(lambda_cloud.ENDPOINT, lambda_cloud.fetch, None),
    "runpod": Provider(runpod.ENDPOINT, runpod.fetch, "list"),
    "nebius": _catalogue("nebius"),
    "verda": _catalogue("verda"),
    "fluidstack": _catalogue("fluidstack"),
    "paperspace": _catalogue("paperspace"),
}
