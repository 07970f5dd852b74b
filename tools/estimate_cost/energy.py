"""Electricity and CO2 of a plan: a rough figure, from the cards' design power alone."""

from .._catalog.carbon import SOURCE, grams_per_kwh
from .candidate import Candidate
from .speed import tdp_watts

# Judgement, in references/cost.md#energy: a busy card draws most of its design power; a data centre adds its overhead.
LOAD_SHARE = 0.8
OVERHEAD = 1.2  # PUE of a large cloud; an average room is nearer 1.6
WORLD_GRAMS_PER_KWH = (
    475  # in 2019, IEA; carbontracker falls back to the same figure (saintslab/carbontracker#49)
)

SOURCES = {
    "energy_kwh": f"accelerators' design power x {LOAD_SHARE} x {OVERHEAD} overhead (judgement)",
    "co2_kg": f"{SOURCE}; elsewhere {WORLD_GRAMS_PER_KWH} g/kWh (IEA, world 2019)",
}


def kwh_of(one: Candidate) -> float | None:
    """Of the accelerators, or of own hardware whose watts are stated; None where neither is known."""
    choice = one.choice
    if choice.watts is not None:
        return choice.watts * one.busy_hours / 1000
    if choice.accelerator is None or (watts := tdp_watts(choice.accelerator)) is None:
        return None
    return watts * (choice.gpus or 1) * LOAD_SHARE * one.busy_hours / 1000 * OVERHEAD


def co2_kg_of(one: Candidate, kwh: float) -> float:
    grams = grams_per_kwh(one.choice.provider, one.choice.region)
    return kwh * (WORLD_GRAMS_PER_KWH if grams is None else grams) / 1000


def rounded(figure: float) -> float:
    """To the three digits that such a figure may claim."""
    return float(f"{figure:.3g}")
