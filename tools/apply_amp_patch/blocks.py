"""The repeated blocks of a model: the calls that build them, and whether batch statistics are among what they hold."""

import ast

from .context import Context
from .names import Function
from .patch import Declined
from .script import Script

_STATEFUL = ("BatchNorm", "spectral_norm", "SpectralNorm")
_BUILDERS = ("__init__", "reset_parameters", "init_weights", "_init_weights", "initialize", "reset")


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
    """Raises Declined for blocks that a forward pass changes: recomputed, they would change twice per batch."""
    script = context.script
    lists = blocks_built_by(context, blocks)
    if any(_is_handed_in(context, a) for made in lists for a in made.args):
        note = "the blocks are made elsewhere, and may hold a BatchNorm"
        raise Declined(call.lineno, "batch_norm_in_block", note)
    built: list[ast.AST] = [*lists, *appended(context, blocks)]
    if isinstance(blocks, ast.Attribute):
        built += [value for _, value, _ in context.roles.assigned(blocks)]
    queue: list[tuple[Script, ast.AST]] = [(script, n) for n in built]
    seen: set[ast.AST] = set()
    while queue:
        home, holder = queue.pop()
        for node in (n for n in ast.walk(holder) if n not in seen):
            seen.add(node)
            _check_state(
                home, node, node.lineno if home is script and hasattr(node, "lineno") else call.lineno
            )
            found = _behind(context, home, node) if isinstance(node, ast.Name | ast.Attribute) else []
            inner = _made(context, home, node, call.lineno) if isinstance(node, ast.Call) else None
            if isinstance(node, ast.Call) and home is script:
                found += [(home, f) for f in context.roles.callees(node)]
            queue += [pair for pair in [*found, inner] if pair is not None and pair[1] not in seen]
    if any(isinstance(a, ast.Starred) for a in call.args) or any(k.arg is None for k in call.keywords):
        raise Declined(call.lineno, "blocks_not_found", "the arguments of the block are unpacked")


def _is_handed_in(context: Context, given: ast.expr) -> bool:
    """`nn.ModuleList(blocks)` of a parameter whose values are not in this file."""
    name = given.value if isinstance(given, ast.Starred) else given
    bindings = context.script.bindings(name.id, name) if isinstance(name, ast.Name) else []
    passed = [v for b in bindings for v in _passed(context, context.script, b.node, name.id) if v is not None]  # type: ignore[attr-defined]
    return bool(bindings) and all(b.kind == "parameter" for b in bindings) and not passed


def _check_state(home: Script, node: ast.AST, line: int) -> None:
    """Raises Declined for a layer that keeps statistics, and for a method that changes what its module keeps."""
    name = home.qualified(node) if isinstance(node, ast.Name | ast.Attribute) else None
    if name and any(kind in name for kind in _STATEFUL):
        above = home.parents[node]
        if not (isinstance(above, ast.Call) and home.called(above) == "builtins.isinstance"):
            raise Declined(line, "batch_norm_in_block", f"{name} would move its statistics twice per batch")
    changed: ast.expr | None = None
    if isinstance(node, ast.AugAssign):
        changed = node.target
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        method = node.func.attr
        in_place = method.endswith("_") and not method.endswith("__")
        changed = node.func.value if in_place or method in ("append", "extend") else None
    function = home.function(node)
    if changed is None or function is None or function.name in _BUILDERS or not _of_self(changed):
        return
    if home.method_class(function) is not None and not _builds(home, function):
        note = f"{ast.unparse(changed)} changes in {function.name}, and would change twice per batch"
        raise Declined(line, "state_in_block", note)


def _of_self(node: ast.expr) -> bool:
    """`self.count`, `self.cache[i]`, `self.codebook.data`."""
    while isinstance(node, ast.Subscript) or (
        isinstance(node, ast.Attribute) and isinstance(node.value, ast.Attribute | ast.Subscript)
    ):
        node = node.value
    return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self"


def _builds(home: Script, function: ast.AST | None) -> bool:
    """Code that makes layers; elsewhere a name that is called is a module at work."""
    if function is None or getattr(function, "name", "") == "__init__":
        return True
    names = [home.called(n) or "" for n in ast.walk(function) if isinstance(n, ast.Call)]
    return any(n.startswith("torch.nn.") and n.rpartition(".")[2][:1].isupper() for n in names)


