"""A clue: one thing the text says that speaks for one constraint, with the words that say it."""

import re
from dataclasses import dataclass, field
from functools import cached_property

# How much a clue weighs. A raised error outweighs any number of words in prose; among raised errors the more
# specific wins ("CUDA out of memory" over "exit code 1"), and between equals the one further down the text.
FINAL = 20.0
STRONG = 14.0
LIKELY = 8.0
WEAK = 3.0


@dataclass(frozen=True)
class Message:
    """One message format: a pattern over lower-cased text, tried only where one of its needles occurs."""

    constraint: str
    sub_cause: str | None
    points: float
    needles: tuple[str, ...]
    pattern: str
    shows: str

    @cached_property
    def compiled(self) -> re.Pattern[str]:
        return re.compile(self.pattern, re.ASCII)


@dataclass(frozen=True)
class Clue:
    """A message or a phrase that was found: where, and what it speaks for."""

    constraint: str
    sub_cause: str | None
    points: float
    start: int
    end: int
    shows: str
    source: str = field(default="message", compare=False)


def found_messages(lowered: str, messages: tuple[Message, ...]) -> list[Clue]:
    """Every message format that occurs, at its last occurrence: what ended the run stands at the end."""
    clues = []
    for message in messages:
        if not any(needle in lowered for needle in message.needles):
            continue
        last = None
        for last in message.compiled.finditer(lowered):
            pass
        if last:
            later = last.end() / max(1, len(lowered))  # between equals the later message counts
            clues.append(
                Clue(message.constraint, message.sub_cause, message.points + later, *last.span(), message.shows)
            )
    return clues
