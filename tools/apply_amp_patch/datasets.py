"""What kind of data a DataLoader is given, as far as the project shows it, and whether workers can receive it."""

import ast
from typing import TypeGuard

from .context import Context
from .roles import Roles

_MEMORY = {"torch.utils.data.TensorDataset", "torch.utils.data.dataset.TensorDataset"}
_OPENS = {"open", "h5py.File", "lmdb.open", "zipfile.ZipFile", "tarfile.open", "sqlite3.connect"}
_MAPS = ("torchvision.datasets.", "torch.utils.data.", "datasets.load_", "torchaudio.datasets.")


def kind_of_data(context: Context, call: ast.Call) -> str:
    """memory, stream (every worker would yield all of it), shared (it has state), map (indexed), or unknown."""
    given = {k.arg: k.value for k in call.keywords}
    data = call.args[0] if call.args else given.get("dataset")
    if data is None:
        return "unknown"
    kinds = {_kind(context, o.kind, o.name, o.node) for o in context.roles.origins(data)}
    if _is_list(context, data):
        return "memory"
    for kind in ("stream", "shared", "memory"):
        if kind in kinds:
            return kind
    shuffled = given.get("shuffle") or (call.args[2] if len(call.args) > 2 else None)
    if "sampler" in given or (isinstance(shuffled, ast.Constant) and shuffled.value is True):
        return "map"  # an iterable dataset allows neither
    return "map" if kinds == {"map"} else "unknown"


def _kind(context: Context, origin: str, name: str, node: ast.AST | None) -> str:
    if origin == "instance" and isinstance(node, ast.ClassDef):
        return _class_kind(context.roles, node)
    if origin != "call":
        return "unknown"
    found = context.class_elsewhere(name)
    if found is not None:
        return _class_kind(Roles(found[0]), found[1])
    if name in _MEMORY or name == "builtins.range":
        return "memory"
    if "Iterable" in name or "streaming" in name.lower():
        return "stream"
    return "map" if name.startswith(_MAPS) else "unknown"


def _class_kind(roles: Roles, holder: ast.ClassDef) -> str:
    """A class is a stream by its base, unless it asks which worker it runs in."""
    if any("IterableDataset" in base for base in roles.base_names(holder)):
        asks = any(getattr(n, "attr", getattr(n, "id", "")) == "get_worker_info" for n in ast.walk(holder))
        return "map" if asks else "stream"
    if _has_state(holder):
        return "shared"
    return "map" if any(n.startswith("torch.utils.data.") for n in roles.base_names(holder)) else "unknown"


def _has_state(holder: ast.ClassDef) -> bool:
    """A dataset that keeps a file open, or that reading an item changes: workers would read its copies or one file."""
    methods = {f.name: f for f in holder.body if isinstance(f, ast.FunctionDef)}
    opened = [n for n in ast.walk(methods["__init__"]) if _opens(n)] if "__init__" in methods else []
    item = methods.get("__getitem__")
    return bool(opened) or (item is not None and any(_changes(n) for s in item.body for n in _unguarded(s)))


def _opens(node: ast.AST) -> bool:
    """`self.file = open(...)`, outside of a with block."""
    if not (isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)):
        return False
    kept = any(isinstance(t, ast.Attribute) for t in node.targets)
    return kept and ast.unparse(node.value.func) in _OPENS


def _unguarded(statement: ast.stmt) -> list[ast.AST]:
    """The nodes of a statement, without what happens once, under `if self.file is None`."""
    return (
        []
        if isinstance(statement, ast.If) and "None" in ast.unparse(statement.test)
        else list(ast.walk(statement))
    )


def _changes(node: ast.AST) -> bool:
    """`self.position += 1`, `self.file.readline()`."""
    targets = (
        node.targets
        if isinstance(node, ast.Assign)
        else [node.target]
        if isinstance(node, ast.AugAssign)
        else []
    )
    if any(isinstance(t, ast.Attribute) for t in targets):
        return True
    read = (
        isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "readline"
    )
    return read and "self." in ast.unparse(node)


