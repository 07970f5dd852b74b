"""Quality figures of a run: found in its output by pattern, or read from a file that it wrote."""

import csv
import json
import re
from pathlib import Path
from typing import Any

from .._core.errors import ToolError

_SUFFIXES = {".json", ".jsonl", ".csv"}
_KEPT = 50
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
                f"The pattern of metric {name!r} is no regular expression",
                saw=f"{pattern}: {error}",
                try_next=r"acc: ([\d.]+)",
            ) from error
    return patterns, files


def series_found(found: dict[str, list[tuple[float, str]]]) -> dict[str, list[tuple[float, float]]]:
    """The numbers that each pattern found, with their times, thinned to at most 50; the last one always stays."""
    series = {}
    for name, texts in found.items():
        numbers = [(round(at, 3), float(m.group())) for at, text in texts if (m := _NUMBER.search(text))]
        if numbers:
            every = -(-len(numbers) // _KEPT)
            series[name] = numbers[::-every][::-1]
    return series


def read_files(files: dict[str, Path]) -> dict[str, float]:
    """The last value of each metric that a file holds; one that it does not hold is left out."""
    values = {name: _from_file(name, path) for name, path in files.items() if path.is_file()}
    return {name: value for name, value in values.items() if value is not None}


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
            f"Metric {name!r} cannot be read",
            saw=f"{path.name}: {error}",
            try_next="a JSON object or CSV column of that name",
        ) from error
