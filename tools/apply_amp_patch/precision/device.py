"""The device a script trains on, as an expression that names its type."""

import ast
from dataclasses import dataclass
from functools import cached_property
from typing import TypeGuard

from ..context import Context
from ..flow import path
from ..models import makes_model, trained_models
from ..origins import Origin
from ..prelude import free_name
from ..script import Script

_DEVICES = ("torch.device", "torch.accelerator.current_accelerator")
# Asking a GPU for bf16 when the module is imported starts CUDA. A process that hides GPUs or forks after that fails.
_FORKS = ("torch.multiprocessing.", "multiprocessing.", "os.fork")
_FORKS_FINE = (
    "spawn",
    "set_start_method",
    "set_sharing_strategy",
    "get_context",
    "cpu_count",
    "Queue",
    "freeze_support",
)


@dataclass
class Device:
    """`literal` is a device type; `late` is the line where the GPU is chosen after import, if it is."""

    context: Context
    literal: str
    late: int | None
    declared: bool = False  # the settings hold the device type under `name`
    unknown: bool = False  # the model comes from outside: the GPU where there is one

    def at(self, node: ast.AST) -> str:
        """Source text of the device type for code at this node."""
        name = self._variable(node)
        unknown = self.choice if self.late else self.name
        return name or (unknown if self.unknown else f'"{self.literal}"')

    @cached_property
    def options(self) -> set[str]:
        return _device_options(self.context)

    @property
    def name(self) -> str:
        """The variable of the settings that holds the device type, where the file does not show it."""
        return free_name(self.context.script, "amp_device")

    @property
    def at_import(self) -> str:
        """The device type for what is decided when the module is imported: not by asking, where that is too early."""
        return f'"{self.literal}"' if self.literal == "cpu" or self.late else self.name

    @property
    def in_call(self) -> str:
        """The device type for what runs in fp32, asked in each call where the import is too early."""
        return self.choice if self.late and self.literal != "cpu" else self.at_import

    @property
    def choice(self) -> str:
        torch = self.context.script.torch_name() or "torch"
        return f'"cuda" if {torch}.cuda.is_available() else "cpu"'

    def _variable(self, node: ast.AST) -> str | None:
        script, roles = self.context.script, self.context.roles
        function = script.function(node)
        best: str | None = None
        for call in script.method_calls("to"):
            target = call.args[0] if call.args else None
            if not isinstance(target, ast.Name | ast.Attribute):
                for keyword in call.keywords:
                    target = keyword.value if keyword.arg == "device" else target
            text = path(target) if target is not None else None
            if text is None or not self._visible(target, text, call, node, function):  # type: ignore[arg-type]
                continue
            origins = roles.origins(target)  # type: ignore[arg-type]
            if origins and all(o.kind == "call" and o.name in _DEVICES for o in origins):
                return f"{text}.type"
            strings = all(
                o.kind == "constant" and o.name[1:-1].split(":")[0] in ("cuda", "cpu", "mps") for o in origins
            )
            names = {o.name for o in origins}
            if (
                origins
                and (strings or names <= {"torch.device", *(o.name for o in origins if o.kind == "constant")})
            ) or (isinstance(target, ast.Attribute) and target.attr in self.options):
                best = best or f"{script.torch_name() or 'torch'}.device({text}).type"
        return best

    def _visible(
        self, target: ast.expr, text: str, call: ast.Call, node: ast.AST, function: ast.AST | None
    ) -> bool:
        """Whether the name means the same at the node as at the call it was seen in."""
        script = self.context.script
        head = text.split(".")[0]
        if head == "self":
            return self._same_object(call, node)
        if script.function(call) is function and script.scope(call) is script.scope(node):
            return self._set_before(head, node)
        seen = script.bindings(head, target)
        return bool(seen) and script.bindings(head, node) is seen and self._set_before(head, node)

    def _same_object(self, call: ast.Call, node: ast.AST) -> bool:
        """`self` is the same in all methods of a class; what __init__ sets is there in each."""
        script = self.context.script
        here, there = script.function(node), script.function(call)
        if here is None or there is None or script.method_class(here) is None:
            return False
        return script.method_class(here) is script.method_class(there) and (
            here is there or there.name == "__init__"
        )

    def _set_before(self, head: str, node: ast.AST) -> bool:
        """A local or module-level name has to be bound above the node when both stand in one scope."""
        script = self.context.script
        for binding in script.bindings(head, node):
            if script.scope(binding.node) is not script.scope(node):
                return True
            if getattr(binding.node, "lineno", 0) < getattr(node, "lineno", 0):
                return True
        return False


