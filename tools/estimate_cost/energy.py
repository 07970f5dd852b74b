"""Electricity and CO2 of a plan: a rough figure, from the cards' design power alone."""

from .candidate import Candidate
from .speed import tdp_watts

# Judgement, in references/cost.md#energy: a busy card draws most of its design power; a data centre adds its overhead.
LOAD_SHARE = 0.8
OVERHEAD = 1.2  # PUE of a large cloud; an average room is nearer 1.6
GRAMS_PER_KWH = (
    475  # the world in 2019, IEA; carbontracker falls back to the same figure (saintslab/carbontracker#49)
)


def kwh_of(one: Candidate) -> float | None:
    """Of the accelerators only; None where their design power is not held."""
    if one.choice.accelerator is None or (watts := tdp_watts(one.choice.accelerator)) is None:
        return None
    return watts * (one.choice.gpus or 1) * LOAD_SHARE * one.busy_hours / 1000 * OVERHEAD


def grams_co2(kwh: float) -> float:
    return kwh * GRAMS_PER_KWH
