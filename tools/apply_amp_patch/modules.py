"""Where the file of a dotted name lies: from a script's own folder, its packages' root or its repository's."""

import ast
from functools import cache
from pathlib import Path

_MOST_LEVELS = 5  # how far up a repository's root is looked for
_ROOT = (".git", "pyproject.toml")
_ROOT_OF_COPY = (
    "setup.py",
    "requirements.txt",
    "README.md",
    "README.rst",
    "README",
    "LICENSE",
    "LICENSE.txt",
)


def look_again() -> None:
    """Forget where modules were found: files may have come and gone since."""
    for kept in (_found, start_folders, folders_above):
        kept.cache_clear()


@cache
def start_folders(path: Path) -> list[Path]:
    """The folders that a script's absolute imports may start from: its own, its packages' root, its repository's.

    Those between its own and the repository's count too: scripts put their `src` or `lib` into sys.path. A copy
    without `.git` shows its root by what lies there.
    """
    folder = path.parent
    found = [folder]
    while (folder / "__init__.py").is_file() and folder.parent != folder:
        folder = folder.parent
        found.append(folder)
    above, rooted = folders_above(path.parent)
    return list(dict.fromkeys([*found, *above])) if rooted else found


@cache
def folders_above(folder: Path) -> tuple[list[Path], bool]:
    """A folder and those above it, up to a repository's root; and whether anything shows where that is."""
    near = [folder, *folder.parents][:_MOST_LEVELS]
    for signs in (_ROOT, _ROOT_OF_COPY):
        marked = [i for i, p in enumerate(near) if any((p / sign).exists() for sign in signs)]
        if marked:
            return near[: marked[-1] + 1], True
    return near, False


def names_of(node: ast.ImportFrom) -> list[str]:
    """The modules that `from a import b` may load: a, and a.b."""
    return [node.module or "", *(f"{node.module}.{a.name}" if node.module else a.name for a in node.names)]


def starts_within(path: Path, root: Path | None) -> list[Path]:
    """Those of the folders that a script's imports may start from that lie in `root`."""
    return [p for p in start_folders(path) if root is None or p.is_relative_to(root)]


def resolved(dotted: str, level: int, path: Path | None, root: Path | None) -> list[Path]:
    """The project file that a script at `path` imports by a dotted name, `level` dots in front of it."""
    if path is None:
        return []
    if level:
        return module_of(dotted, [package_of(path, level)])
    return absolute(dotted, path, starts_within(path, root), root)


def package_of(path: Path, level: int) -> Path:
    """The folder that a relative import starts from."""
    return path.parents[min(level, len(path.parents)) - 1]


def absolute(dotted: str, where: Path, tops: list[Path], root: Path | None) -> list[Path]:
    """The file that an absolute import in the file `where` loads.

    `from project.net import Net` in project/train.py is run from beside `project`, and what it means lies in it.
    """
    if found := module_of(dotted, [where.parent, *tops]):
        return found
    first, _, rest = dotted.partition(".")
    named = [folder for folder in folders_above(where.parent)[0] if folder.name == first]
    return [p for p in module_of(rest or "__init__", named) if root is None or p.is_relative_to(root)]


def module_of(dotted: str, roots: list[Path]) -> list[Path]:
    """The file of a module below the first of some folders that has it."""
    return [found] if dotted and (found := _found(dotted, tuple(roots))) else []


@cache
def _found(dotted: str, roots: tuple[Path, ...]) -> Path | None:
    for root in roots:
        stem = root.joinpath(*dotted.split("."))
        for candidate in (stem.with_suffix(".py"), stem / "__init__.py"):
            if candidate.is_file():
                return candidate
    return None
