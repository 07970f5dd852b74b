"""RunPod: the GPU types of its GraphQL endpoint; prices of its secure cloud. No key is needed for reading them."""

import json
from collections.abc import Iterator, Sequence

from ..._catalog.gpus import candidates
from ..._catalog.prices import Prices
from .fresh import Fresh, gib_to_bytes
from .source import column, read_json

ENDPOINT = "https://api.runpod.io/graphql"
_QUERY = "query { gpuTypes { id displayName memoryInGb secureCloud securePrice secureSpotPrice } }"


def fetch(endpoint: str, regions: Sequence[str], prices: Prices) -> Iterator[Fresh]:
    """One card of each type; a null or zero price means that it is not offered there."""
    answer = read_json(endpoint, body=json.dumps({"query": _QUERY}).encode())
    for kind in column(column(answer, "data", endpoint), "gpuTypes", endpoint):
        name = column(kind, "id", endpoint)
        size = gib_to_bytes(kind.get("memoryInGb"))
        cards = candidates(name, size)
        price = column(kind, "securePrice", endpoint)
        if price:
            yield Fresh(
                region="",
                machine=name,
                on_demand=float(price),
                spot=kind.get("secureSpotPrice") or None,
                accelerator=cards[0].name if len(cards) == 1 else None,
                accelerator_count=1,
                gpu_memory_bytes=size,
            )
