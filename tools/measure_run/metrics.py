"""Quality figures of a run: found in its output by pattern, or read from a file that it wrote."""

import csv
import json
import re
from pathlib import Path
from typing import Any

from .._core.errors import ToolError

_SUFFIXES = {".json", ".jsonl", ".csv"}
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")


def split_metrics(metrics: dict[str, str], folder: Path) -> tuple[dict[str, str], dict[str, Path]]:
    """Patterns and files apart: a name ending in .json, .jsonl or .csv without a group is a file."""
    files = {n: folder / m for n, m in metrics.items() if Path(m).suffix in _SUFFIXES and "(" not in m}
    patterns = {name: metric for name, metric in metrics.items() if name not in files}
    for name, pattern in patterns.items():
        try:
            re.compile(pattern)
        except re.error as error:
            raise ToolError(
                f"The pattern of metric {name!r} is no regular expression", saw=f"{pattern}: {error}", try_next=r"acc: ([\d.]+)"
            ) from error
    return patterns, files


def values_of(found: dict[str, list[str]], files: dict[str, Path], folder: Path) -> dict[str, float]:
    """The last value of each metric; one that was never seen is left out."""
    values = {}
    for name, texts in found.items():
        numbers = [match.group() for text in texts if (match := _NUMBER.search(text))]
        if numbers:
            values[name] = float(numbers[-1])
    for name, path in files.items():
        number = _from_file(name, path) if path.is_file() else None
        if number is not None:
            values[name] = number
    return values


def _from_file(name: str, path: Path) -> float | None:
    """The value under `name` in a JSON object, in the last JSON line or CSV row that has it."""
    text = path.read_text(encoding="utf-8", errors="replace")
    try:
        if path.suffix == ".csv":
            rows: list[Any] = list(csv.DictReader(text.splitlines()))
        elif path.suffix == ".jsonl":
            rows = [json.loads(line) for line in text.splitlines() if line.strip()]
        else:
            rows = [json.loads(text)]
        having = [row[name] for row in rows if isinstance(row, dict) and row.get(name) not in (None, "")]
        return float(having[-1]) if having else None
    except (ValueError, TypeError) as error:
        raise ToolError(
            f"Metric {name!r} cannot be read", saw=f"{path.name}: {error}", try_next="a JSON object or CSV column of that name"
        ) from error
