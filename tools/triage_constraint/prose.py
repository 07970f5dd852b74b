"""What plain sentences speak for: rules over the ideas that stand together in one sentence or one text."""

import re
from collections.abc import Iterator
from functools import lru_cache

from .clues import STRONG, Clue
from .concepts import named_in, simplified
from .rules import RULES, Rule

PROSE_LIMIT = 4000  # characters of prose that are read: people state their problem early
_SENTENCE_END = re.compile(r"[.!?](?=\s)|[。！？]")
_SHORT = 150  # characters in which a job need not be described
_TITLE_FACTOR = 1.5  # the first line of an issue or a mail is its summary
_MACHINE_LINE = re.compile(
    r"^\s*(?:file \"|at \S+\(|\^+\s*$|\[?\d{4}-\d\d-\d\d|\[?\d\d:\d\d|[ \t]*\d+%\||#\d+ 0x|frame #|"
    r"(?:import|from) \w|\s{8,}\S|[|+=*_~-]{6,}|\[bt\])"
)


class Prose:
    """The sentences of a text that people wrote, and the ideas that they name."""

    def __init__(self, text: str) -> None:
        self.sentences = _sentences(simplified(text[: 4 * PROSE_LIMIT].lower()))
        joined = "\n".join(sentence for _, sentence in self.sentences)
        self.characters = len(joined)
        self.named = named_in(joined)

    def names_no_machine_learning(self) -> bool:
        """Whether no word of machine learning falls."""
        return self.named.keys().isdisjoint(("ml", "gpu", "train"))

    def is_about_another_program(self) -> bool:
        """Whether other kinds of programs are named and no word of machine learning."""
        return "nonml" in self.named and self.names_no_machine_learning()

    def by_sentence(self) -> Iterator[tuple[int, int, frozenset[str]]]:
        """Where each sentence starts and ends that names an idea, and which it names."""
        named = sorted((start, name) for name, starts in self.named.items() for start in starts)
        position, index = 0, 0
        for start, sentence in self.sentences:
            end, first = position + len(sentence), index
            while index < len(named) and named[index][0] <= end:
                index += 1
            if index > first:
                yield start, start + len(sentence), frozenset(name for _, name in named[first:index])
            position = end + 1

    def completed(self, rule: Rule) -> int:
        """Where the text has named all the ideas that a rule needs."""
        position = max(self.named[name][0] for name in rule.needed)
        for start, sentence in self.sentences:
            if position <= len(sentence):
                return start + position
            position -= len(sentence) + 1
        return 0


def read_prose(prose: Prose, raised: list[Clue]) -> list[Clue]:
    """The clues that the sentences of a text give; lines that machines wrote are left out.

    `raised` are the messages found already: a sentence that quotes one is not counted a second time as prose.
    """
    quoted = [clue for clue in raised if clue.points >= STRONG]
    clues: dict[Rule, Clue] = {}
    for start, end, here in prose.by_sentence():
        if any(clue.start < end and start < clue.end for clue in quoted):
            continue
        factor = _TITLE_FACTOR if start == 0 else 1.0
        for rule in _fired("sentence", here):
            _keep(clues, rule, rule.points * factor, start, end)
    for rule in _fired("text", frozenset(prose.named)):
        last = prose.completed(rule)
        _keep(clues, rule, rule.points, last, last + 1)
    return _ours(list(clues.values()), prose)


def _ours(found: list[Clue], prose: Prose) -> list[Clue]:
    """The clues; where no word of machine learning falls, slowness is taken for ours only in a short cry for help."""
    if not prose.names_no_machine_learning():
        return found
    foreign: tuple[str, ...] = ()
    if not prose.named.keys().isdisjoint(("nonml", "service")):
        foreign = (
            "compute_time",
            "inference_latency",
            "gpu_memory",
            "host_memory",
            "disk",
            "edge",
            "network",
        )
    elif prose.characters > _SHORT:
        foreign = ("compute_time", "inference_latency")
    return [clue.of_another_program() if clue.constraint in foreign else clue for clue in found]


@lru_cache(maxsize=1024)
def _fired(scope: str, named: frozenset[str]) -> list[Rule]:
    """The rules of that scope that these ideas together fire."""
    return [
        rule
        for rule in RULES
        if rule.scope == scope and named.issuperset(rule.needed) and named.isdisjoint(rule.excluded)
    ]


def _keep(clues: dict[Rule, Clue], rule: Rule, points: float, start: int, end: int) -> None:
    if rule not in clues or clues[rule].points < points:
        clues[rule] = Clue(rule.constraint, rule.sub_cause, points, start, end, rule.shows, source="prose")


def _sentences(lowered: str) -> list[tuple[int, str]]:
    """The sentences that people wrote with their offsets: lines of machines left out, PROSE_LIMIT characters in all."""
    found, room, offset = [], PROSE_LIMIT, 0
    for line in lowered.split("\n"):
        if room > 0 and line.strip() and not _MACHINE_LINE.match(line):
            ends = [m.end() for m in _SENTENCE_END.finditer(line)] + [len(line)]
            starts = [0, *ends]
            found += [(offset + s, line[s:e]) for s, e in zip(starts, ends, strict=False) if e - s > 1]
            room -= len(line)
        offset += len(line) + 1
    return found
