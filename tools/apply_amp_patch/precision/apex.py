"""apex.amp taken out, so that the script is the full-precision one it was before; then it is patched like any other.

    model, optimizer = amp.initialize(model, optimizer, opt_level="O1")
    with amp.scale_loss(loss, optimizer) as scaled_loss:          ->      loss.backward()
        scaled_loss.backward()

O1 casts by operation, as autocast does; O2 keeps fp32 master weights, which autocast has always. O3 is pure fp16 and
has no successor. https://github.com/NVIDIA/apex/blob/master/apex/amp/frontend.py
"""

import ast

from ..context import Context
from ..edits import Drop, Edit, Span
from ..patch import Declined, Site
from ..script import Script

APEX = ("apex.amp", "apex.fp16_utils", "apex.contrib.optimizers.FP16")
_LEVELS = ("O1", "O2")
_PLAIN_OPTIONS = {"opt_level", "verbosity", "num_losses", "loss_scale", "keep_batchnorm_fp32"}


def uses_apex(script: Script) -> list[ast.expr]:
    """The outermost expressions that name something of apex.amp."""
    found = [
        n
        for n in script.nodes
        if isinstance(n, ast.Name | ast.Attribute) and (script.qualified(n) or "").startswith(APEX)
    ]
    return [n for n in found if script.parents[n] not in found]


def without_apex(context: Context, uses: list[ast.expr], remedy: str) -> tuple[list[Edit], list[Site]]:
    """Edits that take every use out. Raises Declined for a use that has no successor."""
    script = context.script
    edits: list[Edit] = []
    sites: list[Site] = []
    kinds = {script.qualified(node) for node in uses}
    if "apex.amp.scale_loss" in kinds and "apex.amp.initialize" not in kinds:
        raise Declined(
            uses[0].lineno, "apex", "apex.amp is initialized in another file: take it out there first"
        )
    for node in uses:
        call = script.parents[node]
        name = (script.qualified(node) or "").removeprefix("apex.amp.")
        if not isinstance(call, ast.Call) or call.func is not node:
            raise Declined(node.lineno, "apex", f"{ast.unparse(node)} is handed on; take it out by hand")
        if name == "initialize":
            edits += _initialize(script, call)
        elif name == "scale_loss":
            edits.append(_scale_loss(script, call))
        elif name == "master_params" and len(call.args) == 1:
            code = f'(p for group in {script.code(call.args[0])}.param_groups for p in group["params"])'
            edits.append(Span(script.start(call), script.end(call), code))
        else:
            raise Declined(node.lineno, "apex", f"apex.{name} has no successor; take it out by hand")
        sites.append(
            Site(node.lineno, remedy, "edit", "migrated", f"apex's {name} is not needed with autocast")
        )
    return edits + _imports(script), sites


def _initialize(script: Script, call: ast.Call) -> list[Edit]:
    statement = script.statement(call)
    options = {k.arg: k.value for k in call.keywords}
    level = options.get("opt_level")
    known = isinstance(level, ast.Constant) and level.value in _LEVELS
    if not known or not options.keys() <= _PLAIN_OPTIONS:
        shown = ast.unparse(level) if level is not None else "its default"
        raise Declined(call.lineno, "apex", f"opt_level {shown} and its options do not map to autocast")
    above = script.outer(statement)
    while above is not None:
        if isinstance(above, ast.If):
            note = f"apex is switched by {ast.unparse(above.test)}; take the branch out, then patch again"
            raise Declined(call.lineno, "apex", note)
        above = script.outer(above)
    target = (
        statement.targets[0] if isinstance(statement, ast.Assign) and len(statement.targets) == 1 else None
    )
    names = (
        [ast.unparse(e) for e in target.elts]
        if isinstance(target, ast.Tuple)
        else [ast.unparse(target or call)]
    )
    if names != [ast.unparse(a) for a in call.args] or len(script.block(statement)) == 1:
        raise Declined(
            call.lineno, "apex", "what initialize returns goes by other names than what it is given"
        )
    return [Drop(statement.lineno, statement.end_lineno or statement.lineno)]


def _scale_loss(script: Script, call: ast.Call) -> Edit:
    block = script.parents[script.parents[call]]
    alone = isinstance(block, ast.With) and len(block.items) == 1 == len(block.body)
    inner = block.body[0] if alone else None  # type: ignore[attr-defined]
    backward = inner.value if isinstance(inner, ast.Expr) else None
    scaled = block.items[0].optional_vars if alone else None  # type: ignore[attr-defined]
    if (
        not isinstance(backward, ast.Call)
        or not isinstance(backward.func, ast.Attribute)
        or backward.func.attr != "backward"
        or not isinstance(scaled, ast.Name)
        or ast.unparse(backward.func.value) != scaled.id
        or any(k.arg == "delay_unscale" for k in call.keywords)
        or not call.args
    ):
        raise Declined(call.lineno, "apex", "the block of scale_loss does more than one backward")
    loss = script.code(call.args[0])
    plain = isinstance(call.args[0], ast.Name | ast.Attribute | ast.Call | ast.Subscript)
    rest = script.text[script.end(backward.func) : script.end(backward)]
    return Span(script.start(block), script.end(block), f"{loss if plain else f'({loss})'}.backward{rest}")


def _imports(script: Script) -> list[Edit]:
    """`from apex import amp` goes, with the try around it where that holds nothing else."""
    edits: list[Edit] = []
    for node in script.nodes:
        if not (isinstance(node, ast.ImportFrom) and node.module == "apex" and len(node.names) == 1):
            continue
        if node.names[0].name != "amp":
            continue
        guard = script.parents[node]
        whole = guard if isinstance(guard, ast.Try) and guard.body == [node] else node
        if len(script.block(whole)) > 1 and _is_bare(whole):
            edits.append(Drop(whole.lineno, whole.end_lineno or whole.lineno))
    return edits


def _is_bare(statement: ast.stmt) -> bool:
    """Nothing but an import and what happens without it stands in a guard, and no flag is set there."""
    return not any(isinstance(n, ast.Assign) for n in ast.walk(statement))
