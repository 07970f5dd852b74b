"""DataParallel's threads know that autocast is on, but not its dtype: a hook on the module can tell them.

`parallel_apply` opens autocast without a dtype in every thread, which is fp16 there. `replicate` copies the module's
`__dict__`, hooks included, and each copy is called: so a forward pre-hook runs in the thread, under its autocast,
before any layer does (torch 2.13, nn/parallel/parallel_apply.py and replicate.py). What the hook calls came with 2.4.
"""

import ast
from collections.abc import Iterator

from ..context import Context
from ..models import is_model, trained_models
from ..names import Function
from ..script import Script
from .saved import saves_modules

Reason = tuple[int, str, str]

NOTE = "DataParallel's threads autocast to fp16 whatever the dtype around the call"
HOOKED = (
    "DataParallel's copies are told the dtype by a hook. That it works is known from PyTorch's source and from threads"
    " on a CPU, not from a run on several GPUs. DistributedDataParallel needs no hook"
)
_COMPILED = ("torch.compile", "torch.jit.", "torch.onnx.", "torch.export.", "torch.fx.", "torch._dynamo.")
_HOOK_LOST = {"_forward_pre_hooks", "_replicate_for_data_parallel", "_call_impl"}
_REPLACED = {"parallel_apply", "DataParallel"}
_ENTRIES = {"__init__", "__call__", "forward", "parallel_apply", "replicate"}


def starts_threads(name: str) -> bool:
    """DataParallel itself, one that a package derives from it, or the call that starts its threads."""
    last = name.split(".")[-1].lower().replace("_", "")
    return last == "parallelapply" or ("dataparallel" in last and "distributed" not in last)


def find_replicas(context: Context) -> tuple[list[ast.expr], list[Reason]]:
    """The modules that this file hands to threads, each to get the hook; else what forbids bf16."""
    family = _derived(context)
    found: list[ast.expr] = []
    hidden: list[Reason] = []
    for call in context.script.calls:
        handed = _handed(context, call, family)
        if handed == []:
            hidden.append((call.lineno, "data_parallel", f"{NOTE} (inside {ast.unparse(call.func)})"))
        found += handed or []
    hidden += [*_strays(context, family), *_elsewhere(context)]
    if found and not hidden and (obstacle := _obstacle(context, found)):
        hidden.append((found[0].lineno, "data_parallel", f"{NOTE}; {obstacle}"))
    return ([], hidden) if hidden else (found, [])


def _handed(context: Context, call: ast.Call, family: dict[str, bool]) -> list[ast.expr] | None:
    """The modules that a call hands to threads: none where they cannot be told, None where it starts no threads."""
    script = context.script
    name = script.called(call) or ""
    if _is_torch(name, "DataParallel", "data_parallel", "replicate"):
        return _first(call)
    if _is_torch(name, "parallel_apply"):
        return None if call.args and _is_replicated(script, call.args[0]) else []
    if (last := ast.unparse(call.func).split(".")[-1]) in family or (last := name.split(".")[-1]) in family:
        return _first(call) if family[last] else []
    inside = [(other, n) for other, n in context.used_elsewhere(call) if isinstance(n, ast.Call)]
    if any(starts_threads(other.called(n) or "") for other, n in inside):
        return _handed_on(context, call, inside)
    return [] if starts_threads(name) else None


def _is_torch(name: str, *lasts: str) -> bool:
    return name.startswith("torch.nn.") and name.split(".")[-1] in lasts


def _first(call: ast.Call) -> list[ast.expr]:
    """The first argument, which is the module; none where arguments are unpacked."""
    named = [k.value for k in call.keywords if k.arg in ("module", "network")]
    return [v for v in [*call.args[:1], *named] if not isinstance(v, ast.Starred)][:1]


