"""A clue: one thing the text says that speaks for one constraint, with the words that say it."""

import re
from collections import deque
from dataclasses import dataclass, field, replace
from functools import cached_property

# How much a clue weighs. A raised error outweighs any number of words in prose; among raised errors the more
# specific wins ("CUDA out of memory" over "exit code 1"), and between equals the one further down the text.
FINAL = 20.0
STRONG = 14.0
LIKELY = 8.0
WEAK = 3.0
_LATER = 4.0  # what the end of a text adds: the last final error ended the run


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

    def of_another_program(self) -> "Clue":
        """The same words, said of a program that has nothing to do with learning: another trade's question."""
        if self.constraint in ("not_a_resource_problem", "out_of_scope"):
            return self
        return replace(
            self, constraint="out_of_scope", sub_cause="non_ml", shows="no machine learning is named"
        )


def found_messages(lowered: str, messages: tuple[Message, ...]) -> list[Clue]:
    """Every message format that occurs, at its last occurrence: what ended the run stands at the end."""
    clues = []
    for message in messages:
        for (
            needle
        ) in message.needles:  # four hundred formats: a generator for each would take longer than the look
            if needle in lowered:
                break
        else:
            continue
        if last := deque(message.compiled.finditer(lowered), maxlen=1):
            (found,) = last
            later = _LATER * found.end() / max(1, len(lowered))
            clues.append(
                Clue(
                    message.constraint,
                    message.sub_cause,
                    message.points + later,
                    *found.span(),
                    message.shows,
                )
            )
    return clues
