"""autograd.Functions: code with a backward of its own, which autocast does not reach into."""

import ast

from ..names import Function
from ..roles import Roles
from ..script import Script


def custom_functions(roles: Roles, users: list[Script]) -> list[ast.ClassDef]:
    """The autograd.Functions of a script that some code uses and that do not say yet how they take autocast."""
    found = []
    for holder in roles.script.classes:
        if not any(
            n.startswith("torch.autograd.") and n.endswith("Function") for n in roles.base_names(holder)
        ):
            continue
        inside = set(ast.walk(holder))
        used = any(
            (isinstance(n, ast.Name) and n.id == holder.name and n not in inside)
            or (isinstance(n, ast.Attribute) and n.attr == holder.name)
            for user in users
            for n in user.nodes
        )
        cast = any(isinstance(n, ast.Name | ast.Attribute) and "custom_fwd" in ast.unparse(n) for n in inside)
        if used and not cast:
            found.append(holder)
    return found


def directions(holder: ast.ClassDef) -> tuple[Function | None, Function | None]:
    """The static forward(ctx, ...) and backward(ctx, ...) of a function; None for what is written otherwise."""
    static = {
        f.name: f
        for f in holder.body
        if isinstance(f, Function) and [ast.unparse(d) for d in f.decorator_list] == ["staticmethod"]
    }
    if any(isinstance(f, Function) and f.name in ("setup_context", "vmap", "jvp") for f in holder.body):
        return None, None
    return static.get("forward"), static.get("backward")


def is_legacy(holder: ast.ClassDef) -> bool:
    """Whether forward takes `self`: no torch that has `torch.autocast` differentiates such a Function, it raises."""
    return any(isinstance(f, Function) and f.name == "forward" and not f.decorator_list for f in holder.body)
