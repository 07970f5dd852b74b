"""DataParallel's threads know that autocast is on, but not its dtype: a hook on every module tells them.

`parallel_apply` opens autocast without a dtype in every thread, which is fp16 there, and calls a copy of the module. A
forward pre-hook of all modules runs in that thread, under its autocast, before any layer does, wherever the model is
wrapped, and is saved with none (torch 2.13, nn/parallel/parallel_apply.py). What the hook calls came with 2.4.
"""

import ast
from collections.abc import Iterator

from ..context import Context
from ..models import is_model, trained_models
from ..names import Function
from ..script import Script

Reason = tuple[int, str, str]

NOTE = "DataParallel's threads autocast to fp16 whatever the dtype around the call"
HOOKED = (
    "DataParallel's copies are told the dtype by a hook. That it works is known from PyTorch's source and from threads"
    " on a CPU, not from a run on several GPUs. DistributedDataParallel needs no hook"
)
_COMPILED = ("torch.compile", "torch.jit.", "torch.onnx.", "torch.export.", "torch.fx.", "torch._dynamo.")
_HOOK_LOST = {"_global_forward_pre_hooks", "_call_impl"}
_OWN_THREADS = {"threading", "Thread", "ThreadPoolExecutor"}


def starts_threads(name: str) -> bool:
    """DataParallel itself, one that a package derives from it, or the call that starts its threads."""
    last = name.split(".")[-1].lower().replace("_", "")
    return last == "parallelapply" or ("dataparallel" in last and "distributed" not in last)


def find_replicas(context: Context) -> tuple[int | None, list[Reason]]:
    """The first line that leads to threads of torch's, which the hook reaches; else what forbids bf16."""
    derived = _derived(context)
    found: list[int] = []
    hidden: list[Reason] = []
    for line, script, node, where in [*_here(context, derived), *_elsewhere(context, derived)]:
        name = script.qualified(node) or ast.unparse(node)
        home = derived.get(name.split(".")[-1])
        if name.startswith("torch.") or (home is not None and not home.spelled & _OWN_THREADS):
            found.append(line)
        else:
            hidden.append((line, "data_parallel", f"{NOTE} ({where})"))
    if found and not hidden and (obstacle := _obstacle(context)):
        hidden.append((found[0], "data_parallel", f"{NOTE}; {obstacle}"))
    return (None, hidden) if hidden or not found else (found[0], [])


_Mention = tuple[int, Script, ast.expr, str]  # a line of this file, and what is named there or behind it


def _here(context: Context, derived: dict[str, Script]) -> Iterator[_Mention]:
    """What this file names that starts threads."""
    script = context.script
    for node in script.nodes:
        if not isinstance(node, ast.Name | ast.Attribute) or not isinstance(node.ctx, ast.Load):
            continue
        name = script.qualified(node) or (ast.unparse(node) if _is_called(script, node) else "")
        threads = starts_threads(name) or name.split(".")[-1] in derived
        if threads and not _is_calm(script, node) and not _is_of_the_project(context, node):
            yield node.lineno, script, node, f"inside {ast.unparse(node)}"


def _is_of_the_project(context: Context, node: ast.expr) -> bool:
    """A function of another file, which is looked into for itself."""
    above = context.script.parents[node]
    return isinstance(above, ast.Call) and above.func is node and bool(context.run_elsewhere(above))


def _is_called(script: Script, node: ast.AST) -> bool:
    above = script.parents[node]
    return isinstance(above, ast.Call) and above.func is node


def _derived(context: Context) -> dict[str, Script]:
    """The classes of the project that derive from torch's DataParallel, and the files they stand in."""
    classes = [(s, c) for s in [context.script, *context.project.values()] for c in s.classes]
    found: dict[str, Script] = {}
    size = -1
    while len(found) > size:
        size = len(found)
        for script, holder in classes:
            names = [script.qualified(b) or ast.unparse(b) for b in holder.bases]
            torchs = any(n.startswith("torch.nn.") and n.endswith(".DataParallel") for n in names)
            if torchs or {n.split(".")[-1] for n in names} & set(found):
                found.setdefault(holder.name, script)
    return found


def _is_calm(script: Script, node: ast.AST) -> bool:
    """A test for the class, an annotation, or a base class."""
    above = script.parents[node]
    if isinstance(above, ast.Attribute):
        return starts_threads(script.qualified(above) or "")
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


def _elsewhere(context: Context, derived: dict[str, Script]) -> Iterator[_Mention]:
    """Threads of other files: in a base class, a function, a layer, or around a model that this file does not make."""
    for line, other, node in context.inherited:
        yield from _starts(line, other, node, derived, "in a base class")
    for call in context.script.calls:
        for other, node in context.used_elsewhere(call):
            yield from _starts(call.lineno, other, node, derived, f"inside {ast.unparse(call.func)}")
    if not context.training.backwards:
        return
    line = context.training.backwards[0].call.lineno
    for script in context.project.values():
        for holder in filter(context.reached.holds, script.classes):
            if context.roles_of(script).is_module_class(holder):
                for node in ast.walk(holder):
                    yield from _starts(line, script, node, derived, f"inside {holder.name}")
    if _trains_its_own(context):
        return
    for reached, scripts in context.around:
        for script in scripts:
            for call in filter(reached.mentions, script.calls):
                yield from _starts(line, script, call, derived, "another file may wrap the model")


def _starts(
    line: int, script: Script, node: ast.AST, derived: dict[str, Script], where: str
) -> Iterator[_Mention]:
    name = script.called(node) or (ast.unparse(node.func) if isinstance(node, ast.Call) else "")
    if isinstance(node, ast.Call) and (starts_threads(name) or name.split(".")[-1] in derived):
        yield line, script, node.func, where


def _trains_its_own(context: Context) -> bool:
    """Whether a model that this file makes runs in its training, or is handed to what does, and none from outside."""
    statements = (s for r in context.training.regions for s in r.statements)
    calls = [n for s in statements for n in ast.walk(s) if isinstance(n, ast.Call)]
    if any({o.kind for o in context.roles.origins(c.func)} == {"parameter"} for c in calls):
        return False  # what this file makes may be the losses
    return bool(trained_models(context)) or any(is_model(context, a) for c in calls for a in c.args)


def _obstacle(context: Context) -> str | None:
    """Why a hook would not do: nothing calls it, or not before the first computation."""
    for script in [context.script, *context.project.values()]:
        if found := next((w for w in sorted(_HOOK_LOST) if w in script.spelled), None):
            return f"{found} is in use, and only a hook could tell them"
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
    return None
