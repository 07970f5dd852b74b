"""What a rule gives back: edits, the sites they belong to, and an outcome."""

import difflib
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


def original_lines(before: str, now: str) -> list[int]:
    """For every line of `now` the line of `before` it came from, or that its predecessor came from."""
    if before == now:
        return list(range(1, before.count("\n") + before.count("\r") + 2))
    old, new = before.splitlines(), now.splitlines()
    lines = [0] * (len(new) + 1)
    for block in difflib.SequenceMatcher(
        None, [s.strip() for s in old], [s.strip() for s in new], False
    ).get_matching_blocks():
        for step in range(block.size):
            lines[block.b + step] = block.a + step + 1
    known = 1
    for place, line in enumerate(lines):
        known = lines[place] = line or known
    return lines
