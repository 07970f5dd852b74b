"""What reads gradients: `.grad`, by name or by `getattr`, and clipping."""

import ast

from ..script import Script

_CLIPS = (
    "torch.nn.utils.clip_grad",
    "torch.nn.utils.get_total_norm",
    "torch.nn.utils.clip_grads_with_norm_",
    "timm.utils.dispatch_clip_grad",
    "timm.utils.adaptive_clip_grad",
)
_ZEROING = {"zero_", "detach_", "fill_"}


def reads(script: Script, node: ast.AST) -> bool:
    """Whether a node reads gradients: a clipping call, or `.grad` where it is not only set to zero or None."""
    if isinstance(node, ast.Call):
        return (script.called(node) or "").startswith(_CLIPS) or _named_grad(script, node)
    if not (isinstance(node, ast.Attribute) and node.attr == "grad" and isinstance(node.ctx, ast.Load)):
        return False
    if script.qualified(node):
        return False
    above = script.parents[node]
    if isinstance(above, ast.Compare) and all(isinstance(c, ast.Constant) for c in above.comparators):
        return False
    while isinstance(above, ast.Attribute) and above.attr in ("data", *_ZEROING):
        if above.attr in _ZEROING:
            return False
        above = script.parents[above]
    return not isinstance(above, ast.If | ast.BoolOp)


def _named_grad(script: Script, call: ast.Call) -> bool:
    """`getattr(parameter, attribute)` where attribute may be "grad"."""
    if script.called(call) != "builtins.getattr" or len(call.args) < 2:
        return False
    name = call.args[1]
    values = [b.value for b in script.bindings(name.id, name)] if isinstance(name, ast.Name) else [name]
    constants = (n for v in values if v is not None for n in ast.walk(v) if isinstance(n, ast.Constant))
    return any(n.value == "grad" for n in constants)


ANOMALIES = "anomaly detection reads scaled gradients, and raises where a scaler would skip the step"


def detects_anomalies(script: Script, call: ast.Call) -> bool:
    """`torch.autograd.set_detect_anomaly(True)`: an option that may be off counts, but not one that is."""
    if script.called(call) not in ("torch.autograd.set_detect_anomaly", "torch.autograd.detect_anomaly"):
        return False
    return not any(isinstance(a, ast.Constant) and a.value is False for a in call.args[:1])
