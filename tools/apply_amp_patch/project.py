"""The other files of the caller's project, read only: the modules that a script imports from beside it."""

import ast
import os
import re
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from pathlib import Path

from . import modules
from .modules import absolute, module_of, names_of, package_of, start_folders, starts_within
from .once import once
from .script import Script

_LARGEST_BYTES = 400_000
_MOST_FILES = 100
_MOST_KEPT = 512  # parsed files, of all projects
_MOST_NEARBY = 3_000  # files looked at for one that imports the script
_CLASS = re.compile(r"\w+\.(\w+\.)*[A-Z]\w*")  # "models.layers.Net", which some function imports by that name


def look_again() -> None:
    """Forget where modules were found: files may have come and gone since."""
    importing_scripts.cache_clear()
    modules.look_again()


@lru_cache(_MOST_KEPT)
def _parse(path: Path, stamp: int) -> Script | None:
    del stamp
    try:
        return Script(path.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError, ValueError):
        return None


def parsed(path: Path) -> Script | None:
    """A file of the project; None where there is none, or none that can be read."""
    fits = path.is_file() and path.stat().st_size <= _LARGEST_BYTES
    return _parse(path, path.stat().st_mtime_ns) if fits else None


def imported_scripts(script: Script, path: Path | None, root: Path | None) -> dict[Path, Script]:
    """The project files that a script imports, directly or through each other; none outside of `root`."""
    if path is None:
        return {}
    tops = starts_within(path, root)
    found: dict[Path, Script] = {}
    queue = [(script, path)]
    while queue and len(found) < _MOST_FILES:
        current, where = queue.pop(0)
        named = named_folders(on_path(current), [where.parent, *tops], root)
        more = [f for f in named if f not in tops]
        if more and current is not script:  # what an imported file puts on sys.path serves the others too
            queue = [(script, path), *((s, p) for p, s in found.items())]
        tops += more
        for target in _imports(current, where, tops, root):
            if target == path or target in found or target.stat().st_size > _LARGEST_BYTES:
                continue
            parsed = _parse(target, target.stat().st_mtime_ns)
            if parsed is not None:
                found[target] = parsed
                queue.append((parsed, target))
    return found


@cache
def importing_scripts(path: Path | None, root: Path | None) -> dict[Path, Script]:
    """The files around a script that import it by its name, and so may hand it a model."""
    if path is None:
        return {}
    # what lies beside its repository is others' work
    repository = next((p for p in path.parents if (p / ".git").exists()), None)
    inside = [p for p in (root, repository) if p is not None]
    tops = [p for p in start_folders(path) if all(p.is_relative_to(limit) for limit in inside)]
    stem, package = re.escape(path.stem), re.escape(path.parent.name)
    names = re.compile(rf"^\s*(from|import)\b.*\b({stem}|{package})\b", re.MULTILINE)
    # a folder without it holds only what is named
    named = re.compile("" if (path.parent / "__init__.py").is_file() else rf"\b{stem}\b")
    found: dict[Path, Script] = {}
    for other in _nearby(max(tops, key=lambda p: -len(p.parts), default=path.parent)):
        if other == path or other.stat().st_size > _LARGEST_BYTES:
            continue
        text = other.read_text(encoding="utf-8", errors="replace")
        if names.search(text) and named.search(text):
            parsed = _parse(other, other.stat().st_mtime_ns)
            if parsed is not None and _leads_to(parsed, other, path, root):
                found[other] = parsed
    return found


def _leads_to(script: Script, where: Path, path: Path, root: Path | None) -> bool:
    """Whether a file imports another, itself or through its package; one that sys.path leads to counts by its name."""
    tops = [where.parent, *starts_within(where, root)]
    direct = _imports(script, where, tops, root)
    if path in direct or (
        path.parent / "__init__.py" in direct and _package_leads_to(script, where, path, root)
    ):
        return True
    ends = path.with_suffix("").parts
    dotted = [a.name for n in script.nodes if isinstance(n, ast.Import) for a in n.names]
    for node in (n for n in script.nodes if isinstance(n, ast.ImportFrom) and not n.level):
        dotted += [node.module or "", *(f"{node.module}.{a.name}" for a in node.names)]
    named = [name for name in dotted if tuple(name.split(".")) == ends[-len(name.split(".")) :]]
    return any(not absolute(name, where, tops, root) for name in named)


