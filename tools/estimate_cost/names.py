"""What a name means: a machine of the catalog, a place and a machine, a card, or the nearest of them."""

import difflib
import re

from .._catalog.gpus import candidates
from .._catalog.prices import Machine, Prices
from .._core.errors import ToolError
from .option import Option

_MANAGED = "ml."  # SageMaker's prefix for an EC2 machine


def machines_named(name: str, prices: Prices) -> tuple[list[Machine], list[str]]:
    """The machines that a machine's name, 'provider region machine' or an accelerator means, and the region named."""
    if machines := prices.named(name):
        return machines, []
    words = name.replace("/", " ").split()
    if len(words) > 1 and (machines := prices.named(words[-1])):
        provider = [m for m in machines if m.provider == words[0].casefold()] or machines
        return provider, [word for word in words if word in prices.regions]
    cards = {card.name for card in candidates(name)}
    family = {m.accelerator for m in prices.machines.values() if m.accelerator} & (cards | {name})
    return [m for m in prices.machines.values() if m.accelerator in family], []


def card_of(option: Option) -> tuple[str | None, int | None]:
    """The card that an option's own fields or its name speak of ('8xA100 node'), and its memory if that is certain."""
    words = [option.accelerator] if option.accelerator else re.split(r"[\s,()/]+", option.name)
    for word in words:
        name = re.sub(r"^\d+ ?x ?", "", word, flags=re.IGNORECASE)
        cards = candidates(name) if option.accelerator or _is_a_cards_name(name) else []
        if cards:
            sizes = {card.memory_bytes for card in cards}
            return word if option.accelerator else cards[0].name, sizes.pop() if len(sizes) == 1 else None
    return None, None


def _is_a_cards_name(word: str) -> bool:
    """Short names only as cards write them: P4 is a card, p4 a family of machines with another."""
    return any(letter.isdigit() for letter in word) and (len(word) > 3 or word == word.upper())


def plain_name(name: str) -> str:
    """The EC2 name of a SageMaker type; every other name as it is."""
    return name.removeprefix(_MANAGED)


def unknown_machine(name: str, prices: Prices) -> ToolError:
    """The refusal of a name that the catalog does not hold, with the nearest."""
    plain = plain_name(name)
    if plain != name and prices.named(plain):
        return ToolError(
            f"{name} is a managed SageMaker type, whose price is not held and is higher than the machine's",
            try_next=f"{plain} for the plain machine, or your SageMaker price as usd_per_hour",
        )
    names = {m.name.casefold(): m.name for m in prices.machines.values()}
    cards = {m.accelerator.casefold(): m.accelerator for m in prices.machines.values() if m.accelerator}
    near = difflib.get_close_matches(plain.casefold(), {**names, **cards}, n=3, cutoff=0.5)
    shown = " or ".join({**names, **cards}[one] for one in near)
    return ToolError(
        "No such machine or accelerator in the catalog",
        saw=name,
        try_next=f"{shown}, or your own price as usd_per_hour" if shown else "your own price as usd_per_hour",
    )
