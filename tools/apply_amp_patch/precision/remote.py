"""How a script reaches a function of another project file, so that a setting of the script can wrap it.

    import models.layers as amp_layers
    amp_layers.Backproject.forward = amp_float32(amp_layers.Backproject.forward)

A method is set on its class, which every user shares. A function is set in each module that calls it by its own name.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

from ..context import Context
from ..names import Function
from ..prelude import free_name, header_line
from ..project import resolved
from ..script import Script

_MOST_IMPORTS = 2000
Place = tuple[str, str]  # an import statement, and the expression that it makes possible


def places(context: Context, home: Script, function: Function) -> list[Place] | None:
    """The expressions under which a function runs; None where one cannot be named."""
    if function.decorator_list:
        return None
    holder = home.method_class(function)
    if holder is not None:
        made = class_place(context, home, holder)
        return [(made[0], f"{made[1]}.{function.name}")] if made else None
    if home.parents.get(function) is not home.tree:
        return None
    users = [s for s in [context.script, *context.project.values()] if _calls(s, function.name)]
    named = [module_place(context, user) for user in users]
    return [(n[0], f"{n[1]}.{function.name}") for n in named if n] if users and all(named) else None


def class_place(context: Context, home: Script, holder: ast.ClassDef) -> Place | None:
    """The expression for a class of another file."""
    named = module_place(context, home) if home.parents.get(holder) is home.tree else None
    return (named[0], f"{named[1]}.{holder.name}") if named else None


def module_place(context: Context, other: Script) -> Place | None:
    """An import of a project file that the script's own imports have loaded, under a name of ours."""
    names, loaded = _loaded(context).get(other, (set(), False))
    if len(names) != 1 or not loaded:  # by two names it is loaded twice
        return None
    (dotted,) = names
    above, _, last = dotted.rpartition(".")
    name = free_name(context.script, f"amp_{last}")
    if not dotted.startswith("*"):
        return f"import {dotted} as {name}", name
    dots, _, package = above.partition(".")
    return f"from {'.' * len(dots)}{package} import {last} as {name}", name


def _calls(script: Script, name: str) -> bool:
    """Whether a file calls a function by its bare name, and so has it in its own module."""
    return any(isinstance(n, ast.Name) and n.id == name for n in script.nodes)


def _loaded(context: Context) -> dict[Script, tuple[set[str], bool]]:
    """The dotted names by which something imports each project file, and whether it is loaded when the settings run.

    Stars in front stand for the dots of the script's own relative imports.
    """
    last = header_line(context.script)
    found: dict[Script, tuple[set[str], bool]] = {}
    above = [(n, True) for n in context.script.tree.body if n.lineno < last]
    below = [(n, False) for n in context.script.tree.body if n.lineno >= last]
    queue = list(_imports(context, [*above, *below], context.path, None))
    while queue and len(queue) < _MOST_IMPORTS:
        path, name, now = queue.pop(0)
        other = context.project.get(path)
        names, before = found.get(other, (set(), False)) if other is not None else (set(), False)
        if other is None or (name in names and (before or not now)):
            continue
        found[other] = {*names, name}, before or now
        queue += _imports(context, [(n, now) for n in other.tree.body], path, name)
    return found


def _imports(
    context: Context, statements: list[tuple[ast.stmt, bool]], path: Path | None, name: str | None
) -> Iterator[tuple[Path, str, bool]]:
    """What statements of a module import: a project file, its dotted name, and whether they do so when it is loaded.

    `name` is the module's own.
    """
    for statement, now in statements:
        now = now and not isinstance(statement, Function | ast.ClassDef)
        for node in (n for n in ast.walk(statement) if isinstance(n, ast.Import | ast.ImportFrom)):
            level = node.level if isinstance(node, ast.ImportFrom) else 0
            base = _package(name, path, level)
            for part in _modules(node):
                for target in resolved(part, level, path, context.root):
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
