"""Imports of the project that lead to no file, so that what they bring was not looked at."""

import ast
from pathlib import Path

from .modules import absolute, folders_above, module_of, names_of, package_of, starts_within
from .project import named_folders, on_path
from .script import Script


def lost_imports(script: Script, path: Path | None, root: Path | None) -> list[tuple[int, str]]:
    """Imports of a script that name its project, by dots or by a folder of it, and lead to no file: lines, and modules.

    A name that nothing of the project has may be an installed package; what a `try` imports may be missing.
    """
    if path is None:
        return []
    tops = starts_within(path, root)
    tops += named_folders(on_path(script), [path.parent, *tops], root)
    found: list[tuple[int, str]] = []
    for node in script.nodes:
        guarded = isinstance(node, ast.stmt) and any(isinstance(a, ast.Try) for a in script.ancestors(node))
        if guarded or not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        if isinstance(node, ast.Import):
            found += [(node.lineno, a.name) for a in node.names if _is_lost([a.name], path, tops, root)]
        elif node.level:
            folder = package_of(path, node.level)
            if not _is_beside(node, folder) and (root is None or folder.is_relative_to(root)):
                found.append((node.lineno, "." * node.level + (node.module or node.names[0].name)))
        elif _is_lost(names_of(node), path, tops, root):
            found.append((node.lineno, node.module or ""))
    return found


def _is_beside(node: ast.ImportFrom, folder: Path) -> bool:
    """Whether a relative import finds a module, or the package itself, of which it may take anything."""
    names = [name for name in names_of(node) if name] + ["__init__"] * (not node.module)
    return any(module_of(name, [folder]) or _exists(name, [folder]) for name in names)


def _is_lost(names: list[str], path: Path, tops: list[Path], root: Path | None) -> bool:
    """Whether none of some modules is there, but what their names begin with: a folder with code, or a file.

    `torch.nn` in a folder that is called torch is not meant: a folder around the file has to be a package.
    """
    first, _, rest = names[0].partition(".")
    if not rest or any(absolute(name, path, tops, root) or _exists(name, tops) for name in names):
        return False
    if (path.parent / f"{first}.py").is_file():
        return True
    around = [p for p in folders_above(path.parent)[0] if p.name == first and (p / "__init__.py").is_file()]
    inside = (f for f in [*around, *(top / first for top in tops)] if root is None or f.is_relative_to(root))
    return any(next(f.glob("*.py"), None) is not None for f in inside if f not in path.parents or f in around)


def _exists(dotted: str, roots: list[Path]) -> bool:
    """Whether a module is there in any form: Python, compiled, or still to be built."""
    *above, last = dotted.split(".")
    return bool(last) and any(next(root.joinpath(*above).glob(f"{last}.*"), None) for root in roots)
