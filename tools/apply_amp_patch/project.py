"""The other files of the caller's project, read only: the modules that a script imports from beside it."""

import ast
from functools import cache
from pathlib import Path

from .script import Script

_LARGEST_BYTES = 400_000
_MOST_FILES = 40


@cache
def _parse(path: Path, stamp: int) -> Script | None:
    del stamp
    try:
        return Script(path.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError, ValueError):
        return None


def imported_scripts(script: Script, path: Path | None) -> dict[Path, Script]:
    """The project files that a script imports, directly or through each other."""
    if path is None:
        return {}
    found: dict[Path, Script] = {}
    queue = [(script, path)]
    while queue and len(found) < _MOST_FILES:
        current, where = queue.pop(0)
        for target in _imports(current, where, path.parent):
            if target == path or target in found or target.stat().st_size > _LARGEST_BYTES:
                continue
            parsed = _parse(target, target.stat().st_mtime_ns)
            if parsed is not None:
                found[target] = parsed
                queue.append((parsed, target))
    return found


def _imports(script: Script, where: Path, top: Path) -> list[Path]:
    found: list[Path] = []
    for node in script.nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                found += _module(alias.name, [top, where.parent])
        elif isinstance(node, ast.ImportFrom):
            base = where.parent
            for _ in range(max(0, node.level - 1)):
                base = base.parent
            roots = [base] if node.level else [top, where.parent]
            found += _module(node.module or "", roots)
            for alias in node.names:
                found += _module(f"{node.module}.{alias.name}" if node.module else alias.name, roots)
    return list(dict.fromkeys(found))


def _module(dotted: str, roots: list[Path]) -> list[Path]:
    if not dotted:
        return []
    for root in roots:
        stem = root.joinpath(*dotted.split("."))
        for candidate in (stem.with_suffix(".py"), stem / "__init__.py"):
            if candidate.is_file():
                return [candidate]
    return []
