"""Loops in a forward pass that run as often as its input is long: compiled, each length is unrolled anew."""

import ast

from .context import Context
from .models import class_of
from .names import Function
from .script import Script

_PARTS = ("split", "unbind", "chunk", "tensor_split")


def unrolled(context: Context, made: ast.stmt) -> tuple[int, str, str] | None:
    """Line, code and note of such a loop in the model that a statement makes."""
    for home, holder in _classes(context, made):
        for function in holder.body:
            if not isinstance(function, Function) or function.name == "__init__":
                continue
            for loop in ast.walk(function):
                if isinstance(loop, ast.While) or (
                    isinstance(loop, ast.For) and _by_input(home, function, loop)
                ):
                    line = loop.lineno if home is context.script else made.lineno
                    note = f"{holder.name}.{function.name} loops over its input, and each length is compiled anew"
                    return line, "loop_in_forward", note
    return None


def _classes(context: Context, made: ast.stmt) -> list[tuple[Script, ast.ClassDef]]:
    """The module classes that a statement names, and those that they name in their file."""
    script = context.script
    found: dict[ast.ClassDef, Script] = {}
    queue: list[tuple[Script, ast.AST]] = [(script, made)]
    while queue:
        home, node = queue.pop()
        for inner in ast.walk(node):
            if not isinstance(inner, ast.Name):
                continue
            bound = [b.node for b in home.bindings(inner.id, inner)]
            near = [(home, n) for n in bound if isinstance(n, ast.ClassDef)]
            far = class_of(context, home.qualified(inner) or "") if home is script else None
            for where, holder in [*near, *([far] if far else [])]:
                if holder not in found and context.roles_of(where).is_module_class(holder):
                    found[holder] = where
                    queue.append((where, holder))
    return [(home, holder) for holder, home in found.items()]


def _by_input(home: Script, function: ast.FunctionDef | ast.AsyncFunctionDef, loop: ast.For) -> bool:
    """`range(x.size(1))`, `for t in range(length)` with `length = x.shape[0]`, `for part in x.split(1)`."""
    call = loop.iter
    while isinstance(call, ast.Call) and home.called(call) in (
        "builtins.enumerate",
        "builtins.reversed",
        "builtins.zip",
    ):
        if not call.args:
            return False
        call = call.args[0]
    if isinstance(call, ast.Name):  # `for x in inputs`, of a tensor that is given
        return any(b.kind == "parameter" for b in home.bindings(call.id, call))
    if not isinstance(call, ast.Call):
        return False
    if home.called(call) == "builtins.range":
        return any(_is_size(home, n) for a in call.args for n in ast.walk(a))
    return isinstance(call.func, ast.Attribute) and call.func.attr in _PARTS


def _is_size(home: Script, node: ast.AST, depth: int = 0) -> bool:
    if isinstance(node, ast.Attribute):
        return node.attr == "shape" or (node.attr == "size" and isinstance(home.parents[node], ast.Call))
    if not isinstance(node, ast.Name) or depth > 2:
        return False
    values = [b.value for b in home.bindings(node.id, node) if b.kind == "assign" and b.value is not None]
    return any(_is_size(home, n, depth + 1) for v in values for n in ast.walk(v))
