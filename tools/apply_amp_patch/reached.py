"""Which classes of the project's other files a script can make: those that code it may run mentions by name."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .lookups import Lookups, handed_on, is_kept, may_look_up
from .names import Function
from .once import once
from .script import Script

# What torch_geometric's MessagePassing runs by `self.propagate(...)`.
_PROPAGATED = ("message", "aggregate", "message_and_aggregate", "update", "edge_update")


class Reached:
    """What a script can make and run of the project's other files; everything, where names are made at run time.

    A name counts wherever it is spelt, so that more is reached than runs, never less.
    """

    def __init__(self, script: Script, project: dict[Path, Script]) -> None:
        scripts = [script, *project.values()]
        made = _Names(scripts, Lookups(project), set(), frozenset())
        self.everything = made.everything
        self._made = made.names
        self._at_work = made.names
        if not self.everything:  # what only __init__ calls is over before anything trains
            classes = {c.name for s in scripts for c in s.classes} & made.names
            self._at_work = _Names(scripts, Lookups(project), classes, frozenset({"__init__"})).names

    def mentions(self, node: ast.Call) -> bool:
        """Whether the name that a call calls is among what code that may run mentions."""
        last = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        return self.everything or last in self._made

    def makes(self, definition: ast.ClassDef | Function) -> bool:
        """Whether the script may make objects of a class, or run a function or method at any time."""
        return self.everything or definition.name in self._made or _called_unnamed(definition)

    def holds(self, definition: ast.ClassDef | Function) -> bool:
        """Whether the script may make objects of a class, or run a function or method in training."""
        names = self._made if isinstance(definition, ast.ClassDef) else self._at_work
        return self.everything or definition.name in names or _called_unnamed(definition)


class _Names:
    """The names that code mentions: the first script's, and that of the definitions whose names are mentioned."""

    def __init__(
        self, scripts: list[Script], lookups: Lookups, names: set[str], left_out: frozenset[str]
    ) -> None:
        self._defined: dict[str, list[tuple[Script, ast.AST]]] = {}
        self._lookups = lookups
        self._left_out = left_out
        self._methods: set[str] = set()  # of the classes that were read
        self.names = set(names)
        self._read(scripts[0], scripts[0].tree)
        for name in [f.name for c in scripts[0].classes for f in c.body if isinstance(f, Function)]:
            self.names.add(name)  # a trainer's own methods are called by whoever imports it
        for other in scripts[1:]:
            for statement in other.tree.body:
                self._open(other, statement)
        while not lookups.reach_all and (due := self._due()):
            for holder, node in [pair for name in due for pair in self._defined.pop(name)]:
                self._read(holder, node)  # a class adds methods, whose names may have been read before
        self.everything = lookups.reach_all or lookups.unpickle

    def _due(self) -> set[str]:
        """The names whose definitions may run and were not read yet."""
        self.names |= self._lookups.names
        if self._lookups.in_objects:
            self.names |= self._methods
        return self.names & set(self._defined)

    def _open(self, script: Script, node: ast.AST) -> None:
        """A definition waits until its name is read; what an import runs besides is read at once."""
        if isinstance(node, Function | ast.ClassDef) and not is_kept(node):
            self._defined.setdefault(node.name, []).append((script, node))
        elif name := _names_another(node):
            self._defined.setdefault(name, []).append((script, node))
        elif isinstance(node, ast.If | ast.Try):
            for inner in node.orelse if _tries_itself_out(node) else ast.iter_child_nodes(node):
                self._open(script, inner)
        elif not _lists_names(node):
            self._read(script, node)

    def _read(self, script: Script, node: ast.AST) -> None:
        mentioned = _mentioned(script, node, self._left_out)
        self.names |= mentioned.names
        for method in mentioned.methods:
            self._methods.add(method.name)
            self._defined.setdefault(method.name, []).append((script, method))
        self._lookups.read(script, mentioned.lookups, mentioned.handed)


@dataclass(frozen=True)
class _Mentioned:
    """What some code mentions, but in the methods of its classes, which wait until they are called."""

    names: set[str]
    methods: list[Function]
    lookups: list[ast.AST]
    handed: set[str]  # the dotted names of what is imported and handed on


@once
def _mentioned(script: Script, node: ast.AST, left_out: frozenset[str]) -> _Mentioned:
    waiting: dict[Function, None] = {}
    silent: set[ast.AST] = set()
    for inner in ast.walk(node):
        if isinstance(inner, ast.ClassDef):
            methods = [f for f in inner.body if isinstance(f, Function) and not is_kept(f)]
            waiting.update((f, None) for f in methods if not _called_unnamed(f))
            silent.update(f for f in methods if f.name in left_out)
    nodes = list(_without(node, waiting.keys() | silent))
    return _Mentioned(
        {name for n in nodes for name in _spelt(n)},
        list(waiting),
        [n for n in nodes if may_look_up(n)],
        {dotted for n in nodes if (dotted := handed_on(script, n))},
    )


def _called_unnamed(definition: ast.AST) -> bool:
    """What runs without being named: `__call__`, and what torch calls by itself."""
    name = getattr(definition, "name", "")
    return name in ("forward", "backward", "setup_context") or (name.startswith("__") and name.endswith("__"))


def _without(node: ast.AST, left_out: set[ast.AST]) -> Iterator[ast.AST]:
    """Every node but those inside of some."""
    queue = [node]
    while queue:
        inner = queue.pop()
        yield inner
        queue += [child for child in ast.iter_child_nodes(inner) if child not in left_out]


def _spelt(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Name():
            yield node.id
        case ast.Attribute():
            yield node.attr
            yield from _PROPAGATED if node.attr == "propagate" else ()
        case ast.keyword(arg=str() as name):
            yield name
        case ast.Constant(value=str() as text) if text.replace(".", "_").isidentifier():
            yield from text.split(".")
        case ast.Import() | ast.ImportFrom():
            yield from (a.name.split(".")[-1] for a in node.names if a.asname)
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            yield node.name


def _tries_itself_out(node: ast.AST) -> bool:
    """`if __name__ == "__main__":` runs where the file is started, not where it is imported."""
    match node:
        case ast.If(
            test=ast.Compare(
                left=ast.Name(id="__name__"), ops=[ast.Eq()], comparators=[ast.Constant(value=of)]
            )
        ):
            return bool(of == "__main__")
    return False


def _lists_names(node: ast.AST) -> bool:
    """`__all__ = [...]` says what a star imports."""
    return isinstance(node, ast.Assign | ast.AugAssign) and "__all__" in ast.unparse(node).split("=")[0]


def _names_another(node: ast.AST) -> str | None:
    """The name in `shake = ShakeShake.apply`, which runs nothing by itself."""
    match node:
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            return None if any(isinstance(n, ast.Call) for n in ast.walk(value)) else name
    return None
