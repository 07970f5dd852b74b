"""What a rule gives back: edits, the sites they belong to, and an outcome."""

from dataclasses import dataclass, field

from .edits import Edit

OUTCOMES = ("patched", "framework_option", "declined", "already", "nothing_to_do")  # strongest first


@dataclass(frozen=True)
class Site:
    """One place of the file and what is done there. `action` is edit, decline, keep or warn."""

    line: int
    remedy: str
    action: str
    reason_code: str
    note: str


@dataclass
class Patch:
    """The proposal of one rule. A declined or kept file has no edits."""

    outcome: str
    sites: list[Site] = field(default_factory=list)
    edits: list[Edit] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    lines: list[int] | None = None  # where each new line was, if the edits replace the whole text


class Declined(Exception):
    """Raised by a rule at the first thing that makes the patch unsafe; carries line, code and note."""

    def __init__(self, line: int, code: str, note: str) -> None:
        super().__init__(note)
        self.line, self.code, self.note = line, code, note

    def as_patch(self, remedy: str) -> Patch:
        return Patch("declined", [Site(self.line, remedy, "decline", self.code, self.note)])


def strongest(outcomes: list[str]) -> str:
    """The top-level outcome of several."""
    return min(outcomes, key=OUTCOMES.index)
