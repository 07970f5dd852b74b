"""Lambda: the instance types of its API. Needs an account's key in LAMBDA_API_KEY."""

import os
import re
from collections.abc import Iterator, Sequence

from ..._catalog.gpus import candidates
from ..._catalog.prices import Prices
from ..._core.errors import ToolError
from .fresh import Fresh, gib_to_bytes
from .source import column, read_json

ENDPOINT = "https://cloud.lambdalabs.com/api/v1/instance-types"


def fetch(endpoint: str, regions: Sequence[str], prices: Prices) -> Iterator[Fresh]:
    """One price for every region: Lambda's prices do not differ between them."""
    key = os.environ.get("LAMBDA_API_KEY")
    if not key:
        raise ToolError("Lambda's prices need an account", try_next="its API key in LAMBDA_API_KEY")
    answer = read_json(endpoint, headers={"Authorization": f"Bearer {key}"})
    for entry in column(answer, "data", endpoint).values():
        kind = column(entry, "instance_type", endpoint)
        specs = column(kind, "specs", endpoint)
        said = kind.get("gpu_description") or kind.get("description", "")
        memory = re.search(r"(\d+) ?GB", said)
        size = gib_to_bytes(memory[1]) if memory else None
        cards = candidates(re.sub(r"^\d+x |\(.*\)", "", said).strip(), size)
        count = float(specs.get("gpus") or (re.search(r"gpu_(\d+)x", kind["name"]) or [0, 0])[1])
        yield Fresh(
            region="",
            machine=column(kind, "name", endpoint),
            on_demand=column(kind, "price_cents_per_hour", endpoint) / 100,
            accelerator=cards[0].name if len(cards) == 1 else None,
            accelerator_count=count,
            gpu_memory_bytes=size,
            vcpus=specs.get("vcpus"),
            ram_bytes=gib_to_bytes(specs.get("memory_gib")),
        )