def unpicklable(context: Context, call: ast.Call) -> bool:
    """Whether the data, or what collates them, holds a lambda or an inner function or class."""
    script = context.script
    given = [
        *call.args[:1],
        *(k.value for k in call.keywords if k.arg in ("dataset", "collate_fn", "worker_init_fn")),
    ]
    names = {ast.unparse(g) for g in given}
    for method in ("set_transform", "with_transform"):
        for change in context.script.method_calls(method):
            assert isinstance(change.func, ast.Attribute)
            given += change.args if ast.unparse(change.func.value) in names else []
    seen: set[ast.AST] = set()
    while given:
        for node in _held(context, given.pop()):
            if node not in seen:
                seen.add(node)
                if isinstance(node, ast.Lambda):
                    return True
                if isinstance(node, ast.FunctionDef | ast.ClassDef) and script.function(node) is not None:
                    return True
                if isinstance(node, ast.expr):
                    given.append(node)
    return False


def changes(context: Context, call: ast.Call) -> bool:
    """Whether a loop changes the dataset from epoch to epoch, which workers that stay would not see."""
    script = context.script
    data = call.args[0] if call.args else next((k.value for k in call.keywords if k.arg == "dataset"), None)
    names = {ast.unparse(data)} if data is not None else set()
    for node in script.nodes:
        stored = isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
        if not (stored or isinstance(script.parents.get(node), ast.Call)) or script.loop(node) is None:
            continue
        owner = node.value if isinstance(node, ast.Attribute) else None
        if owner is not None and (getattr(owner, "attr", "") == "dataset" or ast.unparse(owner) in names):
            return True
    return False


def gpu_line(context: Context, call: ast.Call) -> int | None:
    """The line of this file from which a dataset or the loader's collate function put tensors on a device."""
    for script in (context.script, *context.project.values()):
        for holder in script.classes:
            moved = next((n for n in ast.walk(holder) if _to_gpu(n)), None)
            bases = context.roles_of(script).base_names(holder) if moved is not None else []
            if moved is not None and any(b.startswith("torch.utils.data.") for b in bases):
                return moved.lineno if script is context.script else call.lineno
    given = {k.arg: k.value for k in call.keywords}
    queue = [given["collate_fn"]] if "collate_fn" in given else []
    seen: set[ast.AST] = set()
    while queue:
        value = queue.pop()
        if value in seen:
            continue
        seen.add(value)
        name = context.script.qualified(value.func if isinstance(value, ast.Call) else value) or ""
        if name and any(_to_gpu(n) for _, n in context.named_elsewhere(name)):
            return value.lineno
        for node in _held(context, value):
            if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Lambda):
                if found := next((n for n in ast.walk(node) if _to_gpu(n)), None):
                    return found.lineno
            elif isinstance(node, ast.expr):
                queue.append(node)
    return None


def _to_gpu(node: ast.AST) -> TypeGuard[ast.Call]:
    """`x.cuda()`, `x.to(device)`."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
        return False
    return node.func.attr == "cuda" or (node.func.attr == "to" and "device" in ast.unparse(node))


def _held(context: Context, value: ast.AST) -> list[ast.AST]:
    """The values that an expression is built of: its arguments, and what names stand for."""
    script = context.script
    if isinstance(value, ast.Name):
        bound = script.bindings(value.id, value)
        return [
            n
            for b in bound
            for n in (b.node if b.kind in ("class", "function") else b.value,)
            if n is not None
        ]
    if isinstance(value, ast.Attribute):
        return [v for _, v, _ in context.roles.assigned(value)]
    if isinstance(value, ast.Call):
        if (script.called(value) or "").startswith("builtins."):  # sorted(..., key=lambda ...)
            return []
        return [value.func, *value.args, *(k.value for k in value.keywords)]
    return list(ast.iter_child_nodes(value)) if isinstance(value, ast.expr) else []


def _is_list(context: Context, data: ast.expr) -> bool:
    if isinstance(data, ast.List | ast.ListComp):
        return True
    if not isinstance(data, ast.Name):
        return False
    return any(
        isinstance(b.value, ast.List | ast.ListComp) and b.index is None
        for b in context.script.bindings(data.id, data)
    )
