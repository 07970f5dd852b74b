"""Code that switches autocast off for itself and casts what it is given: its author has seen to its precision."""

import ast

from ..names import Function
from ..once import once
from ..script import Script

_AUTOCAST = {f"torch.{name}" for name in ("autocast", "amp.autocast", "cuda.amp.autocast")}
_CASTS = (".float(", ".to(torch.float32", "dtype=torch.float32")


@once
def is_exempt(script: Script, node: ast.AST) -> bool:
    """Whether a node stands under `with autocast(enabled=False):`, or in a function so decorated."""
    return any(
        any(_is_off(script, switch) for switch in _switches(above))
        and any(cast in ast.unparse(above) for cast in _CASTS)
        for above in script.ancestors(node)
        if isinstance(above, ast.With | Function)
    )


def _switches(above: ast.AST) -> list[ast.expr]:
    if isinstance(above, ast.With):
        return [item.context_expr for item in above.items]
    return getattr(above, "decorator_list", [])


def _is_off(script: Script, switch: ast.expr) -> bool:
    off = [k.value for k in getattr(switch, "keywords", []) if k.arg == "enabled"]
    return script.called(switch) in _AUTOCAST and [ast.unparse(v) for v in off] == ["False"]