def _device_options(context: Context) -> set[str]:
    """The options of the command line whose default names a device."""
    found: set[str] = set()
    for call in context.script.method_calls("add_argument"):
        flags = [a.value for a in call.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
        default = next((k.value for k in call.keywords if k.arg == "default"), None)
        value = default.value if isinstance(default, ast.Constant) else None
        if isinstance(value, str) and value.split(":")[0] in ("cuda", "cpu", "mps"):
            found |= {f.removeprefix("--").replace("-", "_") for f in flags if f.startswith("--")}
    return found


def find_device(context: Context) -> Device:
    """The device of a script: what it moves tensors to, else what its text mentions, else the CPU."""
    script = context.script
    cuda = any(script.method_calls("cuda")) or any(
        isinstance(n, ast.Constant) and isinstance(n.value, str) and n.value.split(":")[0] in ("cuda", "gpu")
        for n in script.nodes
    )
    # what is only asked for an option's sake (of other remedies too) chooses no device
    options = {"pin_memory", "fused"}
    aside = {n for c in script.calls for k in c.keywords if k.arg in options for n in ast.walk(k.value)}
    cuda = cuda or any(
        isinstance(n, ast.Attribute) and n.attr == "cuda" and n not in aside for n in script.nodes
    )
    moved = any(not _to_cpu(context, call) for call in script.method_calls("to"))
    made = bool(trained_models(context)) or _makes_parameters(context)
    given = len(context.around) > 1 or _trains_in_module(context)  # whoever imports or makes it may move it
    given = given or any(other.method_calls("cuda") for other in context.project.values())
    given = given or any((script.called(c) or "").endswith("DataParallel") for c in script.calls)
    known = cuda or moved or (made and not given)
    return Device(
        context, "cpu" if known and not (cuda or moved) else "cuda", _late(context), unknown=not known
    )


def _makes_parameters(context: Context) -> bool:
    """The file itself makes what its optimizer steps: tensors that require gradients, or modules."""
    script = context.script
    if any(k.arg == "requires_grad" for c in script.calls for k in c.keywords):
        return True
    return any(makes_model(script.called(c) or "") for c in script.calls if not _inside_class(script, c))


def _trains_in_module(context: Context) -> bool:
    """Whether a module trains what it holds, as an adversarial loss does: whoever makes it may move it."""
    functions = [context.script.function(b.call) for b in context.training.backwards]
    holders = [context.script.method_class(f) for f in functions if f is not None]
    return any(h is not None and context.roles.is_module_class(h) for h in holders)


def _inside_class(script: Script, node: ast.AST) -> bool:
    return any(isinstance(a, ast.ClassDef) for a in script.ancestors(node))


def _to_cpu(context: Context, call: ast.Call) -> bool:
    """`.to("cpu")` by a constant, or `.to(dtype)`: no move to a GPU."""
    values = [*call.args, *(k.value for k in call.keywords if k.arg == "device")]
    origins = [o for v in values for o in context.roles.origins(v)]
    return all(
        (o.kind == "constant" and "cpu" in o.name)
        or (o.kind == "import" and o.name.startswith("torch."))
        or _is_cpu(o)
        for o in origins
    )


def _is_cpu(origin: Origin) -> bool:
    call = origin.node
    if origin.name != "torch.device" or not isinstance(call, ast.Call) or not call.args:
        return False
    return isinstance(call.args[0], ast.Constant) and call.args[0].value == "cpu"


def _late(context: Context) -> int | None:
    """The line that makes an early question to the GPU unsafe."""
    script = context.script
    hiding = {
        f.name
        for other in context.project.values()
        for f in other.functions
        if not f.name.startswith("__") and any(_hides_gpus(n) for n in ast.walk(f))
    }
    for node in script.nodes:
        name = script.called(node) or ""
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in hiding:
            return node.lineno  # `cfg.set_args(gpu)` of an object that another file made
        if name.startswith(_FORKS) and not name.endswith(_FORKS_FINE):
            return getattr(node, "lineno", 1)
        if _hides_gpus(node):
            return node.lineno
        if isinstance(node, ast.Call) and any(_hides_gpus(n) for _, n in context.run_elsewhere(node)):
            return node.lineno
    return None


def _hides_gpus(node: ast.AST) -> TypeGuard[ast.Constant]:
    return isinstance(node, ast.Constant) and node.value == "CUDA_VISIBLE_DEVICES"