def _package_leads_to(script: Script, where: Path, path: Path, root: Path | None) -> bool:
    """Whether a file that imports a package may run a module of it: it is read, or named where one imports."""
    read = imported_scripts(script, where, root)
    word = re.compile(rf"(^\s*(from|import)\b.*\b|\.){re.escape(path.stem)}\b", re.MULTILINE)
    return (
        path in read or len(read) >= _MOST_FILES or any(word.search(s.text) for s in [script, *read.values()])
    )


def _nearby(top: Path) -> Iterator[Path]:
    """The Python files below a folder, but those of installed packages and hidden folders."""
    seen = 0
    for folder, folders, files in os.walk(top):
        folders[:] = [
            f for f in folders if not f.startswith(".") and f not in ("site-packages", "node_modules")
        ]
        for name in files:
            seen += 1
            if seen > _MOST_NEARBY:
                return
            if name.endswith(".py"):
                yield Path(folder) / name


def _imports(script: Script, where: Path, tops: list[Path], root: Path | None) -> list[Path]:
    found: list[Path] = []
    tops = [*tops, *named_folders(on_path(script), [where.parent, *tops], root)]
    for node in _importing(script):
        if isinstance(node, ast.Import):
            for alias in node.names:
                found += absolute(alias.name, where, tops, root)
        elif isinstance(node, ast.ImportFrom):
            for name in names_of(node):
                if node.level:
                    found += module_of(name, [package_of(where, node.level)])
                else:
                    found += absolute(name, where, tops, root)
        else:
            found += absolute(str(getattr(node, "value", "")).rpartition(".")[0], where, tops, root)
    return list(dict.fromkeys([*found, *_chosen_late(script, where, tops, root)]))


@once
def _importing(script: Script) -> list[ast.AST]:
    """What imports a module: the statements, and texts that name a class."""
    return [
        n
        for n in script.nodes
        if isinstance(n, ast.Import | ast.ImportFrom)
        or (isinstance(n, ast.Constant) and isinstance(n.value, str) and _CLASS.fullmatch(n.value))
    ]


def _chosen_late(script: Script, where: Path, tops: list[Path], root: Path | None) -> list[Path]:
    """What `import_module(args.model)` may import: a module that the call names, those of folders that it or sys.path
    names, or, where nothing does, those beside the file."""
    late = [
        call
        for call in script.calls
        if call.args and script.called(call) in ("importlib.import_module", "builtins.__import__")
    ]
    if not late:
        return []
    named = (a for call in late for a in call.args[:1] if isinstance(a, ast.Name))
    values = [b.value for name in named for b in script.bindings(name.id, name) if b.value is not None]
    texts = [text for node in [*late, *values] for text in _strings(node)]
    found = [path for text in texts for path in absolute(text, where, tops, root)]
    if all(isinstance(call.args[0], ast.Constant) for call in late):
        return found
    folders = named_folders([*late, *values, *on_path(script)], [where.parent, *tops], root)
    folders = folders if folders or found else [where.parent]
    return [*found, *(path for folder in folders for path in sorted(folder.glob("*.py")))]


@once
def on_path(script: Script) -> list[ast.AST]:
    """What names the folders put on sys.path: the calls, or the whole file where a call has them from elsewhere."""
    calls = [c for c in script.calls if script.called(c) in ("sys.path.append", "sys.path.insert")]
    return [c if _strings(c) else script.tree for c in calls]


def _strings(node: ast.AST) -> list[str]:
    return [n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)]


def named_folders(nodes: Sequence[ast.AST], roots: list[Path], limit: Path | None) -> list[Path]:
    """The folders that some strings name, such as `sys.path.append(here + "/lib")`; `..` is above the first root."""
    texts = [text for node in dict.fromkeys(nodes) for text in _strings(node) if " " not in text]
    words = {word for text in texts for word in re.split(r"[./\\]", text) if word}
    above = max((len(re.findall(r"\.\.(?=/|$)", text)) for text in texts), default=0)
    upper = [p for p in roots[0].parents[:above] if limit is None or p.is_relative_to(limit)]
    named = (root / word for root in [*roots, *upper] for word in sorted(words))
    return list(dict.fromkeys([*(folder for folder in named if folder.is_dir()), *upper]))
