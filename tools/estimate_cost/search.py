"""The catalog's offers that fit the work, where the caller names none."""

import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date

from .._catalog.gpus import candidates
from .._catalog.prices import Machine, Prices
from .._core.errors import ToolError
from .bands import is_old
from .candidate import USABLE_SHARE
from .hosts import is_legacy, shares_a_core
from .option import Choice, Constraints, catalog_choice
from .workload import AnyWorkload, Running, Training

_NODE = 8  # cards of a large machine
_CHEAPEST_CPU = 400  # CPU machines that are planned for; a dearer one of the same speed cannot win
_WHAT_RUNS = (
    "no other machine is compared: name the `accelerator` or `gpus` that run today, or give your own options"
)


@dataclass
class Choices:
    """What is compared, and what the Report must say about it."""

    kept: list[Choice] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def fitting(
    workload: AnyWorkload,
    constraints: Constraints,
    prices: Prices,
    today: date,
    found: Choices,
) -> Iterator[Choice]:
    """Every offer that fits the workload, but no price over a year old unless its provider is named."""
    if isinstance(workload, Running) and not workload.on_gpu:
        found.warnings.append(_WHAT_RUNS)
        return
    keep = _fits(workload)
    aged = {name for name, source in prices.sources.items() if is_old(source.as_of, today)}
    every = list(prices.offers(keep, providers=constraints.providers, regions=constraints.regions))
    offers = every if constraints.providers else [one for one in every if one.source.name not in aged]
    old = len(every) - len(offers)
    if isinstance(workload, Running):
        offers = [one for one in offers if one.on_demand_usd_per_hour < workload.usd_per_hour]
    elif not offers:
        raise _nothing_fits(workload, prices)
    if old:
        found.warnings.append(f"{old} offers over a year old are left out; name their provider to see them")
    if not _wants_gpu(workload):
        offers.sort(key=lambda o: o.spot_usd_per_hour or o.on_demand_usd_per_hour)
        offers = offers[:_CHEAPEST_CPU]
    yield from (catalog_choice(offer, constraints, searched=True) for offer in offers)


def _wants_gpu(workload: AnyWorkload) -> bool:
    return isinstance(workload, Training) or workload.gpus is not None or workload.accelerator is not None


def _fits(workload: AnyWorkload) -> Callable[[Machine], bool]:
    return _gpu_fits(workload) if _wants_gpu(workload) else _cpu_fits(workload)


def _gpu_fits(workload: AnyWorkload) -> Callable[[Machine], bool]:
    wanted = _wanted_bytes(workload)
    carried = isinstance(workload, Training | Running)  # their hours are carried over to other cards
    named = workload.accelerator and not carried
    cards = {card.name for card in candidates(workload.accelerator or "")} if named else None
    least, below = _counts(workload)

    def fits(machine: Machine) -> bool:
        return (
            machine.accelerator is not None
            and not is_legacy(machine)
            and (machine.accelerator in cards if cards is not None else _runs_cuda(machine.accelerator))
            and least <= machine.accelerator_count < below
            and (machine.gpu_memory_bytes or 0) >= wanted
        )

    return fits


def _counts(workload: AnyWorkload) -> tuple[float, float]:
    """How many cards: as many as asked for and less than twice that; for a bill that runs, at most today's.

    Training may be spread over several machines of eight, the most that one usually has.
    """
    asked = workload.gpus or 1
    if isinstance(workload, Running):
        return 1, asked + 1
    by_flops = isinstance(workload, Training) and workload.gpus is None and workload.total_flops is not None
    grows = by_flops or (isinstance(workload, Training) and workload.scaling_efficiency is not None)
    least = min(asked, _NODE) if isinstance(workload, Training) else asked
    return least, math.inf if grows else 2 * asked


def _cpu_fits(workload: AnyWorkload) -> Callable[[Machine], bool]:
    """Whole cores: a share of one cannot be busy all the time."""
    wanted, cores = _wanted_bytes(workload), getattr(workload, "vcpus", None) or 0

    def fits(machine: Machine) -> bool:
        if machine.accelerator is not None or (machine.ram_bytes or 0) < wanted:
            return False
        return (machine.vcpus or 0) >= cores and not shares_a_core(machine)

    return fits


def _wanted_bytes(workload: AnyWorkload) -> float:
    return (workload.memory_bytes or 0) / USABLE_SHARE


@functools.cache
def _runs_cuda(accelerator: str) -> bool:
    """What most training code needs; other accelerators are compared when they are named."""
    found = candidates(accelerator)
    return bool(found) and found[0].vendor == "nvidia"


def _nothing_fits(workload: AnyWorkload, prices: Prices) -> ToolError:
    largest = max((m.gpu_memory_bytes or 0, m.accelerator or "") for m in prices.machines.values())
    if workload.memory_bytes and workload.memory_bytes > largest[0] * USABLE_SHARE and _wants_gpu(workload):
        return ToolError(
            "The model is larger than any single card held",
            saw=f"{workload.memory_bytes / 2**30:.0f} GiB",
            try_next=f"sharding: the largest is {largest[1]} with {largest[0] / 2**30:.0f} GiB",
        )
    return ToolError(
        "No machine of the catalog fits",
        saw=", ".join(_wishes(workload)),
        try_next="another provider, region or count, or options with your own prices",
    )


def _wishes(workload: AnyWorkload) -> Iterator[str]:
    if _wants_gpu(workload):
        yield f"{workload.gpus or 1} GPUs"
    if workload.accelerator:
        yield f"accelerator {workload.accelerator}"
    if workload.memory_bytes:
        yield f"{workload.memory_bytes / 2**30:.4g} GiB"
    if cores := getattr(workload, "vcpus", None):
        yield f"{cores:g} vCPUs"
