"""Scripts that use mixed precision already: kept, migrated from deprecated names, or declined when half done."""

import ast

from ..context import Context
from ..patch import Declined, Patch, Site
from .migrate import DEPRECATED, migrate
from .proof import disprove

_AUTOCAST = {"torch.autocast", "torch.amp.autocast", "torch.amp.autocast_mode.autocast"}
_SCALER = {"torch.amp.GradScaler", "torch.amp.grad_scaler.GradScaler"}
_APEX = ("apex.amp", "apex.fp16_utils", "apex.contrib.optimizers.FP16")
_REMEDY = "mixed_precision"


def existing_amp(context: Context) -> Patch | None:
    """None where the script uses no mixed precision."""
    script = context.script
    uses = [(n, name) for n in script.nodes if isinstance(n, ast.Name | ast.Attribute) and (name := script.qualified(n))]
    for node, name in uses:
        if name.startswith(_APEX):
            raise Declined(
                node.lineno, "apex", f"{name}: apex's levels do not map to autocast one to one; take apex out first"
            )
    old = any(name.startswith(DEPRECATED) for _, name in uses) or _imports_old(context)
    autocasts = [n for n, name in uses if name in _AUTOCAST or (name.startswith(DEPRECATED) and "autocast" in name)]
    scalers = [n for n, name in uses if name in _SCALER or (name.startswith(DEPRECATED) and "GradScaler" in name)]
    if not (old or autocasts or scalers):
        return None
    fault = disprove(context)
    if fault is not None:
        raise fault
    if context.training.backwards and scalers and not autocasts and not _imported_scaler_only(context):
        raise Declined(scalers[0].lineno, "partial_amp", "gradients are scaled, but nothing in this file is autocast")
    if old:
        return migrate(context, _REMEDY)
    node = (autocasts or scalers)[0]
    return Patch("already", [Site(node.lineno, _REMEDY, "keep", "already", "mixed precision is in place")])


def _imports_old(context: Context) -> bool:
    return any(
        isinstance(n, ast.ImportFrom)
        and ((n.module or "") in ("torch.cuda.amp", "torch.cpu.amp"))
        or isinstance(n, ast.Import)
        and any(a.name in ("torch.cuda.amp", "torch.cpu.amp") for a in n.names)
        for n in context.script.nodes
    )


def _imported_scaler_only(context: Context) -> bool:
    """A helper module that scales for others (a loss scaler class) autocasts nothing itself."""
    return not any(context.training.flow.calls_model(s) for r in context.training.regions for s in r.statements)
