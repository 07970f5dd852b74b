"""How a script reaches a function of another project file, so that a setting of the script can wrap it.

    import models.layers as amp_layers
    amp_layers.Backproject.forward = amp_float32(amp_layers.Backproject.forward)

A method is set on its class, which every user shares. A function is set in each module that has it by its own name.
What other code took a copy of when it was imported is left alone.
"""

import ast

from ..context import Context
from ..names import Function
from ..prelude import free_name
from ..project import parsed
from ..script import Script

_SETTINGS = {"float32", "device", "dtype", "enabled", "scaler"}  # names that the patch itself takes
Place = tuple[str, str]  # an import statement, and the expression that it makes possible


def places(context: Context, home: Script, function: Function) -> list[Place] | None:
    """The expressions under which a function runs; None where one cannot be named."""
    scripts = [context.script, *context.project.values()]
    if home not in scripts:  # what imports the script brings it along
        return None
    if function.decorator_list or any(_is_copied(s, function.name) for s in scripts):
        return None
    holder = home.method_class(function)
    if holder is not None:
        made = class_place(context, home, holder)
        return [(made[0], f"{made[1]}.{function.name}")] if made else None
    if home.parents.get(function) is not home.tree:
        return None
    users = [s for s in scripts if _has(s, function.name)]
    named = [module_place(context, user) for user in users]
    single = len(home.bindings(function.name, home.tree)) == 1
    return [(n[0], f"{n[1]}.{function.name}") for n in named if n] if single and all(named) else None


def class_place(context: Context, home: Script, holder: ast.ClassDef) -> Place | None:
    """The expression for a class of another file."""
    single = home.parents.get(holder) is home.tree and len(home.bindings(holder.name, home.tree)) == 1
    kept = all("register" in ast.unparse(d) for d in holder.decorator_list)
    named = module_place(context, home) if single and kept else None
    return (named[0], f"{named[1]}.{holder.name}") if named else None


def module_place(context: Context, other: Script) -> Place | None:
    """An import of a project file that the script's own imports have loaded, under a name of ours."""
    names, loaded = context.loaded.get(other, (set(), False))
    if len(names) != 1 or not loaded:  # by two names it is loaded twice
        return None
    (dotted,) = names
    above, _, last = dotted.rpartition(".")
    if _is_shadowed(context, other, last):
        return None
    name = free_name(context.script, _alias(context, dotted, last))
    if not dotted.startswith("*"):
        return f"import {dotted} as {name}", name
    dots, _, package = above.partition(".")
    return f"from {'.' * len(dots)}{package} import {last} as {name}", name


def _alias(context: Context, dotted: str, last: str) -> str:
    """`amp_layers`, and longer where two modules would share it or a setting has it."""
    same = [n for names, _ in context.loaded.values() for n in names if n.rpartition(".")[2] == last]
    if len(same) == 1 and last not in _SETTINGS:
        return f"amp_{last}"
    return f"amp_{dotted.strip('*.').replace('.', '_')}_module"


def _is_shadowed(context: Context, other: Script, last: str) -> bool:
    """`from .knn import knn` in a package: `package.knn` is the function then, not its module."""
    path = next(p for p, s in context.project.items() if s is other)
    package = parsed(path.parent / "__init__.py")
    if package is None or path.name == "__init__.py":
        return False
    bound = package.bindings(last, package.tree)
    defined = any(getattr(s, "name", "") == last for s in other.tree.body)
    whole = all(isinstance(b.node, ast.alias | ast.ImportFrom) and b.kind == "import" for b in bound)
    own = all(b.target.strip(".").rpartition(".")[2] == last and not _is_inner(b.target, last) for b in bound)
    return not (whole and own) or (bool(package.star_imports) and defined)


def _is_inner(target: str, last: str) -> bool:
    """`knn.knn`: something of the module that bears its name."""
    return target.strip(".").split(".")[-2:] == [last, last]


def _has(script: Script, name: str) -> bool:
    """Whether a file has a function in its own module, under its own name."""
    if script.bindings(name, script.tree):
        return True
    return bool(script.star_imports) and any(isinstance(n, ast.Name) and n.id == name for n in script.nodes)


def _is_copied(script: Script, name: str) -> bool:
    """Whether a file that is imported takes what is called so into something else: an alias, a table, a partial."""
    called = {c.func for c in script.calls}
    for node in script.nodes:
        if isinstance(node, ast.ImportFrom) and any(a.name == name and a.asname for a in node.names):
            return True
        named = (isinstance(node, ast.Name) and node.id == name) or (
            isinstance(node, ast.Attribute) and node.attr == name
        )
        read = named and isinstance(node.ctx, ast.Load) and node not in called  # type: ignore[attr-defined]
        if read and runs_at_import(script, node):
            return True
    return False


def runs_at_import(script: Script, node: ast.AST) -> bool:
    """Whether a node stands outside of every function, or in a default value or decorator."""
    below = node
    for above in script.ancestors(node):
        if (
            isinstance(above, Function | ast.Lambda)
            and below is not above.args
            and below not in _decorators(above)
        ):
            return False
        below = above
    return True


def _decorators(function: ast.AST) -> list[ast.expr]:
    return getattr(function, "decorator_list", [])


def import_line(context: Context, name: str) -> int:
    """The line of the script that imports a file, or where its imports begin."""
    stem = name.removesuffix(".py")
    for node in context.script.nodes:
        if isinstance(node, ast.Import | ast.ImportFrom):
            parts = [a.name for a in node.names] + (
                [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            )
            if any(stem in part.split(".") for part in parts):
                return node.lineno
    return next((n.lineno for n in context.script.nodes if isinstance(n, ast.Import | ast.ImportFrom)), 1)
