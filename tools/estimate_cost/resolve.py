"""Which options are compared: the caller's own, named catalog machines, or every catalog machine that fits."""

import difflib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date

from .._catalog.prices import Prices
from .._core.errors import ToolError
from .bands import is_old
from .hosts import is_legacy
from .names import card_of, machines_named, plain_name, unknown_machine
from .option import Choice, Constraints, Option, catalog_choice, measured_on, own_choice
from .search import Choices, fitting
from .speed import check_card, peak_tflops
from .workload import AnyWorkload, Running, Training

_DIFFERS = 0.05  # of a stated price from the catalog's, beyond which the Report says so


def resolve(
    workload: AnyWorkload, options: Sequence[Option], constraints: Constraints, prices: Prices, today: date
) -> Choices:
    """The options in one form; refuses names, providers and regions that the catalog does not hold."""
    found = Choices()
    constraints = _lower(constraints)
    _check_names(options)
    if any(option.kind != "own" and not option.any_price for option in options) or not options:
        _check_places(constraints, prices)
    if workload.accelerator:
        check_card(workload.accelerator, getattr(workload, "precision", "fp16"))
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
    if not options and not (isinstance(workload, Running) and workload.memory_bytes is None):
        found.kept += fitting(workload, constraints, prices, today, found)
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


def _check_names(options: Sequence[Option]) -> None:
    """Plans are told apart by the names of their options."""
    counts = Counter((option.name, option.region) for option in options)
    (name, _), count = max(counts.items(), key=lambda item: item[1], default=(("", None), 1))
    if count > 1:
        raise ToolError(f"{count} options have the name {name}", try_next="a name of its own for each")


def _check_places(constraints: Constraints, prices: Prices) -> None:
    for provider in constraints.providers:
        if provider not in prices.providers:
            near = difflib.get_close_matches(provider, prices.providers, n=2)
            known = f"one of {', '.join(prices.providers)}, or options with your own prices"
            raise ToolError(
                "No prices are held for this provider",
                saw=provider,
                try_next=f"{' or '.join(near)}, or {known}" if near else known,
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
    named = prices.named(plain_name(option.name))
    machines = {
        (m.accelerator, m.accelerator_count, m.gpu_memory_bytes if m.accelerator else m.ram_bytes)
        for m in named
    }
    if option.kind == "serverless":
        return option
    if len(machines) == 1:
        accelerator, count, memory = machines.pop()
    else:
        accelerator, memory = card_of(option)
        count = 0
    providers = {m.provider for m in named}
    provider = providers.pop() if len(providers) == 1 else None
    scales = isinstance(workload, Training) and (workload.scaling_efficiency or workload.total_flops)
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
    machines = prices.named(plain_name(option.name))
    if not machines or option.usd_per_hour is None or option.kind != "instance":
        return
    regions = {option.region} if option.region else set(constraints.regions)
    offers = list(prices.offers_of(machines, regions=regions & prices.regions))
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
    offers = list(prices.offers_of(machines, providers=providers, regions=regions))
    if not offers:
        held = sorted({o.label for o in prices.offers_of(machines)})
        raise ToolError(
            f"No price for {option.name} is held in {', '.join([*providers, *regions])}",
            try_next=f"one of {', '.join(held[:6])}, or your own price as usd_per_hour",
        )
    if any(map(is_legacy, machines)):
        found.warnings.append(f"{option.name} is a legacy type: still listed, hard to get")
    for offer in offers:
        choice = catalog_choice(
            offer, constraints.model_copy(update={"discount": option.discount or constraints.discount})
        )
        yield replace(
            choice, interruptions_per_hour=option.interruptions_per_hour, measured=measured_on(option)
        )


def _warn_of_age(found: Choices, today: date) -> None:
    old = sorted({c.name for c in found.kept if c.as_of and is_old(c.as_of, today)})
    if old:
        found.warnings.append(f"prices over a year old (within 40 % at best): {', '.join(old[:4])}")
