"""Which statements a value depends on: definitions and uses by path, and the slice behind a loss."""

import ast
from dataclasses import dataclass, field

from .names import Function
from .roles import Roles
from .script import Script

_GROWS_WORDS = (
    "append extend add update insert setdefault copy_ add_ mul_ fill_ push index_add_ index_copy_ index_put_ "
    "index_fill_ scatter_ scatter_add_ masked_scatter_"
)
_GROWS = frozenset(_GROWS_WORDS.split())

_TYPES = ("sklearn.", "pandas.", "torch.HalfTensor", "torch.ByteTensor", "collections.")

# Calls that move or make data and run no layer; everything else may be a forward pass.
_DATA_WORDS = (
    "to cuda cpu view reshape size dim float double long int bool half detach clone contiguous unsqueeze "
    "squeeze unsqueeze_ squeeze_ permute transpose t repeat expand expand_as item numpy tolist "
    "requires_grad_ fill_ normal_ uniform_ zero_ data_ type type_as pin_memory flatten next values items "
    "keys get pop append extend train eval zero_grad format join split strip startswith copy resize_ "
    "copy_ resize_as_ new new_zeros new_ones new_tensor numel nelement is_cuda set_epoch astype "
    "parameters named_parameters state_dict update set_description set_postfix write add_scalar info "
    "debug warning non_blocking shape ndimension index_select narrow chunk record_stream "
    "is_floating_point lower upper seed sum_ tqdm insert remove reverse index count appendleft popleft clear "
    "replace encode decode rstrip lstrip endswith title find sort reset render close "
)
DATA_METHODS = frozenset(_DATA_WORDS.split())
_DATA_PACKAGES = (
    "builtins.",
    "numpy.",
    "random.",
    "time.",
    "math.",
    "os.",
    "sys.",
    "torch.autograd.Variable",
    "torch.autograd.variable.Variable",
    "torch.from_numpy",
    "torch.tensor",
    "torch.as_tensor",
    "torch.zeros",
    "torch.ones",
    "torch.rand",
    "torch.randn",
    "torch.randint",
    "torch.randperm",
    "torch.arange",
    "torch.full",
    "torch.eye",
    "torch.empty",
    "torch.linspace",
    "torch.normal",
    "torch.cat",
    "torch.stack",
    "torch.Tensor",
    "torch.FloatTensor",
    "torch.LongTensor",
    "torch.cuda.",
    "torch.device",
    "torch.manual_seed",
    "torch.no_grad",
    "torch.set_grad_enabled",
    "torch.distributions.",
    "itertools.",
    "datetime.",
    "tqdm.",
    "logging.",
    "torch.utils.data.",
    "torchvision.transforms.",
    "torchvision.datasets.",
    "PIL.",
    "cv2.",
    "pandas.",
    "sklearn.",
    "gym.",
    "gymnasium.",
    "matplotlib.",
    "collections.",
)
LAYER_FUNCTIONS = {
    *(f"torch.nn.functional.{n}" for n in ("linear", "conv1d", "conv2d", "conv3d", "embedding", "bilinear")),
    "torch.nn.functional.scaled_dot_product_attention",
    *(f"torch.{n}" for n in ("mm", "matmul", "bmm", "einsum", "addmm")),
    "torch.utils.checkpoint.checkpoint",
}
_TENSOR_WORDS = (
    "mean sum pow exp log sqrt abs max min norm clamp mul add sub div std var prod masked_fill gather "
    "argmax topk log_prob entropy sample rsample sigmoid tanh softmax relu eq ne gt lt ge le "
    "masked_select dot sort "
)
TENSOR_METHODS = frozenset(_TENSOR_WORDS.split())

# Methods and attributes whose result no gradient passes: plain numbers, and tensors that serve as targets too.
NUMBERS = frozenset({"item", "tolist", "numpy"})
DETACHED = NUMBERS | {"detach", "data"}


