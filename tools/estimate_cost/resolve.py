"""Which options are compared: the caller's own, named catalog machines, or every catalog machine that fits."""

import difflib
import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date

from .._catalog.gpus import candidates, find_gpu
from .._catalog.prices import Machine, Prices
from .._core.errors import ToolError
from .bands import is_old
from .candidate import USABLE_SHARE
from .names import card_of, machines_named, unknown_machine
from .option import Choice, Constraints, Option, catalog_choice, measured_on, own_choice
from .speed import peak_tflops
from .workload import AnyWorkload, Batch, Inference, Running, Training

_DIFFERS = 0.05  # of a stated price from the catalog's, beyond which the Report says so
_LEGACY = (
    "p2.",
    "p3.",
    "p3dn.",
    "g2.",
    "g3.",
    "g3s.",
)  # still listed; karpenter-provider-aws dropped their specs
_CHEAPEST_CPU = 400  # CPU machines that are planned for; a dearer one of the same speed cannot win


@dataclass
class Choices:
    """What is compared, and what the Report must say about it."""

    kept: list[Choice] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    too_small: list[str] = field(default_factory=list)


def resolve(
    workload: AnyWorkload, options: Sequence[Option], constraints: Constraints, prices: Prices, today: date
) -> Choices:
    """The options in one form; refuses names, providers and regions that the catalog does not hold."""
    found = Choices()
    constraints = _lower(constraints)
    if any(option.kind != "own" and not option.any_price for option in options) or not options:
        _check_places(constraints, prices)
    if not isinstance(workload, Running) and workload.accelerator:
        find_gpu(workload.accelerator)  # refuses a name that is unknown or fits several cards
    for option in options:
        if option.kind == "own" or option.any_price:
            if _elsewhere(option, constraints):
                found.warnings.append(f"{option.name} is left out: not in the named providers and regions")
                continue
            completed = _completed(option, workload, prices)
            _check_dense(completed, workload)
            found.kept.append(own_choice(completed, constraints))
            found.warnings += _against_catalog(option, constraints, prices)
        else:
            found.kept += _named(option, constraints, prices, found)
    if not options and not isinstance(workload, Running):
        found.kept += _fitting(workload, constraints, prices, today, found)
    _warn_of_age(found, today)
    return found


def _lower(constraints: Constraints) -> Constraints:
    return constraints.model_copy(update={"providers": [name.casefold() for name in constraints.providers]})


def _elsewhere(option: Option, constraints: Constraints) -> bool:
    """Whether an option says that it is somewhere the constraints exclude."""
    provider, region = (option.provider or "").casefold(), option.region
    return bool(
        (provider and constraints.providers and provider not in constraints.providers)
        or (region and constraints.regions and region not in constraints.regions)
    )


def _check_dense(option: Option, workload: AnyWorkload) -> None:
    """Data sheets print the sparse peak, twice what a model reaches; the two must not be mixed."""
    if option.tflops is None or option.accelerator is None or not isinstance(workload, Training):
        return
    dense = peak_tflops(option.accelerator, workload.precision)
    if dense and option.tflops > 1.5 * dense:
        raise ToolError(
            f"tflops of {option.name} looks like the sparse figure",
            saw=f"{option.tflops:g}",
            try_next=f"the dense one, {dense:g} for {option.accelerator} in {workload.precision}",
        )


def _check_places(constraints: Constraints, prices: Prices) -> None:
    for provider in constraints.providers:
        if provider not in prices.providers:
            raise ToolError(
                "No prices are held for this provider",
                saw=provider,
                try_next=f"one of {', '.join(prices.providers)}, or options with your own prices",
            )
    for region in constraints.regions:
        if region not in prices.regions:
            near = difflib.get_close_matches(region, prices.regions, n=3)
            held = ", ".join(sorted(prices.regions))
            raise ToolError(
                "No prices are held for this region",
                saw=region,
                try_next=f"{' or '.join(near)}, or another of {held}" if near else f"one of {held}",
            )


def _completed(option: Option, workload: AnyWorkload, prices: Prices) -> Option:
    """With what the catalog knows about a machine or card of that name, where the caller left it out.

    The number of cards only where the work is known to use more: stated hours hold for the machine as it is.
    """
    machines = {
        (m.accelerator, m.accelerator_count, m.gpu_memory_bytes if m.accelerator else m.ram_bytes)
        for m in prices.named(option.name)
    }
    if option.kind == "serverless":
        return option
    if len(machines) == 1:
        accelerator, count, memory = machines.pop()
    else:
        accelerator, memory = card_of(option)
        count = 0
    providers = {m.provider for m in prices.named(option.name)}
    provider = providers.pop() if len(providers) == 1 else None
    scales = isinstance(workload, Training) and (workload.scaling_efficiency or _by_flops(workload))
    known = {
        "accelerator": accelerator,
        "gpus": (count or None) if scales else None,
        "memory_bytes": memory,
        "provider": provider,
    }
    return option.model_copy(
        update={k: v for k, v in known.items() if v is not None and getattr(option, k) is None}
    )


