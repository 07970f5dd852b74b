"""Gradients set to None instead of zero, so that their memory is free between steps.

    optimizer.zero_grad(set_to_none=False)   ->  optimizer.zero_grad(set_to_none=True)
    p.grad.data.zero_()                      ->  p.grad = None

None is the default since torch 2.0. https://docs.pytorch.org/docs/stable/generated/torch.optim.Optimizer.zero_grad.html
"""

import ast

from ..context import Context
from ..edits import Edit, Span
from ..patch import Declined, Patch, Site
from ..precision.readings import reads

REMEDY = "zero_grad_none"


def propose(context: Context) -> Patch:
    """Edits for every place that writes zeros into gradients."""
    script = context.script
    edits: list[Edit] = []
    sites: list[Site] = []
    calls = script.method_calls("zero_grad")
    for call in calls:
        off = next((k.value for k in call.keywords if k.arg == "set_to_none"), None)
        if isinstance(off, ast.Constant) and off.value is False:
            edits.append(Span(script.start(off), script.end(off), "True"))
            sites.append(Site(call.lineno, REMEDY, "edit", "set_to_none", "gradients become None"))
    for call in script.method_calls("zero_"):
        target = _gradient(call)
        if target is not None and isinstance(script.parents[call], ast.Expr):
            edits.append(Span(script.start(call), script.end(call), f"{script.code(target)} = None"))
            sites.append(Site(call.lineno, REMEDY, "edit", "set_to_none", "the gradient becomes None"))
    if not edits:
        if calls:
            note = "zero_grad() sets gradients to None by default since torch 2.0"
            return Patch("already", [Site(calls[0].lineno, REMEDY, "keep", "already", note)])
        return Patch(
            "nothing_to_do",
            [Site(1, REMEDY, "keep", "no_training_loop", "no gradients are set to zero here")],
        )
    for node in script.nodes:
        if isinstance(node, ast.Attribute) and node.attr == "grad" and reads(script, node):
            note = "gradients are read elsewhere, where None would fail"
            return Declined(node.lineno, "reads_grad", note).as_patch(REMEDY)
    warning = (
        "a weight without a gradient in a step now stays as it is, where momentum and decay moved it before"
    )
    return Patch("patched", sites, edits, [warning])


def _gradient(call: ast.Call) -> ast.Attribute | None:
    """`p.grad` of `p.grad.zero_()` and `p.grad.data.zero_()`."""
    owner = call.func.value if isinstance(call.func, ast.Attribute) else None
    if isinstance(owner, ast.Attribute) and owner.attr == "data":
        owner = owner.value
    return owner if isinstance(owner, ast.Attribute) and owner.attr == "grad" else None
