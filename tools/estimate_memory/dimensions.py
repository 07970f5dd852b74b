"""A quick answer from a transformer's dimensions alone: closed formulas, no torch, no model. Everything is assumed.

The model is a GPT: pre-norm blocks, fused attention, four times the width between, tied embeddings, AdamW. Per token
and block, autograd keeps eight widths in fp32 (input, both norms' outputs, q k v, attention, second residual), or 20
bytes a width under autocast, where the residuals stay fp32; and both sides of the GELU, of the inner width each.
"""

from collections.abc import Callable
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .._core.errors import ToolError
from .card import CUBLAS_BYTES, Card
from .judge import Bounds

BAND = 0.15  # of the peak, kept for models that differ from this one; against its own simulation: references/memory.md
LIBRARIES_BYTES = 2 * CUBLAS_BYTES  # one workspace each for the forward and the backward thread
FRAGMENTS = 1.1  # reserved over allocated, as simulations of such models show on average
LARGEST = 1 << 20


class Dimensions(BaseModel):
    """Arguments of `step: "transformer"`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    layers: int = Field(gt=0)
    hidden: int = Field(gt=0)
    heads: int = Field(gt=0)
    vocab: int = Field(gt=0)
    sequence_length: int = Field(gt=0)
    batch_size: int = Field(1, gt=0)
    mixed_precision: bool = False
    checkpointing: bool = False
    optimizer: bool = True
    kv_heads: int | None = Field(None, gt=0)  # heads of keys and values, by default as many as of queries
    inner: int | None = Field(None, gt=0)  # width of the feed-forward layer, by default four widths
    gated: bool = False  # three matrices there instead of two, as in Llama
    tied: bool = True  # the head shares the embedding's weights

    @property
    def parameters(self) -> int:
        """Attention and feed-forward layer of each block, and the embeddings of tokens and positions."""
        narrow = self.hidden * (self.kv_heads or self.heads) // self.heads
        block = (
            2 * self.hidden * (self.hidden + narrow) + (3 if self.gated else 2) * self.hidden * self.inside
        )
        tables = self.vocab * (1 if self.tied else 2) + self.sequence_length
        return self.layers * block + tables * self.hidden

    @property
    def inside(self) -> int:
        """Width of the feed-forward layer."""
        return self.inner or 4 * self.hidden


def parts(sizes: Dimensions) -> dict[str, dict[str, int]]:
    """What is alive, by kind, at the moments that can be the peak: the loss's backward, the optimizer's step."""
    weights = 4 * sizes.parameters
    tokens = sizes.batch_size * sizes.sequence_length
    logits = 4 * tokens * sizes.vocab
    beside = LIBRARIES_BYTES + (2 * sizes.parameters if sizes.mixed_precision else 0)  # autocast's copies
    if not sizes.optimizer:
        passing = max(2 * logits, tokens * 16 * sizes.hidden)
        return {"forward": _alive(weights, 0, 0, passing, beside)}
    inside = (
        4 if sizes.gated else 2
    ) * sizes.inside  # both sides of its activation, and of the gate's product
    around = 20 if sizes.mixed_precision else 32
    block = tokens * (around * sizes.hidden + (2 if sizes.mixed_precision else 4) * inside + 4 * sizes.heads)
    kept = sizes.layers * (tokens * 4 * sizes.hidden if sizes.checkpointing else block)
    gradients = (
        logits * 3 // 2 if sizes.mixed_precision else 2 * logits
    )  # of log-softmax: its output's, its input's
    return {
        "backward": _alive(weights, 0, 2 * weights, kept + logits, gradients + beside),
        "optimizer": _alive(weights, weights, 2 * weights, 0, weights + LIBRARIES_BYTES),
    }


def _alive(weights: int, gradients: int, optimizer: int, activations: int, other: int) -> dict[str, int]:
    return {
        "weights": weights, "gradients": gradients, "optimizer": optimizer, "activations": activations, "other": other,
    }  # fmt: skip


def reply(arguments: dict[str, Any], card: Card, bounds: Bounds | None) -> dict[str, Any]:
    """What the engine would reply, from formulas."""
    try:
        sizes = Dimensions.model_validate(arguments)
    except ValidationError as error:
        first = error.errors()[0]
        raise ToolError(
            f"`arguments` of the transformer: {'.'.join(map(str, first['loc']))}: {first['msg'].lower()}",
            saw=arguments,
            try_next="layers, hidden, heads, vocab, sequence_length, batch_size, mixed_precision, checkpointing, "
            "kv_heads, inner, gated, tied",
        ) from error
    phase, alive = max(parts(sizes).items(), key=lambda item: sum(item[1].values()))
    peak = sum(alive.values())
    return {
        "peak_allocated_bytes": peak,
        "peak_reserved_bytes": int(FRAGMENTS * peak),
        "breakdown": {f"{name}_bytes": size for name, size in alive.items()},
        "fits": _verdict(peak, bounds),
        "peak_phase": phase, "peak_operator": "closed formula", "peak_module": "",
        "remedies": {"rows": [], "recommended": None, "skipped": {}},
        "largest_batch": _largest(sizes, bounds), "batch_argument": "batch_size", "batch": sizes.batch_size,
        "parameters": sizes.parameters, "trainable": sizes.parameters if sizes.optimizer else 0,
        "notes": [
            f"Closed formulas for a GPT of these dimensions, taken as {BAND:.0%} either way: nothing was simulated. "
            "A make_step of the real model says more."
        ],
        "caveats": [], "simulation_seconds": 0.0, "torch_version": "",
    }  # fmt: skip


def _verdict(peak: int, bounds: Bounds | None) -> str | None:
    if bounds is None:
        return None
    if peak * (1 - BAND) > bounds.capacity_bytes:
        return "no"
    return "fits" if peak * (1 + BAND) * FRAGMENTS <= bounds.sure_capacity_bytes else "tight"


def _largest(sizes: Dimensions, bounds: Bounds | None) -> dict[str, int] | None:
    if bounds is None:
        return None

    def verdict(batch: int) -> str | None:
        found = parts(sizes.model_copy(update={"batch_size": batch}))
        return _verdict(max(sum(alive.values()) for alive in found.values()), bounds)

    return {
        "fits": _edge(lambda batch: verdict(batch) == "fits"),
        "not_no": _edge(lambda batch: verdict(batch) != "no"),
    }


def _edge(good: Callable[[int], bool]) -> int:
    """The largest batch for which a property holds that large batches lose."""
    low, high = 0, LARGEST
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if good(middle) else (low, middle)
    return low
