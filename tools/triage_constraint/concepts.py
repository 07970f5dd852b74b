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


# Traditional characters that stand in the vocabulary in their simplified form, one for one.
_SIMPLIFIED = str.maketrans(
    "沒顯訓練慢間為時運圖張數據樣過擬論預測試記憶體內資機單聯網開關費價錢買處優",
    "没显训练慢间为时运图张数据样过拟论预测试记忆体内资机单联网开关费价钱买处优",
)


def simplified(lowered: str) -> str:
    """Chinese text in the characters of the vocabulary; its length stays the same."""
    return lowered.translate(_SIMPLIFIED)


def spans(name: str, lowered: str) -> list[tuple[int, int]]:
    """Where a concept is named in lower-cased text."""
    return [match.span() for match in concepts()[name].finditer(lowered)]


def _pattern(words: list[str]) -> re.Pattern[str]:
    spaced = "|".join(word for word in words if not _UNSPACED.search(word))
    anywhere = "".join(f"|{word}" for word in words if _UNSPACED.search(word))
    # ASCII: a word ends before a Chinese character, which Unicode would count as a letter of it
    return re.compile(rf"(?<![a-zа-яё0-9])(?:{spaced}){anywhere}", re.ASCII)
