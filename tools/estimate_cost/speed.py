"""The dense peak of a card, from the GPU catalog; None where no figure is held."""

import functools

from .._catalog.gpus import Gpu, candidates


@functools.cache
def peak_tflops(accelerator: str, precision: str) -> float | None:
    """TFLOPS of one card; a card without bf16 is taken at fp16, its substitute in training."""
    peaks = {_peak(card, precision) for card in candidates(accelerator)}
    return peaks.pop() if len(peaks) == 1 else None  # the models of one name often share their peak


def _peak(card: Gpu, precision: str) -> float | None:
    return {
        "fp32": card.fp32_tflops,
        "tf32": card.tf32_tflops or card.fp32_tflops,
        "fp16": card.fp16_tflops,
        "bf16": card.bf16_tflops or card.fp16_tflops,
        "fp8": card.fp8_tflops,
    }[precision]


@functools.cache
def tdp_watts(accelerator: str) -> float | None:
    found = candidates(accelerator)
    return found[0].tdp_watts if len(found) == 1 else None
