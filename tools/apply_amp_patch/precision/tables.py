"""Functions out of tables, of which a layer calls whatever it was handed: all that stand in tables count as called.

AGGREGATORS = {"std": aggregate_std}          torch.cat([aggregate(h) for aggregate in self.aggregators])
"""

import ast

from ..context import Context
from ..names import Function
from ..once import once
from ..script import Script


def picked(context: Context, script: Script, call: ast.Call) -> list[tuple[Script, Function]]:
    """The functions that a call may run which takes one after the other of what its object was handed."""
    if not _calls_each(script, call):
        return []
    scripts = [context.script, *context.project.values()]
    return [(s, f) for s in scripts for f in _displayed(s) if s is context.script or context.reached.makes(f)]


def _calls_each(script: Script, call: ast.Call) -> bool:
    """`f(h) for f in self.functions`, where `self.functions` is an argument of the constructor."""
    if not isinstance(call.func, ast.Name):
        return False
    for above in script.ancestors(call):
        loops = above.generators if isinstance(above, ast.ListComp | ast.GeneratorExp) else [above]
        for loop in loops:
            target, over = getattr(loop, "target", None), getattr(loop, "iter", None)
            if isinstance(target, ast.Name) and target.id == call.func.id and isinstance(over, ast.Attribute):
                return ast.unparse(over) in _handed_in(script)
    return False


@once
def _handed_in(script: Script) -> set[str]:
    """The attributes that are set to an argument: `self.functions = functions`."""
    return {
        ast.unparse(node.targets[0])
        for node in script.nodes
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Name)
        if [b.kind for b in script.bindings(node.value.id, node.value)] == ["parameter"]
    }


@once
def _displayed(script: Script) -> list[Function]:
    """The functions of a file that stand in its lists and dictionaries."""
    shown: set[str] = set()
    for node in script.nodes:
        match node:
            case ast.Dict(values=values) | ast.List(elts=values) | ast.Tuple(elts=values):
                shown.update(v.id for v in values if isinstance(v, ast.Name) and isinstance(v.ctx, ast.Load))
    return [f for f in script.functions if f.name in shown and script.method_class(f) is None]
