"""Which tensors come out of autocast in half precision; `.numpy()` of bf16 raises TypeError."""

import ast
from itertools import takewhile

from ..context import Context
from ..flow import path
from ..loops import Region
from ..names import Binding, Function, last_name
from ..script import Script
from .replicas import starts_threads

_SAME_WORDS = (
    "detach cpu cuda to view squeeze unsqueeze clone contiguous permute reshape flatten transpose t mean "
    "sum sigmoid tanh relu softmax log_softmax exp log sqrt abs clamp expand repeat requires_grad_ mul "
    "add sub div index_select gather select narrow topk max min round var std norm prod cumsum cumprod "
    "logsumexp pow square rsqrt reciprocal neg erf sin cos log1p expm1 floor ceil sign masked_select "
    "masked_fill roll flip diag diagonal tril triu unfold softplus "
)
SAME = frozenset(_SAME_WORDS.split())
_INTEGER_WORDS = "long int argmax argmin eq ne gt lt ge le bool byte nonzero multinomial argsort "
_INTEGER = frozenset(_INTEGER_WORDS.split())
_INTEGER_FUNCTIONS = {
    "torch.argmax",
    "torch.argmin",
    "torch.eq",
    "torch.multinomial",
    "torch.randint",
    "torch.argsort",
}
_SAME_FUNCTIONS = {
    "torch.sigmoid",
    "torch.softmax",
    "torch.tanh",
    "torch.exp",
    "torch.squeeze",
    "torch.mean",
    "torch.sum",
    "torch.round",
    "torch.clamp",
    "torch.nn.functional.softmax",
    "torch.nn.functional.sigmoid",
    "torch.nn.functional.normalize",
    "torch.abs",
}
# What these give is floating point for certain, so that a cast to fp32 changes no integer.
_FLOATING = {
    f"{module}.{name}"
    for module in ("torch", "torch.nn.functional")
    for name in ("softmax", "log_softmax", "sigmoid", "tanh", "linear", "conv1d", "conv2d", "normalize")
}
_PAIRS = {"max", "min", "topk", "sort", "kthvalue", "median"}


