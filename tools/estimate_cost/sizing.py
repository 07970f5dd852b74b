"""How many hours a training run needs on an option, by the number of machines."""

import math
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, field

from .bands import EXACT, UTILIZATION, Band
from .candidate import Miss
from .option import Choice
from .speed import peak_tflops, same_card
from .workload import Training

# references/cost.md#utilisation: small single-GPU jobs; large runs publish 0.21 to 0.57.
ASSUMED_UTILIZATION = 0.30
# Hours carried over to another card by the ratio of peaks are an order of magnitude.
OTHER_CARD: Band = (0.5, 2.0)
UNSTATED_SCALING: Band = (1.0, 1.25)  # perfect scaling is the best case


@dataclass(frozen=True, slots=True)
class Sizing:
    """`hours_at(n)` for `least` to `most` machines: more than `least` only to meet a deadline."""

    hours_at: Callable[[int], float]
    least: int = 1
    most: int = 1
    basis: str = "assumed"
    bands: dict[str, Band] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def fewest(self, within_hours: float | None) -> int:
        """The fewest machines that work within that time; `least` when none do, so that the miss is told of that."""
        if within_hours is None or self.hours_at(self.most) > within_hours:
            return self.least
        counts = range(self.least, self.most + 1)  # hours fall with the count
        return counts[bisect_left(counts, True, key=lambda count: self.hours_at(count) <= within_hours)]


def size(workload: Training, choice: Choice, most: int) -> Sizing | Miss:
    """The hours of one run on this option, or why they are not known."""
    if workload.total_flops is not None:
        return _from_flops(workload, choice, most)
    carried = _carry_over(workload, choice)
    if isinstance(carried, Miss):
        return carried
    ratio, bands, notes = carried
    hours = _stated_hours(workload) * ratio
    basis = "measured" if workload.measurement else "assumed"
    reference = workload.gpus or (1 if workload.scaling_efficiency else None)
    if reference is None or not choice.gpus:
        return Sizing(lambda count: hours, basis=basis, bands=bands, notes=notes)
    per_machine, efficiency = choice.gpus, workload.scaling_efficiency
    least = max(1, math.ceil(reference / per_machine - 1e-9))
    total = least * per_machine
    if least > 1 and reference > 1:
        notes = (*notes, f"{least} machines: assumes a network as fast as where the time is from")
    if total > reference and efficiency is None:
        bands = {**bands, "scaling": UNSTATED_SCALING}
        notes = (*notes, f"assumes perfect scaling from {reference} to {total:g} GPUs")

    def hours_at(count: int) -> float:
        return hours / _speedup(count * per_machine / reference, efficiency)

    grows = efficiency is not None and per_machine >= 1
    return Sizing(hours_at, least, max(least, most) if grows else least, basis, bands, notes)


def _stated_hours(workload: Training) -> float:
    """On the workload's own GPUs."""
    if workload.hours is not None:
        return workload.hours
    assert (
        workload.steps is not None and workload.step_seconds is not None
    )  # the workload's validators saw to it
    return workload.steps * workload.step_seconds / 3600


def _speedup(factor: float, efficiency: float | None) -> float:
    """How many times faster on `factor` times the GPUs: below one exactly, above one times the efficiency."""
    return factor if factor <= 1 or efficiency is None else max(1.0, factor * efficiency)


def _carry_over(workload: Training, choice: Choice) -> tuple[float, dict[str, Band], tuple[str, ...]] | Miss:
    """How the hours change when they were stated for another card: by the ratio of peak throughputs."""
    if workload.accelerator is None:
        return 1.0, {"speed of the card": OTHER_CARD} if choice.searched else {}, ()
    if choice.accelerator is None or same_card(choice.accelerator, workload.accelerator):
        return 1.0, {}, ()
    here = peak_tflops(choice.accelerator, workload.precision)
    there = peak_tflops(workload.accelerator, workload.precision)
    if here is None or there is None:
        why = f"no {workload.precision} peak is held for {choice.accelerator}, so the hours cannot be carried over"
        return Miss(choice.name, "speed", why)
    note = f"hours carried over from {workload.accelerator} by the ratio of {workload.precision} peaks"
    return there / here, {"speed of the card": OTHER_CARD}, (note,)


def _from_flops(workload: Training, choice: Choice, most: int) -> Sizing | Miss:
    """hours = FLOPs / (GPUs x dense peak x utilisation x 3600); FLOPs = 6 N D where N and D are given."""
    tflops = card_tflops(workload, choice)
    if not tflops or workload.total_flops is None:
        card = choice.accelerator or choice.name
        return Miss(
            choice.name, "speed", f"no {workload.precision} peak is known for {card}; give tflops (dense)"
        )
    share = workload.utilization or ASSUMED_UTILIZATION
    per_machine = choice.gpus or float(workload.gpus or 1)
    least = max(1, math.ceil((workload.gpus or 1) / per_machine - 1e-9))
    alone = workload.total_flops / (tflops * 1e12 * share * 3600)

    def hours_at(count: int) -> float:
        total = count * per_machine
        return alone / (total * (workload.scaling_efficiency or 1.0) if total > 1 else total)

    grows = workload.gpus is None and per_machine >= 1
    return Sizing(
        hours_at,
        least,
        max(least, most) if grows else least,
        bands={"utilisation": EXACT if workload.utilization else UTILIZATION},
        notes=()
        if workload.utilization
        else (f"assumes {share:.0%} of the dense {workload.precision} peak",),
    )


def card_tflops(workload: Training, choice: Choice) -> float | None:
    """The dense peak of one of the option's cards."""
    return (
        choice.tflops or (choice.accelerator and peak_tflops(choice.accelerator, workload.precision)) or None
    )
