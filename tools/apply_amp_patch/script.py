"""A parsed Python file: its text by node, its parents and blocks, and names resolved through their bindings.

Built on `ast` rather than libcst: one libcst analysis (positions, scopes, parents) of 20,000 lines takes 17 s on one
core, this one under 2 s, and a patch needs several. Edits are spans of the text (edits.py), so every byte that no
edit names stays what it was.
"""

import ast
import builtins
import re
from bisect import bisect_right
from collections.abc import Iterator
from functools import cached_property

from .._core.syntax import parse
from .names import CELL_LINE, Binding, Function, Scope, bindings_of

Loop = ast.For | ast.AsyncFor | ast.While
_SCOPES = (ast.Module, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_DEFINITIONS, _BINDINGS = 20, 60  # of one name at module level: following more takes the square of the time
_BUILTINS = frozenset(dir(builtins))
# An unbound name of these spellings can only come from outside, as through a star import: then it is what it says.
_UNBOUND = {
    "torch": "torch",
    "nn": "torch.nn",
    "F": "torch.nn.functional",
    "optim": "torch.optim",
    "np": "numpy",
}


class Script:
    """One file. Raises SyntaxError where it is none of this Python's syntax."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tree = parse(text)
        self.line_starts = [0, *(m.end() for m in re.finditer(r"\r\n|\n|\r", text))]
        self.parents: dict[ast.AST, ast.AST] = {}
        self.nodes: list[ast.AST] = []
        self._scopes: dict[ast.AST, Scope] = {}
        self._named: dict[tuple[int, int], str | None] = {}
        self.known: dict[object, object] = {}  # see once.py
        self._link()
        self._bind()

    def offset(self, line: int, byte_column: int) -> int:
        """The character offset of a line (from 1) and a column in UTF-8 bytes, as ast counts them."""
        start = self.line_starts[line - 1]
        piece = self.text[start : start + byte_column]
        if piece.isascii():
            return start + byte_column
        whole = self.text[start : self.line_starts[line] if line < len(self.line_starts) else None]
        return start + len(whole.encode("utf-8")[:byte_column].decode("utf-8"))

    def start(self, node: ast.AST) -> int:
        return self.offset(node.lineno, node.col_offset)  # type: ignore[attr-defined]

    def end(self, node: ast.AST) -> int:
        return self.offset(node.end_lineno, node.end_col_offset)  # type: ignore[attr-defined]

    def rest_of_line(self, offset: int) -> str:
        """What stands behind a character in its line."""
        line = bisect_right(self.line_starts, offset)
        stop = self.line_starts[line] if line < len(self.line_starts) else len(self.text)
        return self.text[offset:stop].rstrip("\r\n")

    def code(self, node: ast.AST) -> str:
        """The node's own text."""
        return self.text[self.start(node) : self.end(node)]

    def indentation(self, line: int) -> str:
        start = self.line_starts[line - 1]
        match = re.compile(r"[ \t\f]*").match(self.text, start)
        return match.group().replace("\f", "") if match else ""  # a form feed ends a page once

    @cached_property
    def indent_unit(self) -> str:
        """One level of indentation, as most blocks of the file have it."""
        found: dict[str, int] = {}
        for node in self.nodes:
            body = getattr(node, "body", None)
            if not (isinstance(node, ast.stmt) and isinstance(body, list) and body):
                continue
            outer, inner = self.indentation(node.lineno), self.indentation(body[0].lineno)
            if body[0].lineno > node.lineno and inner.startswith(outer) and len(inner) > len(outer):
                found[inner[len(outer) :]] = found.get(inner[len(outer) :], 0) + 1
        return max(found, key=lambda unit: found[unit]) if found else "    "

    def cells(self, first: ast.stmt, last: ast.stmt) -> bool:
        """Whether a notebook's cells part two statements, so that no block can hold both."""
        return any(first.lineno < mark < last.lineno for mark in self._marks)

    @cached_property
    def _marks(self) -> list[int]:
        return [self.text.count("\n", 0, m.start()) + 1 for m in CELL_LINE.finditer(self.text)]

    def _link(self) -> None:
        stack: list[ast.AST] = [self.tree]
        while stack:
            node = stack.pop()
            self.nodes.append(node)
            children = list(ast.iter_child_nodes(node))
            for child in children:
                self.parents[child] = node
            stack.extend(reversed(children))

    def ancestors(self, node: ast.AST) -> Iterator[ast.AST]:
        while node in self.parents:
            node = self.parents[node]
            yield node

    def statement(self, node: ast.AST) -> ast.stmt:
        """The innermost statement that holds the node (itself when it is one)."""
        while not isinstance(node, ast.stmt):
            node = self.parents[node]
        return node

    def block(self, statement: ast.stmt) -> list[ast.stmt]:
        """The list of statements that this one stands in."""
        parent = self.parents[statement]
        for name in ("body", "orelse", "finalbody", "handlers"):
            block = getattr(parent, name, None)
            if isinstance(block, list) and statement in block:
                return block
        return [statement]

    def outer(self, statement: ast.stmt) -> ast.stmt | None:
        """The compound statement around this one inside the same function; None at the function's own level."""
        parent = self.parents[statement]
        while isinstance(parent, ast.ExceptHandler | ast.match_case):
            parent = self.parents[parent]
        if isinstance(parent, _SCOPES) or not isinstance(parent, ast.stmt):
            return None
        return parent

    def function(self, node: ast.AST) -> Function | None:
        """The function that directly holds the node; None at module or class level."""
        for above in self.ancestors(node):
            if isinstance(above, _FUNCTIONS):
                return above
            if isinstance(above, ast.ClassDef):
                return None
        return None

    def method_class(self, function: ast.AST) -> ast.ClassDef | None:
        """The class a function is a method of."""
        parent = self.parents.get(function)
        return parent if isinstance(parent, ast.ClassDef) else None

    def loop(self, node: ast.AST) -> Loop | None:
        """The innermost loop around the node inside its function."""
        below = node
        for above in self.ancestors(node):
            if isinstance(above, Loop) and below not in above.orelse:
                return above
            if isinstance(above, _SCOPES):
                return None
            below = above
        return None

    @cached_property
    def calls(self) -> list[ast.Call]:
        """Every call, in the order of the text."""
        return [node for node in self.nodes if isinstance(node, ast.Call)]

    @cached_property
    def functions(self) -> list[Function]:
        return [node for node in self.nodes if isinstance(node, _FUNCTIONS)]

    @cached_property
    def classes(self) -> list[ast.ClassDef]:
        return [node for node in self.nodes if isinstance(node, ast.ClassDef)]

    def method_calls(self, name: str) -> list[ast.Call]:
        """Calls `something.name(...)`."""
        return self._method_calls.get(name, [])

    @cached_property
    def _method_calls(self) -> dict[str, list[ast.Call]]:
        found: dict[str, list[ast.Call]] = {}
        for call in self.calls:
            if isinstance(call.func, ast.Attribute):
                found.setdefault(call.func.attr, []).append(call)
        return found

    @cached_property
    def spelled(self) -> frozenset[str]:
        """Every identifier that the file uses for a name, a parameter or an attribute."""
        found = {n.id for n in self.nodes if isinstance(n, ast.Name)}
        found |= {n.arg for n in self.nodes if isinstance(n, ast.arg)}
        found |= {n.attr for n in self.nodes if isinstance(n, ast.Attribute)}
        for scope in self._scopes.values():
            found |= set(scope.names)
        return frozenset(found)

    def _bind(self) -> None:
        for node in self.nodes:
            if isinstance(node, _SCOPES):
                self._scopes[node] = Scope(node, self._scope_above(node))
        outward: dict[tuple[ast.AST, str], Scope] = {}
        for node in self.nodes:
            if isinstance(node, ast.Global | ast.Nonlocal):
                scope = self.scope(node)
                for name in node.names:
                    home = self._scopes[self.tree] if isinstance(node, ast.Global) else scope.parent
                    outward[(scope.node, name)] = home or self._scopes[self.tree]
        for node in self.nodes:
            for name, binding in bindings_of(node):
                scope = self._scopes[node] if binding.kind == "parameter" else self.scope(node)
                scope = outward.get((scope.node, name), scope)
                stands_in = binding.kind == "class" and isinstance(self.parents[node], ast.ExceptHandler)
                if not (stands_in and any(b.kind == "import" for b in scope.names.get(name, []))):
                    scope.add(name, binding)

    def _scope_above(self, node: ast.AST) -> Scope | None:
        return next((self._scopes[a] for a in self.ancestors(node) if a in self._scopes), None)

    def scope(self, node: ast.AST) -> Scope:
        """The scope in which a name used at this node is looked up first."""
        above = self._scope_above(node)
        return above if above is not None else self._scopes[self.tree]

    def bindings(self, name: str, at: ast.AST) -> list[Binding]:
        """Every binding of the name in the scope that Python would read it from."""
        scope: Scope | None = self.scope(at)
        first = True
        while scope is not None:
            if name in scope.names and (first or not isinstance(scope.node, ast.ClassDef)):
                return scope.names[name]
            scope, first = scope.parent, False
        return []

    @cached_property
    def star_imports(self) -> list[str]:
        return [b.target for b in self.held.get("*", [])]

    @property
    def held(self) -> dict[str, list[Binding]]:
        """What the module itself holds, by its names."""
        return self._scopes[self.tree].names

    def qualified(self, node: ast.AST, depth: int = 0) -> str | None:
        """The dotted path that an expression names through its imports: `torch.optim.Adam`; None if it is no such."""
        if isinstance(node, ast.Attribute):
            owner = self.qualified(node.value, depth)
            return f"{owner}.{node.attr}" if owner else None
        if not isinstance(node, ast.Name) or depth > 4:
            return None
        bindings = self.bindings(node.id, node)
        if not bindings:
            if node.id in _BUILTINS:
                return f"builtins.{node.id}"
            if node.id in _UNBOUND:
                return _UNBOUND[node.id]
            return f"{self.star_imports[0]}.{node.id}" if len(self.star_imports) == 1 else None
        known = (id(bindings), depth)  # the same list for every use of a name in its scope
        if known not in self._named:
            self._named[known] = self._bound_to(bindings, depth)
        return self._named[known]

    def _bound_to(self, bindings: list[Binding], depth: int) -> str | None:
        """The dotted path that a name with these bindings stands for."""
        found = [b for b in bindings if not b.is_none] or bindings  # `amp = None` where its import failed
        if all(b.kind == "import" for b in found):
            return found[0].target
        values = [b.value for b in found if b.kind == "assign" and b.index is None]
        if len(values) == len(found) == 1 and isinstance(values[0], ast.Name | ast.Attribute):
            return self.qualified(values[0], depth + 1)
        return None

    def called(self, call: ast.AST) -> str | None:
        """The dotted path of what a call calls."""
        return self.qualified(call.func) if isinstance(call, ast.Call) else None

    def torch_name(self) -> str | None:
        """The name under which module level binds torch itself."""
        for name, found in self.held.items():
            if any(b.kind == "import" and b.target == "torch" for b in found):
                return name
        return None

    def rebound(self, modules: tuple[str, ...]) -> tuple[str, int] | None:
        """The first name both imported from one of the modules and bound otherwise in its scope, and the line."""
        for scope in self._scopes.values():
            for name, found in scope.names.items():
                others = [b for b in found if b.kind != "import" and not b.is_none]
                imported = any(
                    b.target in modules or b.target.rpartition(".")[0] in modules[1:] for b in found
                )
                if others and imported:
                    return name, self.statement(others[0].node).lineno
        return None

    def bound_often(self) -> tuple[str, int] | None:
        """A name with more definitions at module level than can be followed, and the line of the first one too many."""
        for name, found in self.held.items():
            defined = [b for b in found if b.kind in ("function", "class")]
            for bindings, most in ((defined, _DEFINITIONS), (found, _BINDINGS)):
                if len(bindings) > most:
                    return name, self.statement(bindings[most].node).lineno
        return None
