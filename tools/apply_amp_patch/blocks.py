"""The repeated blocks of a model: the calls that build them, and whether batch statistics are among what they hold."""

import ast

from .context import Context
from .patch import Declined
from .script import Script


def blocks_built_by(context: Context, blocks: ast.expr) -> list[ast.Call]:
    """The calls that build a list of blocks, also as an entry of a ModuleDict: `self.transformer.h`."""
    found = [o.node for o in context.roles.origins(blocks) if isinstance(o.node, ast.Call)]
    if found or not isinstance(blocks, ast.Attribute):
        return found
    for origin in context.roles.origins(blocks.value):
        made = origin.node.args[0] if isinstance(origin.node, ast.Call) and origin.node.args else None
        entries: dict[object, ast.expr] = {}
        if isinstance(made, ast.Call) and context.script.called(made) == "builtins.dict":
            entries = {k.arg: k.value for k in made.keywords}
        elif isinstance(made, ast.Dict):
            keys = [k.value if isinstance(k, ast.Constant) else None for k in made.keys]
            entries = dict(zip(keys, made.values, strict=True))
        value = entries.get(blocks.attr)
        if origin.name == "torch.nn.ModuleDict" and isinstance(value, ast.Call):
            found.append(value)
    return found


def check_statistics(context: Context, blocks: ast.expr, call: ast.Call) -> None:
    """Raises Declined for blocks with batch statistics: recomputed, they would count every batch twice."""
    script = context.script
    built: list[ast.AST] = [*blocks_built_by(context, blocks), *_appended(context, blocks)]
    queue: list[tuple[Script, ast.AST]] = [(script, n) for n in built]
    seen: set[ast.AST] = set()
    while queue:
        home, holder = queue.pop()
        for node in (n for n in ast.walk(holder) if isinstance(n, ast.Call) and n not in seen):
            seen.add(node)
            inner = _made(context, home, node, call.lineno)
            if inner is not None and inner[1] not in seen:
                seen.add(inner[1])
                queue.append(inner)
    if any(isinstance(a, ast.Starred) for a in call.args) or any(k.arg is None for k in call.keywords):
        raise Declined(call.lineno, "blocks_not_found", "the arguments of the block are unpacked")


def _made(context: Context, home: Script, node: ast.Call, line: int) -> tuple[Script, ast.AST] | None:
    """What a call in a block runs or makes in the project; raises Declined for batch statistics, or where unseen."""
    name = home.called(node)
    if "BatchNorm" in (name or ""):
        where = node.lineno if home is context.script else line
        raise Declined(where, "batch_norm_in_block", f"{name} would move its statistics twice per batch")
    if name is None and isinstance(node.func, ast.Name):
        called = node.func.id
        made = [d for d in [*home.classes, *home.functions] if d.name == called]
        above = home.function(node)
        builds = (
            above is None or above.name == "__init__"
        )  # elsewhere a name that is called is a module at work
        if builds and not made and home is context.script and not _plain_layer(context, node.func):
            note = f"{called} is chosen elsewhere, and may hold a BatchNorm"
            raise Declined(node.lineno, "batch_norm_in_block", note)
        return (home, made[0]) if made else None
    if name is None:
        return None
    if name.startswith(("torch.", "builtins.", "math.", "copy.", "functools.", "einops.", "numpy.")):
        return None
    found = context.class_elsewhere(name)
    if found is None and home is context.script and name.split(".")[-1][:1].isupper():
        note = f"{name} may hold a BatchNorm, and its code is not at hand"
        raise Declined(node.lineno, "batch_norm_in_block", note)
    return found


def _plain_layer(context: Context, func: ast.Name) -> bool:
    """Whether a name stands for layers of torch alone, batch statistics excepted (or for no value at all)."""
    origins = context.roles.origins(func)
    return not context.script.bindings(func.id, func) or all(
        o.kind == "import" and o.name.startswith("torch.nn.") and "BatchNorm" not in o.name for o in origins
    )


def _appended(context: Context, iterated: ast.expr) -> list[ast.AST]:
    text = ast.unparse(iterated)
    return [
        c
        for name in ("append", "extend", "insert")
        for c in context.script.method_calls(name)
        if ast.unparse(c.func.value) == text  # type: ignore[attr-defined]
    ]