class Dtypes:
    """Asks of an expression: 'low', 'full', 'integer', or 'unknown' (may be low)."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.functions = _under_autocast(context)
        self.inside: set[ast.AST] = {
            n for region in context.training.regions for s in region.statements for n in ast.walk(s)
        }
        self.inside |= {n for f in self.functions for n in ast.walk(f)}
        self._kinds: dict[ast.AST, str] = {}
        self._settled: set[ast.AST] = set()
        self._asked: set[ast.AST] = set()
        self._risen = False
        self._simple: dict[ast.AST | None, list[ast.stmt]] = {}

    def of(self, node: ast.expr) -> str:
        """A name may depend on itself around a loop: asks again until no kind rises any more."""
        while node not in self._settled:
            self._asked, self._risen = set(), False
            self._kind(node)
            if not self._risen:
                self._settled |= self._asked
        return self._kinds[node]

    def _kind(self, node: ast.expr) -> str:
        if node not in self._asked and node not in self._settled:
            self._asked.add(node)
            found = _join([self._of(node), *([self._kinds[node]] if node in self._kinds else [])])
            self._risen |= found != self._kinds.get(node)
            self._kinds[node] = found
        return self._kinds.get(node, "full")

    def _of(self, node: ast.expr) -> str:
        match node:
            case ast.Constant() | ast.Compare():
                return "integer"
            case ast.Name() | ast.Attribute():
                return self._path(node)
            case ast.Subscript():
                call = node.value
                second = isinstance(node.slice, ast.Constant) and node.slice.value == 1
                if isinstance(call, ast.Call) and second and last_name(call) in _PAIRS:
                    return "integer"
                return self._kind(call)
            case ast.BinOp():
                return _join([self._kind(node.left), self._kind(node.right)])
            case ast.UnaryOp():
                return self._kind(node.operand)
            case ast.IfExp():
                return _join([self._kind(node.body), self._kind(node.orelse)])
            case ast.Call():
                return self._call(node)
        return "unknown" if node in self.inside else "full"

    def _call(self, call: ast.Call) -> str:
        name = self.context.script.called(call)
        if name:
            if name in _INTEGER_FUNCTIONS:
                return "integer"
            if name in _FLOATING and call in self.inside:
                return "low"
            if (
                name in _SAME_FUNCTIONS or name.split(".")[-1] in _PAIRS or name == "torch.autograd.Variable"
            ) and call.args:
                return self._kind(call.args[0])
            if "loss" in name or "cross_entropy" in name:
                return "full"
            if starts_threads(name) and call in self.inside:  # gives what the model gives
                return "low"
            return "unknown" if call in self.inside else self._arguments(call)
        if isinstance(call.func, ast.Attribute):
            method = call.func.attr
            if method == "float" or method in ("item", "tolist", "size"):
                return "full"
            if method in _INTEGER:
                return "integer"
            if method in SAME:
                return self._kind(call.func.value)
        if call not in self.inside:
            return "full"
        losses = self.context.roles.constructor(call.func, "torch.nn.")
        if losses and all(n.endswith("Loss") for n in losses):
            return "full"
        if self.context.training.flow.calls_model(call):
            return "low"
        return "unknown" if self.context.training.flow.runs_layers(call) else "full"

    def _arguments(self, call: ast.Call) -> str:
        """A function applied outside of autocast gives what it was given, at worst."""
        found = _join([self._kind(a) for a in call.args]) if call.args else "full"
        return "unknown" if found == "low" else found

    def _path(self, node: ast.Name | ast.Attribute) -> str:
        if isinstance(node, ast.Attribute) and node.attr in ("data", "T"):
            return self._kind(node.value)
        text = path(node)
        if text is None:
            return "full"
        found = []
        function = self.context.script.function(node)
        bindings = self.context.script.bindings(node.id, node) if isinstance(node, ast.Name) else []
        drawn = bool(bindings) and all(b.kind == "loop" for b in bindings)
        setters = [] if drawn else self._set_last(node, text) or self._setters(text, function)
        for statement in setters:
            if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
                found.append(self._assigned(statement, text))
            else:
                found.append("unknown" if statement in self.inside else "full")
        loops = [b for b in bindings if b.kind == "loop"]
        found += [self._kind(values) for b in loops if (values := _drawn_from(b)) is not None]
        return _join(found)

    def _set_last(self, node: ast.Name | ast.Attribute, text: str) -> list[ast.stmt]:
        """The assignment of a name that precedes its use in the same block, if that shows which one holds."""
        script, flow = self.context.script, self.context.training.flow
        statement = script.statement(node)
        if not isinstance(node, ast.Name) or any(
            isinstance(a, ast.Lambda | Function) for a in _up_to(script, node, statement)
        ):
            return []
        if not isinstance(statement, ast.Assign | ast.Expr) and text in flow.defs(statement):
            return []
        block = script.block(statement)
        for earlier in reversed(block[: block.index(statement)]):
            if text in flow.defs(earlier) and not _fills(earlier, text):
                return [earlier] if isinstance(earlier, ast.Assign) else []
        return []

    def _setters(self, text: str, function: ast.AST | None) -> list[ast.stmt]:
        flow = self.context.training.flow
        if function not in self._simple:
            script = self.context.script
            within = (
                ast.walk(function)
                if function is not None
                else (n for n in script.nodes if not script.function(n))
            )
            kinds = ast.Assign | ast.AugAssign | ast.AnnAssign | ast.Expr
            self._simple[function] = [n for n in within if isinstance(n, kinds)]
        return [s for s in self._simple[function] if text in flow.defs(s) and not _fills(s, text)]

    def _assigned(self, statement: ast.Assign, text: str) -> str:
        target = statement.targets[0]
        if path(target) == text:
            return self._kind(statement.value)
        if isinstance(target, ast.Tuple) and isinstance(statement.value, ast.Tuple):
            for element, value in zip(target.elts, statement.value.elts, strict=False):
                if path(element) == text:
                    return self._kind(value)
        if (
            isinstance(target, ast.Tuple)
            and isinstance(statement.value, ast.Call)
            and last_name(statement.value) in _PAIRS
        ):
            return "integer" if path(target.elts[-1]) == text else self._kind(statement.value)
        return self._kind(statement.value)


def _up_to(script: Script, node: ast.AST, last: ast.AST) -> list[ast.AST]:
    above = script.ancestors(node)
    return list(takewhile(lambda a: a is not last, above))


def _drawn_from(binding: Binding) -> ast.expr | None:
    """What a loop's variable is an element of; None for a count."""
    match binding.value:
        case ast.Call(func=ast.Name(id="zip"), args=args) if binding.index is not None:
            return args[binding.index] if binding.index < len(args) else None
        case ast.Call(func=ast.Name(id="enumerate"), args=[values, *_]):
            return values if binding.index == 1 else None
    return binding.value


def _under_autocast(context: Context) -> list[Function]:
    """The functions that run in a region: the forward of each module of this file, and what is called."""
    roles = context.roles
    found = {
        f: None
        for f in context.script.functions
        if f.name in ("forward", "__call__")
        and (holder := context.script.method_class(f)) is not None
        and roles.is_module_class(holder)
    }
    queue: list[ast.AST] = [*found, *(s for r in context.training.regions for s in r.statements)]
    while queue:
        for call in (n for n in ast.walk(queue.pop()) if isinstance(n, ast.Call)):
            for function in roles.callees(call):
                if function not in found and function.name != "__init__":
                    found[function] = None
                    queue.append(function)
    return list(found)


def _join(kinds: list[str]) -> str:
    for kind in ("unknown", "low", "full"):
        if kind in kinds:
            return kind
    return "integer" if kinds else "full"


def region_functions(context: Context, regions: list[Region]) -> set[ast.AST | None]:
    return {context.script.function(r.first) for r in regions}


def _fills(statement: ast.stmt, text: str) -> bool:
    """`values[step] = value` converts to the dtype that `values` has."""
    targets = statement.targets if isinstance(statement, ast.Assign) else []
    return bool(targets) and all(isinstance(t, ast.Subscript) and path(t.value) == text for t in targets)
