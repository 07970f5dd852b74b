"""The vocabulary of plain prompts (concepts.txt): which words carry which idea."""

import re
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from .beginnings import beginnings

# Scripts that do not put spaces between words.
_UNSPACED = re.compile(r"[\u2e80-\u9fff\uac00-\ud7af\uff00-\uffef]")
_WORD_START = r"(?<![a-zа-яё0-9])"
_ANY_WORD = re.compile(_WORD_START + r"\S", re.ASCII)
_HEAD_CHARACTERS = 3
_DIGITS = frozenset("0123456789")


@dataclass(frozen=True)
class _Concept:
    """Its words as one pattern; `heads` are the beginnings of those that start at the start of a word."""

    pattern: re.Pattern[str]
    heads: frozenset[str]  # "" where one can begin with anything
    numeric: tuple[str, ...]  # words that can begin with a digit
    unspaced: bool  # has words that stand anywhere


@cache
def concepts() -> dict[str, _Concept]:
    """The concepts by their names."""
    text = (files(__package__) / "concepts.txt").read_text(encoding="utf-8")
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line.startswith("[") and line.endswith("]"):
            words = found[line[1:-1]] = []
        elif line and not line.startswith("#"):
            words.append(line)
    return {name: _concept(words) for name, words in found.items()}


# Traditional characters that stand in the vocabulary in their simplified form, one for one.
_SIMPLIFIED = str.maketrans(
    "沒顯訓練慢間為時運圖張數據樣過擬論預測試記憶體內資機單聯網開關費價錢買處優",
    "没显训练慢间为时运图张数据样过拟论预测试记忆体内资机单联网开关费价钱买处优",
)


def simplified(lowered: str) -> str:
    """Chinese text in the characters of the vocabulary; its length stays the same."""
    return lowered if lowered.isascii() else lowered.translate(_SIMPLIFIED)


def named_in(lowered: str) -> dict[str, list[int]]:
    """The concepts that lower-cased text names, each with the offsets at which it does."""
    unspaced = _UNSPACED.search(lowered) is not None
    candidates = _candidates(lowered)
    found = {}
    for name, concept in concepts().items():
        if "" in concept.heads or (unspaced and concept.unspaced):
            starts = [match.start() for match in concept.pattern.finditer(lowered)]
        else:
            starts = _matching(concept.pattern, lowered, candidates.get(name, []))
        if starts:
            found[name] = starts
    return found


def _candidates(lowered: str) -> dict[str, list[int]]:
    """For each concept the offsets at which a word starts as one of its own does: patterns are tried only there."""
    by_head = _by_head()
    starts: dict[str, list[int]] = defaultdict(list)
    found: dict[str, list[int]] = defaultdict(list)
    for match in _ANY_WORD.finditer(lowered):
        start = match.start()
        starts[lowered[start : start + _HEAD_CHARACTERS]].append(start)
    for beginning, places in starts.items():
        if beginning[0] in _DIGITS:  # most numbers of a log are followed by nothing that a concept asks for
            numeric = _numeric()
            places = [place for place in places if numeric.match(lowered, place)]
        for length in range(1, len(beginning) + 1):
            for name in by_head.get(beginning[:length], ()):
                found[name] += places
    return found


def _matching(pattern: re.Pattern[str], lowered: str, starts: list[int]) -> list[int]:
    """Those of the offsets at which the pattern matches, without overlaps."""
    found, end = [], 0
    for start in sorted(starts):
        if start >= end and (match := pattern.match(lowered, start)):
            found.append(start)
            end = match.end()
    return found


@cache
def _numeric() -> re.Pattern[str]:
    """Whatever a concept can find where a digit stands."""
    return re.compile("|".join(word for concept in concepts().values() for word in concept.numeric), re.ASCII)


@cache
def _by_head() -> dict[str, list[str]]:
    names = defaultdict(list)
    for name, concept in concepts().items():
        for head in concept.heads:
            names[head].append(name)
    return dict(names)


def _concept(words: list[str]) -> _Concept:
    spaced = [word for word in words if not _UNSPACED.search(word)]
    unspaced = [word for word in words if _UNSPACED.search(word)]
    # ASCII: a word ends before a Chinese character, which Unicode would count as a letter of it
    pattern = "|".join([f"{_WORD_START}(?:{'|'.join(spaced)})", *unspaced])
    heads = {word: beginnings(word, _HEAD_CHARACTERS) for word in spaced}
    numeric = tuple(word for word, found in heads.items() if any(head[:1] in _DIGITS for head in found))
    every = frozenset(head for found in heads.values() for head in found)
    return _Concept(re.compile(pattern, re.ASCII), every, numeric, bool(unspaced))