def path(node: ast.AST) -> str | None:
    """`name`, `self.name` or `a.b.c` as text; None for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        owner = path(node.value)
        return f"{owner}.{node.attr}" if owner else None
    return None


def uses(node: ast.AST, script: Script | None = None, cuts: frozenset[str] = NUMBERS) -> set[str]:
    """The paths whose values an expression or statement reads. `a.b` counts as `a` too, unless `a` is self.

    What is called is no value: `model(x)` reads x. With `script`, what `cuts` take out of a value does not count.
    """
    found: set[str] = set()
    called = {n.func for n in ast.walk(node) if isinstance(n, ast.Call)}
    called |= {f.value for f in called if isinstance(f, ast.Attribute) and f.attr in ("forward", "__call__")}
    skipped = {inner for f in called if path(f) and not _on_value(f) for inner in ast.walk(f)}
    if script is not None:
        taken = [n for n in ast.walk(node) if _detached(script, n, cuts)]
        skipped |= {inner for cut in taken for inner in ast.walk(cut)}
    for inner in ast.walk(node):
        if inner in skipped:
            continue
        if (
            isinstance(inner, ast.Name)
            and inner.id not in ("self", "cls")
            and isinstance(inner.ctx, ast.Load)
        ):
            found.add(inner.id)
        elif isinstance(inner, ast.Attribute):
            text = path(inner)
            if text:
                found.add(text)
        elif isinstance(inner, ast.AugAssign) and (text := path(inner.target)):
            found.add(text)
    return found


def _detached(script: Script, node: ast.AST, cuts: frozenset[str]) -> bool:
    """What no gradient passes: a new tensor of plain numbers, or numbers taken out of one."""
    if isinstance(node, ast.Attribute) and node.attr == "data":
        return "data" in cuts
    if not isinstance(node, ast.Call):
        return False
    method = node.func.attr if isinstance(node.func, ast.Attribute) else ""
    return method in cuts or script.called(node) in (
        "torch.tensor",
        "torch.from_numpy",
    )


def _on_value(function: ast.expr) -> bool:
    """`loss.mean()` reads `loss`; `self.net(x)` and `model(x)` read neither."""
    return isinstance(function, ast.Attribute) and not (
        isinstance(function.value, ast.Name) and function.value.id in ("self", "cls")
    )


@dataclass
class Flow:
    """Definitions and uses in one script, with the attributes that calls of its own methods set."""

    script: Script
    roles: Roles
    _defs: dict[ast.AST, set[str]] = field(default_factory=dict)
    _sets: dict[ast.AST, set[str]] = field(default_factory=dict)
    _forward: dict[ast.AST, bool] = field(default_factory=dict)
    _models: dict[ast.AST, bool] = field(default_factory=dict)

    def defs(self, node: ast.AST) -> set[str]:
        """The paths that running a statement may set or change."""
        if node not in self._defs:
            self._defs[node] = self._find_defs(node)
        return self._defs[node]

    def _find_defs(self, node: ast.AST) -> set[str]:
        found: set[str] = set()
        stack: list[ast.AST] = [node]
        while stack:
            inner = stack.pop()
            if isinstance(inner, Function | ast.ClassDef | ast.Lambda) and inner is not node:
                continue
            if isinstance(inner, ast.Name | ast.Attribute) and not isinstance(inner.ctx, ast.Load):
                text = path(inner)
                if text:
                    found.add(text)
            elif isinstance(inner, ast.Subscript) and isinstance(inner.ctx, ast.Store):
                text = path(inner.value)
                if text:
                    found.add(text)
            elif isinstance(inner, ast.Call) and isinstance(inner.func, ast.Attribute):
                owner = path(inner.func.value)
                if owner and inner.func.attr in _GROWS:
                    found.add(owner)
                found |= self._set_by(inner, owner)
            stack.extend(ast.iter_child_nodes(inner))
        return found

    def _set_by(self, call: ast.Call, owner: str | None) -> set[str]:
        """The attributes that a method of this file sets on its object, as the caller writes them."""
        found: set[str] = set()
        for function in self.roles.callees(call):
            for attribute in self.attributes_set(function):
                found.add(f"{owner}.{attribute}" if owner else attribute)
        return found

    def attributes_set(self, function: Function) -> set[str]:
        if function not in self._sets:
            self._sets[function] = set()
            me = function.args.args[0].arg if function.args.args else "self"
            inside = self._find_defs_of_body(function)
            self._sets[function] = {p.removeprefix(f"{me}.") for p in inside if p.startswith(f"{me}.")}
        return self._sets[function]

    def _find_defs_of_body(self, function: Function) -> set[str]:
        return {p for statement in function.body for p in self._find_defs(statement)}

    def runs_layers(self, node: ast.AST) -> bool:
        """Whether evaluating this may run a layer or a loss: any call that is not known to move or make data."""
        for inner in ast.walk(node):
            if isinstance(inner, ast.BinOp) and isinstance(inner.op, ast.MatMult):
                return True
            if isinstance(inner, ast.Call) and self.call_runs_layers(inner):
                return True
        return False

    def call_runs_layers(self, call: ast.Call) -> bool:
        """Whether a call itself may run a layer or a loss."""
        name = self.script.called(call)
        if name:
            if name.startswith("builtins.super") or name == "builtins.getattr":
                return False
            return not name.startswith(_DATA_PACKAGES)
        functions = self.roles.callees(call)
        if functions:
            return any(self._function_runs_layers(f) for f in functions)
        owner = call.func.value if isinstance(call.func, ast.Attribute) else call.func
        origins = self.roles.origins(owner)
        if origins and all(
            o.kind in ("call", "import") and o.name.startswith((*_DATA_PACKAGES, *_TYPES)) for o in origins
        ):
            return (
                isinstance(call.func, ast.Attribute)
                and any(o.name.startswith("torch") for o in origins)
                and (call.func.attr not in DATA_METHODS)
            )
        if isinstance(call.func, ast.Attribute):
            return call.func.attr not in DATA_METHODS
        return not any(o.kind == "class" for o in self.roles.origins(call.func))

    def _function_runs_layers(self, function: Function) -> bool:
        if function not in self._forward:
            self._forward[function] = False
            if self.script.method_class(function) is not None and function.name in ("forward", "__call__"):
                self._forward[function] = True
            else:
                self._forward[function] = any(self.runs_layers(s) for s in function.body)
        return self._forward[function]

    def calls_model(self, node: ast.AST) -> bool:
        """Whether evaluating this runs a model: a layer, a callable object, or a matrix product of parameters."""
        return any(self.is_model_call(inner) for inner in ast.walk(node))

    def is_model_call(self, node: ast.AST) -> bool:
        """Whether the node itself runs a model, whatever it is given."""
        if isinstance(node, ast.BinOp):
            return isinstance(node.op, ast.MatMult)
        if not isinstance(node, ast.Call):
            return False
        name = self.script.called(node)
        if name:
            return name in LAYER_FUNCTIONS or not name.startswith((*_DATA_PACKAGES, "torch."))
        functions = self.roles.callees(node)
        if functions:
            return any(self._function_calls_model(f) for f in functions)
        origins = self.roles.origins(node.func)
        if origins and all(o.kind == "call" and o.name.endswith("Loss") for o in origins):
            return False
        if isinstance(node.func, ast.Attribute) and node.func.attr in TENSOR_METHODS:
            return False
        return self.call_runs_layers(node)

    def _function_calls_model(self, function: Function) -> bool:
        if function not in self._models:
            self._models[function] = False
            layer = self.script.method_class(function) is not None and function.name in (
                "forward",
                "__call__",
            )
            self._models[function] = layer or any(self.calls_model(s) for s in function.body)
        return self._models[function]
