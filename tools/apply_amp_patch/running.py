"""What a function of another file of the project runs, or the method of a class there."""

import ast

from .names import last_name
from .reached import Reached
from .script import Script


def nodes_run(script: Script, name: str, method: str, makers: list[Reached] | None) -> list[ast.AST]:
    """The nodes that a function, or the method of a class, runs: its own and those of functions of its file.

    Methods of classes that nobody makes are none of them.
    """
    holders = _classes(script, {name})
    queue = _begun(script, name, method, holders)
    seen: dict[ast.AST, None] = {}
    nodes: list[ast.AST] = []
    while queue:
        function = queue.pop()
        if function in seen:
            continue
        seen[function] = None
        inside = list(ast.walk(function))
        nodes += inside
        called = {last_name(n) for n in inside if isinstance(n, ast.Call)}
        called.update(*(_given(script, n.value) for n in inside if isinstance(n, ast.Return)))
        queue += _called_objects(script, called)
        for found in (f for f in script.functions if f.name in called):
            holder = script.method_class(found)
            own = holder is None or holder in holders or makers is None
            if own or any(reached.holds(holder) for reached in makers or ()):  # type: ignore[arg-type]
                queue.append(found)
    return nodes


def _begun(script: Script, name: str, method: str, holders: list[ast.ClassDef]) -> list[ast.AST]:
    """The functions that a name or the method of a class stands for; with `()` what the function gives, not itself."""
    if method == "()":
        returned = [
            n.value
            for f in script.functions
            if f.name == name
            for n in ast.walk(f)
            if isinstance(n, ast.Return)
        ]
        named = {last_name(value) for value in returned if value is not None}
        names = named = named.union(*(_given(script, value) for value in returned))
    elif method:
        own = [f for f in script.functions if f.name == method and script.method_class(f) in holders]
        return [*own, *_called_objects(script, _named_by(script, name))]
    else:
        named = _named_by(script, name)
        names = {name} | named
    plain = [f for f in script.functions if script.method_class(f) is None]
    return [*(f for f in plain if f.name in names or _fits(f, name)), *_called_objects(script, named)]


def _classes(script: Script, names: set[str]) -> list[ast.ClassDef]:
    """The classes of some names, and those of the file that they derive from."""
    found = [c for c in script.classes if c.name in names]
    for holder in found:
        found += [c for c in script.classes if c.name in map(ast.unparse, holder.bases) and c not in found]
    return found


def _called_objects(script: Script, names: set[str]) -> list[ast.AST]:
    """What runs where an object of one of some classes is called, such as a loss that is no module."""
    made = _classes(script, names)
    return [f for f in script.functions if f.name == "__call__" and script.method_class(f) in made]


def _fits(function: ast.AST, name: str) -> bool:
    """Whether `getattr(losses, name)`, here `*`, may be a function; `*given` gives something back."""
    gives = (n for n in ast.walk(function) if isinstance(n, ast.Return) and n.value)
    return name == "*" or (name == "*given" and (isinstance(function, ast.Lambda) or any(gives)))


def _given(script: Script, value: ast.expr | None) -> set[str]:
    """What `return near` and `return LOSSES[name]` may give."""
    table = value.value if isinstance(value, ast.Subscript) else value
    return {table.id} | _named_by(script, table.id) if isinstance(table, ast.Name) else set()


def _named_by(script: Script, name: str) -> set[str]:
    """What `near = knn`, `near = partial(knn, k=4)` and `near = torch.jit.script(knn)` name."""
    values = [
        b.value for b in script.bindings(name, script.tree) if b.kind == "assign" and b.value is not None
    ]
    return {n.id for value in values for n in ast.walk(value) if isinstance(n, ast.Name)}