def _is_replicated(script: Script, node: ast.expr, seen: tuple[str, ...] = ()) -> bool:
    """Whether a value is what torch's `replicate` gave, or a slice of it."""
    if isinstance(node, ast.Subscript):
        return isinstance(node.slice, ast.Slice) and _is_replicated(script, node.value, seen)
    if not isinstance(node, ast.Name):
        return _is_torch(script.called(node) or "", "replicate")
    bindings = script.bindings(node.id, node)
    return node.id in seen or (
        bool(bindings)
        and all(
            b.value is not None and b.index is None and _is_replicated(script, b.value, (*seen, node.id))
            for b in bindings
        )
    )


def _handed_on(context: Context, call: ast.Call, inside: list[tuple[Script, ast.Call]]) -> list[ast.expr]:
    """The arguments that a function of another file hands to torch's threads, if it starts no others."""
    found: list[ast.expr] = []
    for other, node in inside:
        name = other.called(node) or ""
        if _is_torch(name, "parallel_apply") and node.args and _is_replicated(other, node.args[0]):
            continue
        if _is_torch(name, "replicate", "data_parallel"):
            value = _passed(context, call, other, node)
            if value is None:
                return []
            found.append(value)
        elif starts_threads(name):
            return []
    return found


def _passed(context: Context, call: ast.Call, other: Script, node: ast.Call) -> ast.expr | None:
    """What a call passes for the parameter that the function it calls hands on as the module."""
    module = next(iter(_first(node)), None)
    function = other.function(node)
    if not isinstance(module, ast.Name) or not isinstance(function, Function):
        return None
    if [b.kind for b in other.bindings(module.id, module)] != ["parameter"]:
        return None
    if ast.unparse(call.func).split(".")[-1] != function.name or other.method_class(function) is not None:
        return None
    return context.roles_of(other).argument(call, function, module.id)


def _derived(context: Context) -> dict[str, bool]:
    """The classes of the project that derive from DataParallel, and whether they leave its threads as they are."""
    classes = [(s, c) for s in [context.script, *context.project.values()] for c in s.classes]
    plain: dict[str, bool] = {}
    size = -1
    while len(plain) > size:
        size = len(plain)
        for script, holder in classes:
            names = [script.qualified(b) or ast.unparse(b) for b in holder.bases]
            lasts = {n.split(".")[-1] for n in names}
            if not any(_is_torch(n, "DataParallel") for n in names) and not lasts & set(plain):
                continue
            same = [c for _, c in classes if c.name == holder.name]
            plain[holder.name] = (
                len(same) == len(holder.bases) == 1
                and all(_is_torch(n, "DataParallel") or plain.get(n.split(".")[-1]) for n in names)
                and _keeps_threads(holder)
            )
    return plain


def _keeps_threads(holder: ast.ClassDef) -> bool:
    """Whether nothing touches how the replicas are called; `replicate` may add to what torch's gives."""
    if any(isinstance(n, ast.Name) and n.id in _ENTRIES for s in holder.body for n in _targets(s)):
        return False
    entries = [n for n in holder.body if isinstance(n, Function) and n.name in _ENTRIES]
    return all(f.name == "replicate" and any(map(_replicates_above, ast.walk(f))) for f in entries)


def _targets(statement: ast.stmt) -> list[ast.expr]:
    return statement.targets if isinstance(statement, ast.Assign) else []


def _replicates_above(node: ast.AST) -> bool:
    """`super().replicate`."""
    match node:
        case ast.Attribute(attr="replicate", value=ast.Call(func=ast.Name(id="super"))):
            return True
    return False


def _strays(context: Context, family: dict[str, bool]) -> Iterator[Reason]:
    """DataParallel as a value: `wrap = nn.DataParallel`, whose calls cannot all be seen."""
    script = context.script
    for node in script.nodes:
        if not isinstance(node, ast.Name | ast.Attribute) or not isinstance(node.ctx, ast.Load):
            continue
        name = script.qualified(node) or ""
        threads = starts_threads(name) or (isinstance(node, ast.Name) and node.id in family)
        if threads and not _is_calm(script, node):
            yield node.lineno, "data_parallel", f"{NOTE} (handed on as {ast.unparse(node)})"