def _against_catalog(option: Option, constraints: Constraints, prices: Prices) -> Iterator[str]:
    """A word where the caller's list price is not the catalog's: pages keep old prices for years."""
    machines = prices.named(option.name)
    if not machines or option.usd_per_hour is None or option.kind != "instance":
        return
    regions = {option.region} if option.region else set(constraints.regions)
    offers = list(prices.offers(lambda m: m in machines, regions=regions & prices.regions))
    if not offers:
        return
    nearest = min(offers, key=lambda o: abs(o.on_demand_usd_per_hour - (option.usd_per_hour or 0)))
    listed = nearest.on_demand_usd_per_hour
    if abs(option.usd_per_hour / listed - 1) > _DIFFERS:
        yield (
            f"{option.name}: you state {option.usd_per_hour:g} USD/h; the nearest list price held is {listed:g} "
            f"({nearest.label}, {nearest.source.as_of})"
        )


def _named(option: Option, constraints: Constraints, prices: Prices, found: Choices) -> Iterator[Choice]:
    """Catalog offers for a machine name, 'provider region machine', or an accelerator."""
    machines, place = machines_named(option.name, prices)
    if not machines:
        raise unknown_machine(option.name, prices)
    if option.gpus and any(m.accelerator_count == option.gpus for m in machines):
        machines = [m for m in machines if m.accelerator_count == option.gpus]
    providers = [option.provider] if option.provider else constraints.providers
    regions = [option.region] if option.region else place or constraints.regions
    offers = list(prices.offers(lambda m: m in machines, providers=providers, regions=regions))
    if not offers:
        held = sorted({o.label for o in prices.offers(lambda m: m in machines)})
        raise ToolError(
            f"No price for {option.name} is held in {', '.join([*providers, *regions])}",
            try_next=f"one of {', '.join(held[:6])}, or your own price as usd_per_hour",
        )
    if any(m.provider == "aws" and m.name.startswith(_LEGACY) for m in machines):
        found.warnings.append(f"{option.name} is a legacy type: still listed, hard to get")
    for offer in offers:
        choice = catalog_choice(
            offer, constraints.model_copy(update={"discount": option.discount or constraints.discount})
        )
        yield replace(
            choice, interruptions_per_hour=option.interruptions_per_hour, measured=measured_on(option)
        )


def _fitting(
    workload: Training | Inference | Batch,
    constraints: Constraints,
    prices: Prices,
    today: date,
    found: Choices,
) -> Iterator[Choice]:
    """Every offer that fits the workload, but no price over a year old unless its provider is named."""
    keep = _fits(workload)
    aged = {name for name, source in prices.sources.items() if is_old(source.as_of, today)}
    every = list(prices.offers(keep, providers=constraints.providers, regions=constraints.regions))
    offers = every if constraints.providers else [one for one in every if one.source.name not in aged]
    old = len(every) - len(offers)
    if not offers:
        raise _nothing_fits(workload, prices)
    if old:
        found.warnings.append(f"{old} offers over a year old are left out; name their provider to see them")
    if not _wants_gpu(workload):
        offers.sort(key=lambda o: o.spot_usd_per_hour or o.on_demand_usd_per_hour)
        offers = offers[:_CHEAPEST_CPU]
    yield from (replace(catalog_choice(offer, constraints), searched=True) for offer in offers)


def _wants_gpu(workload: AnyWorkload) -> bool:
    return isinstance(workload, Training) or workload.gpus is not None or workload.accelerator is not None


def _fits(workload: Training | Inference | Batch) -> Callable[[Machine], bool]:
    wanted = (workload.memory_bytes or 0) / USABLE_SHARE
    carried = isinstance(workload, Training)  # its hours are carried over to other cards
    cards = (
        None
        if carried or not workload.accelerator
        else {card.name for card in candidates(workload.accelerator)}
    )
    count = workload.gpus or 1
    grows = isinstance(workload, Training) and (
        workload.scaling_efficiency or (workload.gpus is None and _by_flops(workload))
    )

    def gpu(machine: Machine) -> bool:
        return (
            machine.accelerator is not None
            and (cards is not None or _runs_cuda(machine.accelerator))
            and machine.accelerator_count >= count
            and (grows or machine.accelerator_count < 2 * count)
            and (machine.gpu_memory_bytes or 0) >= wanted
            and (cards is None or machine.accelerator in cards)
        )

    def cpu(machine: Machine) -> bool:
        return machine.accelerator is None and (machine.ram_bytes or 0) >= wanted

    return gpu if _wants_gpu(workload) else cpu


@functools.cache
def _runs_cuda(accelerator: str) -> bool:
    """What most training code needs; other accelerators are compared when they are named."""
    found = candidates(accelerator)
    return bool(found) and found[0].vendor == "nvidia"


def _by_flops(workload: Training) -> bool:
    return workload.flops is not None or workload.tokens is not None


def _nothing_fits(workload: Training | Inference | Batch, prices: Prices) -> ToolError:
    largest = max((m.gpu_memory_bytes or 0, m.accelerator or "") for m in prices.machines.values())
    if workload.memory_bytes and workload.memory_bytes > largest[0] * USABLE_SHARE and _wants_gpu(workload):
        return ToolError(
            "The model is larger than any single card held",
            saw=f"{workload.memory_bytes / 2**30:.0f} GiB",
            try_next=f"sharding: the largest is {largest[1]} with {largest[0] / 2**30:.0f} GiB",
        )
    return ToolError(
        "No machine of the catalog fits",
        saw=f"{workload.gpus or 1} GPUs, accelerator {workload.accelerator}",
        try_next="another provider, region or count, or options with your own prices",
    )


def _warn_of_age(found: Choices, today: date) -> None:
    old = sorted({c.name for c in found.kept if c.as_of and is_old(c.as_of, today)})
    if old:
        found.warnings.append(f"prices over a year old (within 40 % at best): {', '.join(old[:4])}")
