"""By which names a script's imports load the other files of its project."""

import ast
from collections.abc import Iterator
from pathlib import Path

from .modules import resolved
from .names import Function
from .prelude import header_line
from .script import Script

_MOST_IMPORTS = 2000
Loaded = dict[Script, tuple[set[str], bool]]


def loaded_names(script: Script, path: Path | None, root: Path | None, project: dict[Path, Script]) -> Loaded:
    """The dotted names by which something imports each project file, and whether it is loaded when the settings run.

    Stars in front stand for the dots of the script's own relative imports.
    """
    last = header_line(script)
    found: Loaded = {}
    above = [(n, True) for n in script.tree.body if n.lineno < last]
    below = [(n, False) for n in script.tree.body if n.lineno >= last]
    queue = list(_imports([*above, *below], path, None, (path, root)))
    while queue and len(queue) < _MOST_IMPORTS:
        at, name, now = queue.pop(0)
        other = project.get(at)
        names, before = found.get(other, (set(), False)) if other is not None else (set(), False)
        if other is None or (name in names and (before or not now)):
            continue
        found[other] = {*names, name}, before or now
        queue += _imports([(n, now) for n in other.tree.body], at, name, (path, root))
    return found


def _imports(
    statements: list[tuple[ast.stmt, bool]],
    path: Path | None,
    name: str | None,
    start: tuple[Path | None, Path | None],
) -> Iterator[tuple[Path, str, bool]]:
    """What statements of a module import: a project file, its dotted name, and whether they do so when it is loaded.

    `name` is the module's own; `start` the script's path, whose folder is on sys.path, and the root of what is read.
    """
    script_path, root = start
    for statement, now in statements:
        now = now and not isinstance(statement, Function | ast.ClassDef | ast.If | ast.Try)
        for node in (n for n in ast.walk(statement) if isinstance(n, ast.Import | ast.ImportFrom)):
            level = node.level if isinstance(node, ast.ImportFrom) else 0
            base = _package(name, path, level)
            for part in _modules(node):
                begin = (
                    path if level else script_path
                )  # a module's own folder is on no path, unless the script's is
                for target in resolved(part, level, begin, root) or resolved(part, level, path, root):
                    yield target, f"{base}.{part}" if base else part, now


def _modules(node: ast.Import | ast.ImportFrom) -> set[str]:
    """The dotted names of the modules that an import may load, the packages around them among them."""
    module = (node.module or "") if isinstance(node, ast.ImportFrom) else ""
    whole = {f"{module}.{alias.name}".strip(".*") for alias in node.names}
    return {".".join(name.split(".")[: n + 1]) for name in whole for n in range(name.count(".") + 1)} - {""}


def _package(name: str | None, path: Path | None, level: int) -> str:
    """The package that a relative import starts from."""
    if not level:
        return ""
    if name is None:
        return "*" * level
    up = level - (path is not None and path.name == "__init__.py")
    for _ in range(up):
        name = name.rpartition(".")[0]
    return name
