"""The dense peak of a card, from the GPU catalog; None where no figure is held."""

import functools

from .._catalog.gpus import candidates


@functools.cache
def peak_tflops(accelerator: str, precision: str) -> float | None:
    """TFLOPS of one card; a card without bf16 is taken at fp16, its substitute in training."""
    found = candidates(accelerator)
    if len(found) != 1:
        return None
    card = found[0]
    peaks = {
        "fp32": card.fp32_tflops,
        "tf32": card.tf32_tflops or card.fp32_tflops,
        "fp16": card.fp16_tflops,
        "bf16": card.bf16_tflops or card.fp16_tflops,
        "fp8": card.fp8_tflops,
    }
    return peaks[precision]


@functools.cache
def tdp_watts(accelerator: str) -> float | None:
    found = candidates(accelerator)
    return found[0].tdp_watts if len(found) == 1 else None
