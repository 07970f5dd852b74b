"""Limits from a card and a message, and the engine's reply as the fields of the Report."""

from dataclasses import dataclass
from typing import Any

from .._core.quantity import MIB, human_bytes
from .card import CONTEXT_BYTES, CONTEXT_HIGH_BYTES, CONTEXT_LOW_BYTES, Card
from .oom_text import OutOfMemoryMessage
from .overheads import Overheads

# Errors are one-sided low: kernels take memory that no trace shows. See references/memory.md for what was measured.
MARGIN_RATIO = 0.06
SPARE_SEGMENT_BYTES = 20 * MIB


@dataclass(frozen=True)
class Bounds:
    """What the allocator may reserve: at most `capacity_bytes`, for sure `sure_capacity_bytes`."""

    capacity_bytes: int
    sure_capacity_bytes: int
    outside_bytes: int
    measured: bool
    source: str = "the message"

    def for_engine(self) -> dict[str, float]:
        return {
            "capacity_bytes": self.capacity_bytes,
            "sure_capacity_bytes": self.sure_capacity_bytes,
            "margin_ratio": MARGIN_RATIO,
            "margin_bytes": SPARE_SEGMENT_BYTES,
        }


def limits(card: Card, message: OutOfMemoryMessage | None, seen: Overheads | None = None) -> Bounds | None:
    """The message's own totals where it has them, else the card less the CUDA context, as seen or as assumed."""
    if card.kind == "cpu":
        return None
    if message is not None:
        outside = message.outside
        if outside is not None:
            whole = message.total - outside
            whole = min(whole, message.allowed) if message.allowed else whole
            return Bounds(whole, whole, outside, measured=True)
        return _without_context(min(message.total, message.allowed or message.total), 0, seen)
    return None if card.memory_bytes is None else _without_context(card.memory_bytes, card.used_bytes, seen)


def _without_context(total: int, used: int, seen: Overheads | None) -> Bounds:
    if seen:
        outside = used + seen.context_bytes
        least = used + seen.least_context_bytes
        return Bounds(max(0, total - least), max(0, total - outside), outside, True, seen.source)
    return Bounds(
        max(0, total - used - CONTEXT_LOW_BYTES),
        max(0, total - used - CONTEXT_HIGH_BYTES),
        used + CONTEXT_BYTES,
        measured=False,
    )


def judged(
    reply: dict[str, Any], card: Card, bounds: Bounds | None, message: OutOfMemoryMessage | None
) -> dict[str, Any]:
    """The fields of the Report that follow from the engine's reply."""
    peak = reply["peak_allocated_bytes"]
    outside = 0 if card.kind == "cpu" else bounds.outside_bytes if bounds else CONTEXT_BYTES
    seen = bool(bounds and bounds.measured)
    rows = [_remedy(row, peak) for row in reply["remedies"]["rows"]]
    chosen = reply["remedies"]["recommended"]
    largest = reply["largest_batch"]
    return {
        "peak_allocated_bytes": peak,
        "peak_reserved_bytes": reply["peak_reserved_bytes"],
        "device_bytes": reply["peak_reserved_bytes"] + outside,
        "outside_bytes": outside,
        "breakdown": reply["breakdown"],
        "fits": reply["fits"],
        "margin_bytes": int(peak * MARGIN_RATIO) + SPARE_SEGMENT_BYTES if bounds else None,
        "capacity_bytes": bounds.capacity_bytes if bounds else None,
        "gpu": card.name if message is None or card.memory_bytes else "the card of the message",
        "remedies": rows,
        "recommended": None if chosen is None else rows[chosen],
        "skipped": reply["remedies"]["skipped"],
        "largest_batch": largest
        and {"fits": largest["fits"], "not_no": largest["not_no"], "argument": reply["batch_argument"]},
        "peak_at": {
            "phase": reply["peak_phase"],
            "operator": reply["peak_operator"],
            "module": reply["peak_module"],
        },
        "parameters": reply["parameters"],
        "trainable_parameters": reply["trainable"],
        "batch": reply["batch"],
        "caveats": _caveats(reply),
        "assumptions": _assumptions(reply, card, bounds),
        "bases": {
            "peak_allocated_bytes": "simulated",
            "peak_reserved_bytes": "simulated",
            "device_bytes": "simulated" if seen else "assumed",
            "outside_bytes": "measured" if seen else "assumed",
            "capacity_bytes": "measured" if seen and message else card.basis,
            "step_cost_ratio": "assumed" if card.speeds_assumed else "catalog",
        },
        "simulation_seconds": round(reply["simulation_seconds"], 3),
        "torch_version": reply["torch_version"],
    }


def _remedy(row: dict[str, Any], peak: int) -> dict[str, Any]:
    kept = ("ids", "details", "peak_allocated_bytes", "step_cost_ratio", "fits", "changes_results")
    return {**{name: row[name] for name in kept}, "saved_bytes": peak - row["peak_allocated_bytes"]}


def _assumptions(reply: dict[str, Any], card: Card, bounds: Bounds | None) -> list[str]:
    found = list(reply["notes"])
    if card.kind == "cuda" and bounds and bounds.measured:
        outside = human_bytes(bounds.outside_bytes)
        found.append(f"Outside the allocator the card holds {outside}: measured, by {bounds.source}.")
    elif card.kind == "cuda":
        found.append(f"CUDA context and libraries are assumed to take {human_bytes(CONTEXT_BYTES)}.")
    if card.kind == "cuda" and card.capability == (8, 0) and card.speeds_assumed:
        found.append("No card is named: compute capability 8.0 and middling speeds are assumed.")
    return found


def _caveats(reply: dict[str, Any]) -> list[dict[str, str]]:
    """The engine's, the worst direction first; beside an upper bound what the peak is at least."""
    found = sorted(reply["caveats"], key=lambda caveat: _WORST_FIRST.index(caveat["direction"]))
    least = reply.get("least_allocated_bytes")
    if least is not None:
        bounded = f"all were taken; with one a mask the peak is {human_bytes(least)}"
        found = [{**row, "note": bounded} if row["direction"] == "too_high" else row for row in found]
    if len(found) > MOST_CAVEATS:
        more = {
            "operation": f"{len(found) - MOST_CAVEATS} further places",
            "direction": "either",
            "note": "as above",
        }
        found = [*found[:MOST_CAVEATS], more]
    return found


MOST_CAVEATS = 8
_WORST_FIRST = ("too_low", "either", "too_high")


def left_out(reply: dict[str, Any], card: Card, remedies: Any) -> list[str]:
    """What the prediction does not contain."""
    if card.kind == "cpu":
        return ["The interpreter and its libraries (some hundred MB resident)"]
    found = ["Workspaces inside kernels (cuDNN convolutions: tens to hundreds of MiB; sorting, indexing)"]
    found.append("Several streams, NCCL, DDP buckets, torch.compile, CUDA graphs")
    return found
