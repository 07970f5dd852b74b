"""The optimizer's step in one kernel per group instead of one per tensor.

    torch.optim.AdamW(model.parameters(), lr=3e-4)  ->  torch.optim.AdamW(..., lr=3e-4, fused=torch.cuda.is_available())

https://docs.pytorch.org/docs/stable/optim.html (fused implementations)
"""

import ast

from ..arguments import further_argument
from ..context import Context
from ..edits import Edit
from ..patch import Declined, Patch, Site
from ..prelude import header

REMEDY = "fused_optimizer"
_FUSED = {f"torch.optim.{n}" for n in ("Adam", "AdamW", "SGD", "Adagrad")}
_FUSED |= {f"torch.optim.{n.lower()}.{n}" for n in ("Adam", "AdamW", "SGD", "Adagrad")}


def propose(context: Context) -> Patch:
    """`fused=` for every optimizer of this file that has it."""
    script = context.script
    edits: list[Edit] = []
    sites: list[Site] = []
    built = [(c, n) for c in script.calls if (n := script.called(c)) and n.startswith("torch.optim.")]
    built = [(c, n) for c, n in built if "lr_scheduler" not in n and "swa_utils" not in n]
    if not built:
        return Patch(
            "nothing_to_do", [Site(1, REMEDY, "keep", "no_optimizer", "no torch optimizer is built here")]
        )
    torch = script.torch_name() or "torch"
    for call, name in built:
        given = {k.arg for k in call.keywords}
        if name not in _FUSED:
            sites.append(
                Site(
                    call.lineno, REMEDY, "decline", "no_fused_variant", f"{name} has no fused implementation"
                )
            )
        elif given & {"fused", "foreach", "differentiable"}:
            sites.append(Site(call.lineno, REMEDY, "keep", "already", "the implementation is chosen already"))
        elif None in given:
            sites.append(
                Site(call.lineno, REMEDY, "decline", "framework_flag", "its options come from a dictionary")
            )
        elif (sparse := _sparse(context)) is not None:
            return Declined(sparse, "sparse", "fused optimizers take no sparse gradients").as_patch(REMEDY)
        elif (line := _complex(context)) is not None:
            return Declined(line, "fft_or_complex", "fused optimizers take no complex weights").as_patch(
                REMEDY
            )
        elif _momentum(call, name) and (line := _unfreezes(context)) is not None:
            note = "with momentum, fused SGD fails when a weight gets its first gradient after the first step"
            sites.append(Site(line, REMEDY, "decline", "unfrozen_later", note))
        else:
            edits.append(further_argument(script, call, f"fused={torch}.cuda.is_available()"))
            sites.append(Site(call.lineno, REMEDY, "edit", "fused", "one kernel per group of parameters"))
    if edits and not script.torch_name():
        edits.append(header(script, ["import torch"]))
    outcome = "patched" if edits else "declined" if any(s.action == "decline" for s in sites) else "already"
    late = any(_momentum(c, n) for c, n in built) and edits
    warnings = ["fused SGD with momentum needs a gradient for every weight in its first step"] if late else []
    if edits and any(_moved_later(context, call) for call, name in built if name in _FUSED):
        warnings.append("before torch 2.4 the model has to be on the GPU when its optimizer is built")
    return Patch(outcome, sites, edits, warnings)


def _moved_later(context: Context, call: ast.Call) -> bool:
    """`net.cuda()` or `net.to(device)` behind the optimizer of its weights."""
    script = context.script
    owners = {n.id for a in call.args[:1] for n in ast.walk(a) if isinstance(n, ast.Name)}
    moves = [c for method in ("to", "cuda") for c in script.method_calls(method)]
    moves = [
        c
        for c in moves
        if owners & {n.id for n in ast.walk(c.func) if isinstance(n, ast.Name)}
        if c.lineno > call.lineno and script.function(c) is script.function(call)
    ]
    first = min((c.lineno for c in moves), default=0)
    stores = (n for n in script.nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store))
    return bool(moves) and not any(n.id in owners and call.lineno < n.lineno < first for n in stores)


def _momentum(call: ast.Call, name: str) -> bool:
    return name.endswith("SGD") and (len(call.args) > 2 or any(k.arg == "momentum" for k in call.keywords))


def _unfreezes(context: Context) -> int | None:
    """The line that lets a weight train (again): `p.requires_grad = True`, `requires_grad_()`."""
    for node in context.script.nodes:
        if isinstance(node, ast.Assign) and any(
            isinstance(t, ast.Attribute) and t.attr == "requires_grad" for t in node.targets
        ):
            value: ast.expr | None = node.value
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "requires_grad_":
            value = node.args[0] if node.args else None
        else:
            continue
        if not (isinstance(value, ast.Constant) and value.value is False):
            return node.lineno
    return None


def _complex(context: Context) -> int | None:
    """The line that names a complex number format."""
    for node in context.script.nodes:
        if isinstance(node, ast.Attribute) and node.attr in ("complex64", "complex128", "cfloat", "cdouble"):
            return node.lineno
    return None


def _sparse(context: Context) -> int | None:
    """The line of an embedding with sparse gradients."""
    for call in context.script.calls:
        for keyword in call.keywords:
            if keyword.arg == "sparse" and not (
                isinstance(keyword.value, ast.Constant) and not keyword.value.value
            ):
                return call.lineno
    return None
