"""Deprecated AMP names to their successors.

    from torch.cuda.amp import autocast, GradScaler        from torch.amp import autocast, GradScaler
    with autocast(enabled=args.amp):                   ->  with autocast("cuda", enabled=args.amp):
    scaler = GradScaler()                                  scaler = GradScaler("cuda")

https://docs.pytorch.org/docs/stable/amp.html (the torch.cuda.amp classes are deprecated since torch 2.4)
"""

import ast

from ..context import Context
from ..edits import Edit, Span
from ..patch import Declined, Patch, Site
from ..script import Script

DEPRECATED = ("torch.cuda.amp", "torch.cpu.amp")
_NAMES = {"autocast", "GradScaler", "custom_fwd", "custom_bwd", "autocast_mode", "grad_scaler"}
_AUTOCAST_ARGUMENTS = ("enabled", "dtype", "cache_enabled")  # torch.cuda.amp.autocast's own order


def migrate(context: Context, remedy: str) -> Patch:
    """Edits for every import and use. Raises Declined for a use that has no safe successor."""
    script = context.script
    edits: list[Edit] = []
    sites: list[Site] = []
    for node in script.nodes:
        found: list[Edit] = []
        if is_fallback(script, node):
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            found = _import(script, node)
        elif isinstance(node, ast.Attribute):
            found = _attribute(script, node)
        if (
            isinstance(node, ast.Name | ast.Attribute)
            and (name := script.qualified(node))
            and name.startswith(DEPRECATED)
        ):
            found = [*found, *_use(script, node, name)]
        if found:
            edits += found
            sites.append(
                Site(
                    getattr(node, "lineno", 1),
                    remedy,
                    "edit",
                    "migrated",
                    "the torch.cuda.amp names are deprecated",
                )
            )
    by_line = {site.line: site for site in sites}
    return Patch("patched", [by_line[line] for line in sorted(by_line)], edits)


def is_fallback(script: Script, node: ast.AST) -> bool:
    """An old name for old versions of torch: another branch, or the `try` before it, has its successor."""
    if not isinstance(node, ast.Import | ast.ImportFrom | ast.Name | ast.Attribute):
        return False
    inner: ast.AST = node
    for outer in script.ancestors(node):
        others: list[ast.AST] = []
        if isinstance(outer, ast.IfExp) and inner is not outer.test:
            others = [outer.orelse if inner is outer.body else outer.body]
        elif isinstance(outer, ast.If) and inner is not outer.test:
            others = [*(outer.orelse if inner in outer.body else outer.body)]
        elif isinstance(outer, ast.Try) and inner in outer.handlers:
            others = [*outer.body]
        if any(_is_successor(script, n) for other in others for n in ast.walk(other)):
            return True
        inner = outer
    return False


def _is_successor(script: Script, node: ast.AST) -> bool:
    if isinstance(node, ast.ImportFrom):
        return node.module == "torch.amp"
    return isinstance(node, ast.Name | ast.Attribute) and (script.qualified(node) or "").startswith(
        ("torch.amp.", "torch.autocast")
    )


def _import(script: Script, node: ast.Import | ast.ImportFrom) -> list[Edit]:
    text = script.code(node)
    if isinstance(node, ast.Import):
        names = [a.name for a in node.names]
        if not any(n.startswith(DEPRECATED) for n in names):
            return []
        new = text.replace("torch.cuda.amp", "torch.amp").replace("torch.cpu.amp", "torch.amp")
        return [Span(script.start(node), script.end(node), new)]
    module = node.module or ""
    if module.startswith(DEPRECATED):
        strange = [a.name for a in node.names if a.name not in _NAMES]
        if strange:
            raise Declined(
                node.lineno, "amp_use_unknown", f"{module}.{strange[0]} has no successor in torch.amp"
            )
        start = script.start(node) + text.index(module)
        return [Span(start, start + len(module), module.replace(".cuda", "").replace(".cpu", ""))]
    if module in ("torch.cuda", "torch.cpu") and any(a.name == "amp" for a in node.names):
        if len(node.names) > 1:
            raise Declined(
                node.lineno, "amp_use_unknown", "the import mixes amp with other names of torch.cuda"
            )
        start = script.start(node) + text.index(module)
        return [Span(start, start + len(module), "torch")]
    return []


def _attribute(script: Script, node: ast.Attribute) -> list[Edit]:
    """`torch.cuda.amp` written out loses its middle."""
    middle = node.value
    if node.attr != "amp" or not isinstance(middle, ast.Attribute) or middle.attr not in ("cuda", "cpu"):
        return []
    if script.qualified(middle.value) != "torch":
        return []
    return [Span(script.end(middle.value), script.end(middle), "")]


def _use(script: Script, node: ast.Name | ast.Attribute, name: str) -> list[Edit]:
    device = '"cuda"' if name.startswith("torch.cuda") else '"cpu"'
    last = name.split(".")[-1]
    parent = script.parents[node]
    call = parent if isinstance(parent, ast.Call) and parent.func is node else None
    if last == "GradScaler":
        if call is None:
            return []
        comma = ", " if call.args or call.keywords else ""
        return [Span(_opening(script, call), _opening(script, call), device + comma)]
    if last in ("custom_fwd", "custom_bwd"):
        if call is None:
            return [Span(script.end(node), script.end(node), f"(device_type={device})")]
        comma = ", " if call.args or call.keywords else ""
        return [Span(_opening(script, call), _opening(script, call), f"device_type={device}{comma}")]
    if last != "autocast":
        return []
    if call is None:
        if isinstance(parent, ast.Attribute | ast.Import | ast.ImportFrom):
            return []
        raise Declined(node.lineno, "amp_use_unknown", "autocast is handed on without being called")
    if any(isinstance(a, ast.Starred) for a in call.args) or any(k.arg is None for k in call.keywords):
        raise Declined(node.lineno, "amp_use_unknown", "the arguments of autocast are unpacked")
    comma = ", " if call.args or call.keywords else ""
    edits: list[Edit] = [Span(_opening(script, call), _opening(script, call), device + comma)]
    for argument, keyword in zip(call.args, _AUTOCAST_ARGUMENTS, strict=False):
        edits.append(Span(script.start(argument), script.start(argument), f"{keyword}="))
    return edits


def _opening(script: Script, call: ast.Call) -> int:
    """The place just behind the call's opening parenthesis."""
    return script.text.index("(", script.end(call.func)) + 1
