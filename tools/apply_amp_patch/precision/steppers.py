"""What has a `step` and is taken for no optimizer, as the report says: nothing clears gradients that it would step on.

A scaler has to unscale before whatever steps on gradients. Something of unknown make that steps beside known optimizers
is a schedule of the learning rate if it was made of such an optimizer, or handed in beside it, and everything in the
file that clears gradients clears those of optimizers that step there: another optimizer would step on the sum of all
gradients since the start, and a wrapper of the same one would step twice on each. What the files around that import
this one hand in tells more, where it can be followed.
"""

import ast

from ..context import Context
from ..names import Function, last_name
from ..origins import Origin
from ..project import importing_scripts
from ..script import Script


def is_schedule(context: Context, owner: ast.expr) -> bool:
    """Whether what steps is no optimizer, by what it comes from and by what clears gradients."""
    origins = [o for o in context.roles.origins(owner) if not (o.kind == "constant" and o.name == "None")]
    handed = {kind for o in origins for kind in _handed_in(context, o)}
    if not origins or "optimizer" in handed:
        return False
    if handed == {"scheduler"} and all(o.kind == "parameter" for o in origins):
        return True
    return _all_cleared_step(context) and all(_is_beside(context, o) for o in origins)


def _handed_in(context: Context, origin: Origin) -> set[str]:
    """What the files that import this one hand in for a parameter: optimizer, scheduler, or unknown."""
    script, argument = context.script, origin.node
    if not isinstance(argument, ast.arg):
        return set()
    function = script.parents[script.parents[argument]]
    if not isinstance(function, Function):
        return set()
    holder = script.method_class(function)
    name = holder.name if holder is not None and function.name == "__init__" else function.name
    kinds: set[str] = set()
    for other in importing_scripts(context.path, context.root).values():
        roles = context.roles_of(other)
        for call in (c for c in other.calls if last_name(c) == name):
            value = context.roles.argument(call, function, argument.arg)
            kinds.add(roles.stepper(value) if value is not None else "unknown")
    return kinds - {"nothing"}


def _all_cleared_step(context: Context) -> bool:
    """Whether all that clears gradients is `zero_grad` of optimizers that step in this file."""
    script, steps = context.script, context.training.step_paths
    cleared = {ast.unparse(c.func.value) for c in script.method_calls("zero_grad")}  # type: ignore[attr-defined]
    if not cleared or not cleared <= steps or any(_sets_gradient(script, n) for n in script.nodes):
        return False
    return not any(
        last_name(node) == "zero_grad" or _sets_gradient(home, node)
        for call in script.calls
        for home, node in context.run_elsewhere(call)
    )


def _sets_gradient(script: Script, node: ast.AST) -> bool:
    """`p.grad = None`, `p.grad.zero_()`, `p.grad.data.zero_()`."""
    if not (isinstance(node, ast.Attribute) and node.attr == "grad"):
        return False
    above = script.parents.get(node)
    while isinstance(above, ast.Attribute):
        if above.attr in ("zero_", "fill_"):
            return True
        above = script.parents.get(above)
    return not isinstance(node.ctx, ast.Load)


def _is_beside(context: Context, origin: Origin) -> bool:
    """A parameter of a function that is handed an optimizer too, or what a call makes of one."""
    node = origin.node
    if origin.kind == "parameter" and isinstance(node, ast.arg):
        function = context.script.parents[context.script.parents[node]]
        return isinstance(function, Function) and any(
            a.arg != node.arg and _steps(context, a.arg, function) for a in _arguments(function)
        )
    if origin.kind in ("call", "unknown") and isinstance(node, ast.Call):
        given = [*node.args, *(k.value for k in node.keywords)]
        return any(ast.unparse(a) in context.training.step_paths or _makes_steps(context, a) for a in given)
    return False


def _arguments(function: Function) -> list[ast.arg]:
    return [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]


def _steps(context: Context, name: str, function: Function) -> bool:
    """Whether a parameter is, under its own name or an attribute's, an optimizer that steps in this file."""
    for step in context.training.steps:
        for origin in context.roles.origins(step.optimizer):
            node = origin.node
            if isinstance(node, ast.arg) and node.arg == name and node in _arguments(function):
                return True
    return False


def _makes_steps(context: Context, node: ast.expr) -> bool:
    """Whether an expression is an optimizer that steps in this file, by another name."""
    made = {o.node for o in context.roles.origins(node) if isinstance(o.node, ast.Call | ast.arg)}
    return any(
        o.node in made for step in context.training.steps for o in context.roles.origins(step.optimizer)
    )
