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


def written_at(files: dict[str, Path]) -> dict[Path, int]:
    """When each of these files that is there was written."""
    return {path: path.stat().st_mtime_ns for path in files.values() if path.is_file()}


def read_files(files: dict[str, Path], before: dict[Path, int]) -> tuple[dict[str, float], list[str]]:
    """The last value of each metric that a file holds, and why another has none.

    A file that is as it was `before` the run holds an earlier run's figures.
    """
    values, notes, fresh = {}, [], written_at(files)
    for name, path in files.items():
        if fresh.get(path) == before.get(path):
            notes.append(f"metric {name!r}: this run did not write {path.name}")
            continue
        try:
            values[name] = _from_file(name, path)
        except (LookupError, OSError, TypeError, ValueError) as error:
            notes.append(f"metric {name!r}: not found in {path.name} ({error})")
    return values, notes


def unmatched(patterns: dict[str, str], series: dict[str, list[tuple[float, float]]]) -> list[str]:
    """A note for each pattern that found no number in the output."""
    return [
        f"metric {name!r}: no line of the output holds a number by {pattern}"
        for name, pattern in patterns.items()
        if name not in series
    ]


def _from_file(name: str, path: Path) -> float:
    """The value under `name` in a JSON object, in the last JSON line or CSV row that has it."""
    text = path.read_text(encoding="utf-8", errors="replace")
    if path.suffix == ".csv":
        rows: list[Any] = list(csv.DictReader(text.splitlines()))
    elif path.suffix == ".jsonl":
        rows = [json.loads(line) for line in text.splitlines() if line.strip()]
    else:
        rows = [json.loads(text)]
    having = [row[name] for row in rows if isinstance(row, dict) and row.get(name) not in (None, "")]
    if not having:
        raise LookupError("a JSON object or a CSV column of that name is wanted")
    return float(having[-1])
