"""Newer prices from the providers' public endpoints: explicit, streamed, and kept only when they look right.

source      what is read from an address, and how a bad reply is refused
fresh       one price as a provider states it
judge       whether an answer may replace what is held
aws, azure, gcp, lambda_cloud, runpod, skypilot    one module per source: `ENDPOINT` and `fetch`
store       the refreshed tables of a workspace
"""

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ..._catalog.prices import Prices
from . import aws, azure, gcp, lambda_cloud, runpod, skypilot, source
from .fresh import Fresh

# What reading a field raises that is not there, or not what it was.
_OTHER_SHAPES = (
    LookupError,
    TypeError,
    AttributeError,
    ValueError,
    ArithmeticError,
    RecursionError,
    csv.Error,
)

Fetch = Callable[[str, Sequence[str], Prices], Iterator[Fresh]]


@dataclass(frozen=True, slots=True)
class Provider:
    """Where a provider's prices come from. `by_region`: the caller has to name regions."""

    endpoint: str
    fetch: Fetch
    spot_method: str | None
    by_region: bool = False

    def read(self, endpoint: str, regions: Sequence[str], prices: Prices) -> Iterator[Fresh]:
        """Its prices; whatever a reply of another shape does to `fetch` is one refusal."""
        try:
            yield from self.fetch(endpoint, regions, prices)
        except _OTHER_SHAPES as error:
            raise source.bad(
                endpoint, "sends prices in another shape", f"{type(error).__name__}: {error}"
            ) from error


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
