"""How a script reaches a function of another project file, so that a setting of the script can wrap it.

    import models.layers as amp_layers
    amp_layers.Backproject.forward = amp_float32(amp_layers.Backproject.forward)

A method is set on its class, which every user shares. A function is set in each module that calls it by its own name.
"""

import ast
from collections.abc import Iterator

from ..context import Context
from ..names import Function
from ..prelude import free_name, header_line
from ..project import resolved
from ..script import Script


def places(context: Context, home: Script, function: Function) -> list[tuple[str, str]] | None:
    """For each name under which a function runs: an import statement and the expression; None where one is unknown."""
    if function.decorator_list:
        return None
    holder = home.method_class(function)
    if holder is None:
        return _of_function(context, home, function)
    if home.parents.get(holder) is not home.tree or _is_own_gradient(home, holder):
        return None
    named = _module(context, home) or next(_through(context, home, holder.name), None)
    return [(named[0], f"{named[1]}.{holder.name}.{function.name}")] if named else None


def _of_function(context: Context, home: Script, function: Function) -> list[tuple[str, str]] | None:
    if home.parents.get(function) is not home.tree:
        return None
    found: list[tuple[str, str]] = []
    for other in [context.script, *context.project.values()]:
        if not _mentions(other, function):
            continue
        if other is not home and _qualifies(other, function.name):
            continue  # `layers.knn(x)` reads it from its module
        named = _module(context, other)
        if named is None:
            return None
        found.append((named[0], f"{named[1]}.{function.name}"))
    return found or None


def _mentions(script: Script, function: Function) -> bool:
    loads = (n for n in script.nodes if isinstance(n, ast.Name | ast.Attribute))
    return any(getattr(n, "id", getattr(n, "attr", "")) == function.name for n in loads)


def _qualifies(script: Script, name: str) -> bool:
    return not any(isinstance(n, ast.Name) and n.id == name for n in script.nodes) and not any(
        isinstance(n, ast.ImportFrom) and any(a.name in (name, "*") for a in n.names) for n in script.nodes
    )


def _is_own_gradient(home: Script, holder: ast.ClassDef) -> bool:
    return any((home.qualified(base) or "").startswith("torch.autograd") for base in holder.bases)


def _module(context: Context, other: Script) -> tuple[str, str] | None:
    """An import statement for a project file that the script imports itself, and the name it then has."""
    last = header_line(context.script)
    for statement in context.script.tree.body:
        if statement.lineno >= last or not isinstance(statement, ast.Import | ast.ImportFrom):
            continue
        level = statement.level if isinstance(statement, ast.ImportFrom) else 0
        for dotted, text in _imported_modules(statement):
            paths = resolved(dotted, level, context.path, context.root)
            if any(context.project.get(path) is other for path in paths):
                if not _is_one_module(context, other, dotted, level):
                    return None
                name = free_name(context.script, f"amp_{dotted.split('.')[-1]}")
                return text.format(name=name), name
    return None


def _imported_modules(statement: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, str]]:
    """The modules that an import statement may name, with an import of each under a name of ours."""
    if isinstance(statement, ast.Import):
        for alias in statement.names:
            yield alias.name, f"import {alias.name} as {{name}}"
        return
    dots, module = "." * statement.level, statement.module or ""
    for alias in statement.names:
        yield f"{module}.{alias.name}".lstrip("."), f"from {dots}{module} import {alias.name} as {{name}}"
    if module:
        above, _, last = module.rpartition(".")
        text = f"from {dots}{above} import {last}" if dots or above else f"import {module}"
        yield module, f"{text} as {{name}}"


def _is_one_module(context: Context, other: Script, dotted: str, level: int) -> bool:
    """Whether nothing imports the file by another name, which would make a second copy of what it holds."""
    for path, script in context.project.items():
        for statement in (n for n in script.nodes if isinstance(n, ast.Import | ast.ImportFrom)):
            up = statement.level if isinstance(statement, ast.ImportFrom) else 0
            for name, _ in _imported_modules(statement):
                if not any(context.project.get(p) is other for p in resolved(name, up, path, context.root)):
                    continue
                if (not up and not level and name != dotted) or (up and not level and "." not in dotted):
                    return False
    return True


def _through(context: Context, home: Script, name: str) -> Iterator[tuple[str, str]]:
    """A module that the script imports and that imports the class from its home."""
    for other in context.project.values():
        bindings = other.bindings(name, other.tree)
        if other is home or not bindings or not all(b.kind == "import" for b in bindings):
            continue
        found = context.class_elsewhere(bindings[0].target)
        if found is not None and found[0] is home and (named := _module(context, other)):
            yield named
