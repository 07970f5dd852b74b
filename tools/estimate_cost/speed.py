"""What a card can do, from the GPU catalog; None where no figure is held."""

import functools

from .._catalog.gpus import Gpu, candidates, find_gpu


@functools.cache
def peak_tflops(accelerator: str, precision: str) -> float | None:
    """Dense TFLOPS of one card; a card without bf16 is taken at fp16, its substitute in training."""
    peaks = {_peak(card, precision) for card in candidates(accelerator)}
    return peaks.pop() if len(peaks) == 1 else None  # the models of one name often share their peak


def check_card(accelerator: str, precision: str) -> None:
    """Refuses a name that no card has, or that means cards of different speed."""
    if peak_tflops(accelerator, precision) is None and len(candidates(accelerator)) != 1:
        find_gpu(accelerator)  # raises, with the names to choose from


@functools.cache
def same_card(one: str | None, other: str | None) -> bool:
    """Whether two spellings may mean the same card."""
    return bool(one and other and {c.name for c in candidates(one)} & {c.name for c in candidates(other)})


@functools.cache
def computes(accelerator: str, precision: str) -> bool:
    """Natively, as far as the catalog knows the card; fp32 and its faster stand-in tf32 run on all."""
    if precision not in ("fp16", "bf16", "fp8"):
        return True
    return all(
        precision in card.native for card in candidates(accelerator) if card.native or card.compute_capability
    )


@functools.cache
def tdp_watts(accelerator: str) -> float | None:
    found = {card.tdp_watts for card in candidates(accelerator)}
    return found.pop() if len(found) == 1 else None


def _peak(card: Gpu, precision: str) -> float | None:
    return {
        "fp32": card.fp32_tflops,
        "tf32": card.tf32_tflops or card.fp32_tflops,
        "fp16": card.fp16_tflops,
        "bf16": card.bf16_tflops or card.fp16_tflops,
        "fp8": card.fp8_tflops,
    }[precision]
