"""Whether autocast may keep half copies of weights: older torch gave those made under no_grad no gradient later either.

https://github.com/pytorch/pytorch/issues/112583
"""

import ast

from ..context import Context
from ..names import Function
from ..script import Script

_NO_GRAD = {"torch.no_grad", "torch.inference_mode", "torch.set_grad_enabled"}


def runs_without_gradients(context: Context, nodes: list[ast.AST]) -> bool:
    """Whether layers run in a region without gradients, which may run with them there as well."""
    run = [(context.script, n) for n in nodes]
    calls = [n for n in nodes if isinstance(n, ast.Call)]
    run += [found for call in calls for found in context.run_elsewhere(call)]
    if any(_is_without(context, script, node) for script, node in run):
        return True
    run_here = {ast.unparse(c.func) for c in calls}
    return any(_may_run_it(context, call, run_here) for call in calls)


def _may_run_it(context: Context, call: ast.Call, run_here: set[str]) -> bool:
    """`guess(model, x)` beside `model(x)`: what is not at hand may run the model without gradients."""
    known = context.script.called(call) or context.roles.callees(call) or context.run_elsewhere(call)
    handed = [*call.args, *(k.value for k in call.keywords)]
    return not known and any(ast.unparse(a) in run_here for a in handed)


def forward_without_gradients(context: Context, script: Script, holder: ast.ClassDef) -> bool:
    """The same for the forward of a module in another file, and the methods that it calls there."""
    queue = [f for f in holder.body if isinstance(f, Function) and f.name == "forward"]
    seen: set[Function] = {*queue}
    while queue:
        for node in ast.walk(queue.pop()):
            if _is_without(context, script, node):
                return True
            callees = context.roles_of(script).callees(node) if isinstance(node, ast.Call) else []
            queue += [f for f in callees if f not in seen]
            seen.update(callees)
    return False


def _is_without(context: Context, script: Script, node: ast.AST) -> bool:
    """`with torch.no_grad():` around layers, or a call of a function under `@torch.no_grad()`."""
    if isinstance(node, ast.With) and any(turns_off(script, i.context_expr) for i in node.items):
        return _runs_layers(context, script, node.body)
    functions = context.roles_of(script).callees(node) if isinstance(node, ast.Call) else []
    return any(
        isinstance(f, Function)
        and any(turns_off(script, d) for d in f.decorator_list)
        and _runs_layers(context, script, f.body)
        for f in functions
    )


def turns_off(script: Script, node: ast.expr) -> bool:
    """`torch.no_grad()`, as a context or a decorator."""
    return script.qualified(node.func if isinstance(node, ast.Call) else node) in _NO_GRAD


def _runs_layers(context: Context, script: Script, body: list[ast.stmt]) -> bool:
    return any(map(context.flow_of(script).calls_model, body))
