"""Text in, text out: the rules of the remedies wanted, one after the other, each on a fresh parse."""

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from . import rules
from .context import Context, Wishes
from .edits import EditsCollide, apply, compose, lines_before
from .framework_loops import in_its_place
from .patch import Declined, Patch, Site, strongest
from .project import look_again
from .script import Script

# Mixed precision and accumulation shape the loop that the others read; a stop stands behind all else in an epoch.
ORDER = [
    "mixed_precision",
    "gradient_accumulation",
    "gradient_checkpointing",
    "lr_schedule",
    "early_stopping",
    "dataloader",
    "compile",
    "inference_mode",
    "allocator_settings",
    "zero_grad_none",
    "fused_optimizer",
]


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


def patch(
    text: str, remedies: list[str], wishes: Wishes, path: Path | None = None, root: Path | None = None
) -> Result:
    """Apply the remedies, each on what the one before left. Raises SyntaxError for what is no Python.

    Lines of sites count in the text that was given.
    """
    result = Result(text)
    known = load_rules()
    look_again()
    context = Context(Script(text), wishes, path, root)
    lines = list(range(1, len(context.script.line_starts) + 1))
    for remedy in sorted(remedies, key=lambda r: ORDER.index(r)):
        script = context.script
        proposal = refused(script, remedy) or in_its_place(context, remedy, known[remedy](context))
        try:
            result.text = apply(script, proposal.edits)
        except EditsCollide as collision:
            note = "two changes meet in one place"
            proposal = Declined(collision.line, "edits_collide", note).as_patch(remedy)
        result.outcomes[remedy] = proposal.outcome
        result.sites += [replace(site, line=lines[min(site.line, len(lines)) - 1]) for site in proposal.sites]
        result.warnings += proposal.warnings
        if result.text != script.text:  # what is known of a text holds until it changes
            lines = compose(proposal.lines or lines_before(script, proposal.edits), lines)
            context = Context(Script(result.text), wishes, path, root)
    result.outcomes = {remedy: result.outcomes[remedy] for remedy in remedies}
    return result


def refused(script: Script, remedy: str) -> Patch | None:
    """Declined where what a name means is not known, or would take too long to find out."""
    if found := script.rebound(("torch", "torch.amp", "torch.cuda.amp", "torch.cpu.amp")):
        name, line = found
        note = f"{name} is imported and then gets another value, so what it names is not known; rename one of the two"
        return Declined(line, "torch_rebound", note).as_patch(remedy)
    if found := script.bound_often():
        name, line = found
        note = (
            f"{name} is defined anew so often that its uses cannot be told apart; split the file into scripts"
        )
        return Declined(line, "bound_too_often", note).as_patch(remedy)
    return None
