"""What plain sentences speak for: rules over the ideas that stand together in one sentence or one text."""

import re

from .clues import STRONG, Clue
from .concepts import concepts, simplified, spans
from .rules import RULES, Rule

PROSE_LIMIT = 4000  # characters of prose that are read: people state their problem early
_SENTENCE_END = re.compile(r"[.!?](?=\s)|[。！？]")
_SHORT = 150  # characters in which a job need not be described
_TITLE_FACTOR = 1.5  # the first line of an issue or a mail is its summary
_MACHINE_LINE = re.compile(
    r"^\s*(?:file \"|at \S+\(|\^+\s*$|\[?\d{4}-\d\d-\d\d|\[?\d\d:\d\d|[ \t]*\d+%\||#\d+ 0x|frame #|"
    r"(?:import|from) \w|\s{8,}\S|[|+=*_~-]{6,}|\[bt\])"
)


def read_prose(text: str, raised: list[Clue]) -> list[Clue]:
    """The clues that the sentences of a text give; lines that machines wrote are left out.

    `raised` are the messages found already: a sentence that quotes one is not counted a second time as prose.
    """
    quoted = [clue for clue in raised if clue.points >= STRONG]
    sentences = _sentences(simplified(text[: 4 * PROSE_LIMIT].lower()))
    prose = "\n".join(sentence for _, sentence in sentences)
    named = {name: spans(name, prose) for name in concepts()}
    everywhere = {name for name, found in named.items() if found}
    clues: dict[Rule, Clue] = {}
    position = 0
    for start, sentence in sentences:
        end = position + len(sentence)
        here = {name for name in everywhere if any(position <= s < end for s, _ in named[name])}
        position = end + 1
        if not here or any(clue.start < start + len(sentence) and start < clue.end for clue in quoted):
            continue
        factor = _TITLE_FACTOR if start == 0 else 1.0
        for rule in RULES:
            if rule.scope == "sentence" and _fires(rule, here):
                _keep(clues, rule, rule.points * factor, start, start + len(sentence))
    for rule in RULES:
        if rule.scope == "text" and _fires(rule, everywhere):
            first = _original(min(named[name][0][0] for name in rule.needs.split()), sentences)
            _keep(clues, rule, rule.points, first, first + 1)
    return _ours(list(clues.values()), everywhere, len(prose))


def about_another_program(text: str) -> bool:
    """Whether a text names other kinds of programs and no word of machine learning."""
    prose = "\n".join(sentence for _, sentence in _sentences(simplified(text[: 4 * PROSE_LIMIT].lower())))
    return bool(spans("nonml", prose)) and not any(spans(name, prose) for name in ("ml", "gpu", "train"))


def _ours(found: list[Clue], everywhere: set[str], characters: int) -> list[Clue]:
    """The clues; where no word of machine learning falls, slowness is taken for ours only in a short cry for help."""
    if everywhere & {"ml", "gpu", "train"}:
        return found
    foreign: tuple[str, ...] = ()
    if everywhere & {"nonml", "service"}:
        foreign = (
            "compute_time",
            "inference_latency",
            "gpu_memory",
            "host_memory",
            "disk",
            "edge",
            "network",
        )
    elif characters > _SHORT:
        foreign = ("compute_time", "inference_latency")
    return [clue.of_another_program() if clue.constraint in foreign else clue for clue in found]


def _fires(rule: Rule, concepts: set[str]) -> bool:
    return concepts.issuperset(rule.needs.split()) and concepts.isdisjoint(rule.without.split())


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


def _original(position: int, sentences: list[tuple[int, str]]) -> int:
    """Where a position of the joined sentences stands in the text."""
    for start, sentence in sentences:
        if position <= len(sentence):
            return start + position
        position -= len(sentence) + 1
    return 0