def _is_calm(script: Script, node: ast.AST) -> bool:
    """A call of the class, a test for it, an annotation, or a base class."""
    above = script.parents[node]
    if isinstance(above, ast.Attribute):
        return starts_threads(script.qualified(above) or "")
    if isinstance(above, ast.Call) and above.func is node:
        return True
    while not isinstance(above, ast.stmt):
        if isinstance(above, ast.Compare | ast.arg):
            return True
        if script.called(above) in ("builtins.isinstance", "builtins.issubclass"):
            return True
        above = script.parents[above]
    match above:
        case ast.ClassDef(bases=calm):
            return any(node in ast.walk(base) for base in calm)
        case ast.AnnAssign(annotation=calm) | ast.FunctionDef(returns=ast.expr() as calm):
            return node in ast.walk(calm)
    return False


def _elsewhere(context: Context) -> Iterator[Reason]:
    """Threads that other files start: in a base class, in a layer, or around a model that this file does not make."""
    for line, other, node in context.inherited:
        if starts_threads(other.called(node) or ""):
            yield line, "data_parallel", f"{NOTE} (in a base class)"
    if not context.training.backwards:
        return
    line = context.training.backwards[0].call.lineno
    for script in context.project.values():
        for holder in filter(context.reached.holds, script.classes):
            inside = any(starts_threads(script.called(n) or "") for n in ast.walk(holder))
            if inside and context.roles_of(script).is_module_class(holder):
                yield line, "data_parallel", f"{NOTE} (inside {holder.name})"
    if _trains_its_own(context):
        return
    for reached, scripts in context.around:
        for script in scripts:
            for call in script.calls:
                if starts_threads(script.called(call) or "") and reached.mentions(call):
                    yield line, "data_parallel", f"{NOTE} (another file may wrap the model)"
                    return


def _trains_its_own(context: Context) -> bool:
    """Whether a model that this file makes runs in its training, or is handed to what does, and none from outside."""
    statements = (s for r in context.training.regions for s in r.statements)
    calls = [n for s in statements for n in ast.walk(s) if isinstance(n, ast.Call)]
    if any({o.kind for o in context.roles.origins(c.func)} == {"parameter"} for c in calls):
        return False  # what this file makes may be the losses
    return bool(trained_models(context)) or any(is_model(context, a) for c in calls for a in c.args)


def _obstacle(context: Context, hooked: list[ast.expr]) -> str | None:
    """Why a hook would not do: it is saved along with the model, compiled, or does not run in each replica."""
    if where := saves_modules(context, hooked):
        return f"{where} may save the whole model, and with it the hook that would tell them"
    for script in [context.script, *context.project.values()]:
        if found := next((w for w in sorted(_HOOK_LOST) if w in script.spelled), None):
            return f"{found} is in use, and only a hook could tell them"
        stored = (
            n.attr for n in script.nodes if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Store)
        )
        if found := next((attribute for attribute in stored if attribute in _REPLACED), None):
            return f"something is set in place of .{found}"
        for holder in filter(context.reached.holds, script.classes):
            if any((script.qualified(base) or "").startswith("torch.jit.") for base in holder.bases):
                return f"{holder.name} is a TorchScript module"
            own = any(isinstance(n, Function) and n.name == "__call__" for n in holder.body)
            if own and context.roles_of(script).is_module_class(holder):
                return f"{holder.name} has a __call__ of its own, which runs no hook"
    for node in context.script.nodes:
        name = context.script.qualified(node) or ""
        if name.startswith(_COMPILED) or (
            isinstance(node, ast.Attribute) and node.attr == "compile" and not name
        ):
            return "compiled or traced code runs no hook that is set behind it"
        if isinstance(node, ast.Attribute) and node.attr == "module" and isinstance(node.ctx, ast.Store):
            return "another module may take the place of the one that gets a hook"
    return None
