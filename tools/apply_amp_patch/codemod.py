"""Text in, text out: the rules of the remedies wanted, one after the other, each on a fresh parse."""

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from . import rules
from .context import Context, Wishes
from .edits import apply
from .patch import Patch, Site, strongest
from .script import Script


@dataclass
class Result:
    """The new text, an outcome per remedy, and every site with its line in the text before."""

    text: str
    outcomes: dict[str, str] = field(default_factory=dict)
    sites: list[Site] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def outcome(self) -> str:
        return strongest(list(self.outcomes.values()))


def load_rules() -> dict[str, Callable[[Context], Patch]]:
    """Every rule of the folder by its remedy id."""
    found = {}
    for module in pkgutil.iter_modules(rules.__path__):
        loaded = importlib.import_module(f".{module.name}", rules.__name__)
        found[loaded.REMEDY] = loaded.propose
    return found


def patch(text: str, remedies: list[str], wishes: Wishes, path: Path | None = None) -> Result:
    """Apply the remedies, each on what the one before left. Raises SyntaxError for what is no Python.

    Lines of sites count in the text that the remedy saw. Mixed precision goes first: the others read its loops.
    """
    result = Result(text)
    known = load_rules()
    for remedy in sorted(remedies, key=lambda r: (r != "mixed_precision", remedies.index(r))):
        context = Context(Script(result.text), wishes, path)
        proposal = known[remedy](context)
        result.text = apply(context.script, proposal.edits)
        result.outcomes[remedy] = proposal.outcome
        result.sites += proposal.sites
        result.warnings += proposal.warnings
    return result