def _behind(context: Context, home: Script, node: ast.Name | ast.Attribute) -> list[tuple[Script, ast.AST]]:
    """What a name stands for in its file: classes, functions, values, what is added to them, arguments passed."""
    if not isinstance(node.ctx, ast.Load):
        return []
    if isinstance(node, ast.Attribute):
        own = home is context.script and isinstance(node.value, ast.Name) and node.value.id == "self"
        return [(home, value) for _, value, _ in context.roles.assigned(node)] if own else []
    found: list[ast.AST | None] = []
    for binding in home.bindings(node.id, node):
        if binding.kind in ("class", "function"):
            found.append(binding.node)
        elif binding.kind == "parameter":
            found += _passed(context, home, binding.node, node.id)
        elif binding.kind == "import":  # a class that is chosen here, and called by another name
            made = context.class_elsewhere(home.qualified(node) or "")
            return [made] if made is not None else []
        else:
            found.append(binding.value)
    added = [c for c in home.method_calls("append") if ast.unparse(c.func.value) == node.id]  # type: ignore[attr-defined]
    found += [c for c in added if home.function(c) is home.function(node)]
    return [(home, value) for value in found if value is not None]


def _passed(context: Context, home: Script, parameter: ast.AST, name: str) -> list[ast.AST | None]:
    """The values of a parameter: of calls in the script itself, and its default."""
    function = home.parents[home.parents[parameter]]
    if not isinstance(function, Function):
        return []
    arguments = function.args
    defaults = [*arguments.defaults, *(d for d in arguments.kw_defaults if d is not None)]
    named = (
        {
            a.arg: d
            for a, d in [
                *zip(
                    reversed([*arguments.posonlyargs, *arguments.args]),
                    reversed(arguments.defaults),
                    strict=False,
                ),
                *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True),
            ]
        }
        if defaults
        else {}
    )
    sites = context.roles.call_sites(function) if home is context.script else []
    return [named.get(name), *(context.roles.argument(c, function, name) for c in sites)]


def _made(context: Context, home: Script, node: ast.Call, line: int) -> tuple[Script, ast.AST] | None:
    """What a call in a block runs or makes in another file; raises Declined where that is not at hand."""
    name = home.called(node)
    if name is None:
        ours = isinstance(node.func, ast.Name) and home is context.script
        if ours and _builds(home, home.function(node)) and not _known(context, home, node.func):
            note = f"{ast.unparse(node.func)} is chosen elsewhere, and may hold a BatchNorm"
            raise Declined(node.lineno, "batch_norm_in_block", note)
        return None
    if name.startswith(("torch.", "builtins.", "math.", "copy.", "functools.", "einops.", "numpy.")):
        return None
    found = context.class_elsewhere(name)
    if found is None and home is context.script and name.split(".")[-1][:1].isupper():
        note = f"{name} may hold a BatchNorm, and its code is not at hand"
        raise Declined(node.lineno, "batch_norm_in_block", note)
    return found


def _known(context: Context, home: Script, node: ast.expr, depth: int = 0) -> bool:
    """Whether a name that is called stands for layers of torch or of files at hand, whatever is passed for it."""
    if isinstance(node, ast.Call):
        partial = home.called(node) == "functools.partial" and node.args
        return not partial or _known(context, home, node.args[0], depth + 1)
    if isinstance(node, ast.Constant | ast.Lambda):
        return True
    if isinstance(node, ast.IfExp | ast.BoolOp):
        parts = node.values if isinstance(node, ast.BoolOp) else [node.body, node.orelse]
        return all(_known(context, home, part, depth + 1) for part in parts)
    name = home.qualified(node)
    if name is not None:
        return name.startswith(("torch.", "builtins.")) or context.class_elsewhere(name) is not None
    if depth > 4 or not isinstance(node, ast.Name):
        return False
    found: list[bool] = []
    for binding in home.bindings(node.id, node):
        values = (
            [v for v in _passed(context, home, binding.node, node.id) if v is not None]
            if binding.kind == "parameter"
            else [binding.value]
        )
        made = binding.kind in ("class", "function")
        found.append(made or (bool(values) and all(_is_known(context, home, v, depth) for v in values)))
    return all(found)  # a name without any value is none of a layer


def _is_known(context: Context, home: Script, value: ast.AST | None, depth: int) -> bool:
    return isinstance(value, ast.expr) and _known(context, home, value, depth + 1)


def appended(context: Context, iterated: ast.expr) -> list[ast.AST]:
    """The calls that add blocks to the list."""
    text = ast.unparse(iterated)
    return [
        c
        for name in ("append", "extend", "insert")
        for c in context.script.method_calls(name)
        if ast.unparse(c.func.value) == text  # type: ignore[attr-defined]
    ]
