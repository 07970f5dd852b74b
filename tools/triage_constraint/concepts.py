"""The vocabulary of plain prompts (concepts.txt): which words carry which idea."""

import re
from functools import cache
from importlib.resources import files

# Scripts that do not put spaces between words.
_UNSPACED = re.compile(r"[\u2e80-\u9fff\uac00-\ud7af\uff00-\uffef]")


@cache
def concepts() -> dict[str, re.Pattern[str]]:
    """A pattern over lower-cased text for each concept."""
    text = (files(__package__) / "concepts.txt").read_text(encoding="utf-8")
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line.startswith("[") and line.endswith("]"):
            words = found[line[1:-1]] = []
        elif line and not line.startswith("#"):
            words.append(line)
    return {name: _pattern(words) for name, words in found.items()}


def spans(name: str, lowered: str) -> list[tuple[int, int]]:
    """Where a concept is named in lower-cased text."""
    return [match.span() for match in concepts()[name].finditer(lowered)]


def _pattern(words: list[str]) -> re.Pattern[str]:
    spaced = "|".join(word for word in words if not _UNSPACED.search(word))
    anywhere = "".join(f"|{word}" for word in words if _UNSPACED.search(word))
    # ASCII: a word ends before a Chinese character, which Unicode would count as a letter of it
    return re.compile(rf"(?<![a-zа-яё0-9])(?:{spaced}){anywhere}", re.ASCII)
