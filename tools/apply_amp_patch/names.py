"""How names get their values: the bindings that each node of a tree makes, and the scopes that hold them."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

CELL_LINE = re.compile(
    r"^# ---- cell (\d+) ----$", re.MULTILINE
)  # how a notebook's cells are parted in the text
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Binding:
    """One way a name gets its value. `index` is the position in an unpacked value, None for the whole."""

    kind: str  # import, star, function, class, assign, parameter, loop, with, other
    node: ast.AST
    value: ast.expr | None = None
    target: str = ""  # the dotted path of an import
    index: int | None = None

    @property
    def is_none(self) -> bool:
        """Whether it only says that there is no such thing."""
        return self.kind == "assign" and isinstance(self.value, ast.Constant) and self.value.value is None


@dataclass
class Scope:
    node: ast.AST
    parent: "Scope | None"
    names: dict[str, list[Binding]] = field(default_factory=dict)

    def add(self, name: str, binding: Binding) -> None:
        self.names.setdefault(name, []).append(binding)


def bindings_of(node: ast.AST) -> Iterator[tuple[str, Binding]]:
    """The names that one node binds."""
    match node:
        case ast.Import():
            for alias in node.names:
                target = alias.name if alias.asname else alias.name.split(".")[0]
                yield alias.asname or target, Binding("import", node, target=target)
        case ast.ImportFrom():
            module = "." * node.level + (node.module or "")
            for alias in node.names:
                joined = f"{module}{'' if module.endswith('.') else '.'}{alias.name}"
                if alias.name == "*":
                    yield "*", Binding("star", node, target=module)
                else:
                    yield alias.asname or alias.name, Binding("import", node, target=joined)
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            yield node.name, Binding("function", node)
            yield from _parameters(node)
        case ast.Lambda():
            yield from _parameters(node)
        case ast.ClassDef():
            yield node.name, Binding("class", node)
        case ast.Assign():
            for assigned in node.targets:
                yield from _targets(assigned, node.value, node, "assign")
        case ast.AnnAssign() if node.value is not None:
            yield from _targets(node.target, node.value, node, "assign")
        case ast.NamedExpr():
            yield from _targets(node.target, node.value, node, "assign")
        case ast.AugAssign():
            yield from _targets(node.target, node.value, node, "other")
        case ast.For() | ast.AsyncFor() | ast.comprehension():
            yield from _targets(node.target, node.iter, node, "loop")
        case ast.withitem() if node.optional_vars is not None:
            yield from _targets(node.optional_vars, node.context_expr, node, "with")
        case ast.ExceptHandler() if node.name:
            yield node.name, Binding("other", node)


def _parameters(function: Function | ast.Lambda) -> Iterator[tuple[str, Binding]]:
    arguments = function.args
    for argument in [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]:
        yield argument.arg, Binding("parameter", argument)
    for extra in (arguments.vararg, arguments.kwarg):
        if extra is not None:
            yield extra.arg, Binding("other", extra)


def _targets(
    target: ast.expr, value: ast.expr, node: ast.AST, kind: str, index: int | None = None
) -> Iterator[tuple[str, Binding]]:
    if isinstance(target, ast.Name):
        yield target.id, Binding(kind, node, value, index=index)
    elif isinstance(target, ast.Starred):
        yield from _targets(target.value, value, node, "other")
    elif isinstance(target, ast.Tuple | ast.List):
        for place, element in enumerate(target.elts):
            whole = isinstance(value, ast.Tuple | ast.List) and len(value.elts) == len(target.elts)
            if whole and kind == "assign" and index is None:
                yield from _targets(element, value.elts[place], node, kind)  # type: ignore[attr-defined]
            else:
                yield from _targets(element, value, node, kind, place)


def last_name(call: ast.AST) -> str:
    """The last part of the name that a call calls; nothing for what is no call by a name."""
    if not isinstance(call, ast.Call):
        return ""
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def default_of(arguments: ast.AST | None, parameter: ast.AST) -> ast.expr | None:
    """What a parameter is where a call leaves it out."""
    if not isinstance(arguments, ast.arguments):
        return None
    names = [*arguments.posonlyargs, *arguments.args]
    pairs = [*zip(reversed(names), reversed(arguments.defaults), strict=False)]
    keywords = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    pairs += [(name, value) for name, value in keywords if value is not None]
    return next((value for name, value in pairs if name is parameter), None)
