"""What a short request is about by its words alone, where no error was raised: a linear classifier, not a rule.

Multinomial logistic regression over words, pairs of words and four letters inside words, each weighed by how rare it
is. benchmarks/triage_words.py learned weights.txt from benchmarks/triage_requests.tsv. Its chances are turned into
points, so that a rule that read more of the text can outweigh them.
"""

import math
import re
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from .clues import STRONG, Clue
from .prose import Prose

POINTS = 10.0  # of a certain reading; two sentences that fire a rule weigh about as much
READ_CHARACTERS = 400
ZERO, LEVELS = ord("P"), 40  # weights.txt writes -40 to 40 as one character each
_PHRASE = 150  # characters; the words of a longer text count for less, its sentences say more
_LEAST_CHANCE = 0.35  # below it nothing is known
_SHOWN_WORDS = 3
_TOKEN = re.compile(
    r"[a-zà-öø-ÿ\u0100-\u024f]+|[а-яё]+|\d+(?:[.,]\d+)?|[\u3040-\u30ff\u2e80-\u9fff\uac00-\ud7af]"
)


def read_words(prose: Prose, clues: list[Clue]) -> list[Clue]:
    """A clue for each constraint that the words make likely, strongest first; none beside a raised error."""
    if any(clue.source != "prose" and clue.points >= STRONG for clue in clues):
        return []
    text = " ".join(sentence for _, sentence in prose.sentences)[:READ_CHARACTERS]
    reading = _Reading(text)
    if not reading.chances or (not clues and max(reading.chances.values()) < _LEAST_CHANCE):
        return []
    weight = POINTS * min(1.0, _PHRASE / max(prose.characters, 1))
    ranked = sorted(reading.chances.items(), key=lambda item: -item[1])
    return [_clue(name, weight * chance, reading, prose) for name, chance in ranked if weight * chance >= 0.5]


def _clue(name: str, points: float, reading: "_Reading", prose: Prose) -> Clue:
    words = reading.words_for(name)
    start = next((s + text.index(w) for w in words for s, text in prose.sentences if w in text), 0)
    shows = f"its words are those of such requests ({', '.join(words)}): learned, not a rule"
    return Clue(name, None, points, start, start + 1, shows, source="words")


def features(lowered: str) -> dict[str, list[str]]:
    """Each feature of a text with the words it stems from: words, pairs, and ':' with four letters of a word."""
    tokens = _TOKEN.findall(lowered)
    plain = ["#" if token[0].isdigit() else token for token in tokens]
    found: dict[str, list[str]] = {}
    for word, token in zip(plain, tokens, strict=True):
        found.setdefault(word, []).append(token)
        framed = f"^{word}$"
        for start in range(len(framed) - 3 if len(word) > 1 else 0):
            found.setdefault(f":{framed[start : start + 4]}", []).append(token)
    for first, second, *near in zip(plain, plain[1:], tokens, tokens[1:], strict=False):
        found.setdefault(f"{first} {second}", []).extend(near)
    return found


class _Reading:
    """The chances of the constraints for one text, and which words made them."""

    def __init__(self, lowered: str) -> None:
        table = _table()
        found = features(lowered)
        self._words = {feature: words for feature, words in found.items() if feature in table.rows}
        rows = {feature: table.rows[feature].split("\t") for feature in self._words}
        size = math.sqrt(sum(float(rarity) ** 2 for rarity, _ in rows.values())) or 1.0
        # what each feature adds to the log odds of each constraint
        self._parts = {
            feature: [float(rarity) / size * table.unit * (ord(c) - ZERO) for c in own]
            for feature, (rarity, own) in rows.items()
        }
        sums = [b + sum(part[k] for part in self._parts.values()) for k, b in enumerate(table.bias)]
        odds = [math.exp(s - max(sums)) for s in sums]
        self._names = table.names
        self.chances = {n: o / sum(odds) for n, o in zip(table.names, odds, strict=True)} if rows else {}

    def words_for(self, name: str) -> list[str]:
        """The words that speak most for it."""
        at, shares = self._names.index(name), defaultdict[str, float](float)
        for feature, words in self._words.items():
            for word in set(words):
                shares[word] += self._parts[feature][at] / len(set(words))
        ranked = sorted(shares, key=lambda word: -shares[word])[:_SHOWN_WORDS]
        return [word for word in ranked if shares[word] > 0]


@dataclass(frozen=True)
class _Table:
    """weights.txt: the constraints, the log odds of each without any word, and a row for each feature."""

    names: list[str]
    bias: list[float]
    unit: float
    rows: dict[str, str]  # rarity, tab, a character for each constraint; read when needed


@cache
def _table() -> _Table:
    text = (files(__package__) / "weights.txt").read_text(encoding="utf-8")
    names, bias, unit, *rows = [line for line in text.splitlines() if not line.startswith("//")]
    return _Table(
        names.split("\t")[1:],
        [float(value) for value in bias.split("\t")[1:]],
        float(unit.split("\t")[1]),
        dict(row.split("\t", 1) for row in rows),
    )
