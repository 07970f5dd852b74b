"""Which dtype autocast gives a value of some file, as far as the file itself shows.

Products (linear layers, convolutions, RNNs, `a @ b`) come out in half precision, what autocast's list for fp32 names
and what is made on the spot in fp32; shapes, activations and averages keep the dtype of what they take, and a sum of
both is fp32. https://docs.pytorch.org/docs/stable/amp.html#cuda-op-specific-behavior
"""

import ast
from collections.abc import Iterable, Iterator

from ..index import returns
from ..names import Function, last_name
from ..once import once
from ..script import Script
from .attributes import set_to
from .coordinates import is_product
from .reaching import reaching

_PRODUCT_FUNCTIONS = {
    *("linear", "bilinear", "conv1d", "conv2d", "conv3d", "scaled_dot_product_attention"),
    *("conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "mv", "addmv"),
}
_PRODUCT_LAYERS = ("Linear", "Bilinear", "Conv", "LSTM", "GRU", "RNN", "MultiheadAttention", "Transformer")
_FULL_LAYERS = {"Embedding", "EmbeddingBag", "LayerNorm", "GroupNorm", "Softmax", "LogSoftmax", "Softplus"}
_WIDENED_WORDS = (
    "pow exp log log2 log10 log1p expm1 rsqrt reciprocal norm softmax log_softmax acos asin cumsum "
    "cumprod sum prod cosh sinh tan float layer_norm group_norm cosine_similarity embedding softplus "
)
_WIDENED = frozenset(_WIDENED_WORDS.split())
_MADE = {"zeros", "ones", "full", "empty", "rand", "randn", "eye", "linspace", "FloatTensor"}
_SAME_WORDS = (
    "relu relu_ relu6 leaky_relu elu selu gelu silu sigmoid tanh hardtanh dropout view reshape permute transpose t "
    "contiguous squeeze unsqueeze flatten chunk split narrow detach clone expand expand_as repeat cuda cpu mean "
    "abs clamp index_select masked_fill gather unfold max min neg sqrt Variable data_ requires_grad_ "
    "zeros_like ones_like full_like empty_like rand_like randn_like new_zeros new_ones new_full new_empty "
)
_SAME = frozenset(_SAME_WORDS.split())
_DEEPEST = 60  # values behind one: what Python's stack holds


def dtype_of(script: Script, node: ast.AST) -> str:
    """`half`, `full`, or nothing where that is not to be seen; `half` where it may be either."""
    return _values_of(script).of(node) or ""


@once
def _values_of(script: Script) -> "_Values":
    return _Values(script)


def _either(kinds: Iterable[str | None]) -> str:
    found = set(kinds) - {None}
    return "half" if "half" in found else "full" if found == {"full"} else ""


def _joined(kinds: Iterable[str | None]) -> str:
    """What an operation on several gives: the widest."""
    found = set(kinds) - {None}
    return "full" if "full" in found else "half" if found == {"half"} else ""


class _Values:
    """Asks of the expressions of one file; each is looked at once."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self._kinds: dict[ast.AST | None, str | None] = {None: ""}
        self._deep = 0

    def of(self, node: ast.AST | None) -> str | None:
        """None for what is being asked: a name may depend on itself around a loop."""
        if node not in self._kinds:
            if self._deep >= _DEEPEST:
                return ""
            self._kinds[node] = None
            self._deep += 1
            self._kinds[node] = self._of(node)
            self._deep -= 1
        return self._kinds[node]

    def _of(self, node: ast.AST | None) -> str:
        match node:
            case ast.Name():
                return _either(self.of(value) for value in self._set_to(node))
            case ast.Attribute(attr="T" | "mT" | "data", value=value):
                return self.of(value) or ""
            case ast.Attribute():
                kept = {last_name(value) for value in set_to(self.script, node)}
                return "full" if kept and kept <= {"Parameter", *_MADE} else ""
            case ast.Subscript(value=value) | ast.UnaryOp(operand=value):
                return self.of(value) or ""
            case ast.IfExp(body=one, orelse=other):
                return _either(self.of(value) for value in (one, other))
            case ast.BinOp(op=ast.MatMult()):
                return "half"
            case ast.BinOp(op=ast.Pow()):
                return "full"
            case ast.BinOp(left=left, right=right):
                return _joined(self.of(side) for side in (left, right) if not isinstance(side, ast.Constant))
            case ast.Call():
                return self._of_call(node)
        return ""

    def _set_to(self, name: ast.Name) -> list[ast.expr | None]:
        """What a name may have been set to where it is used; None for what is not known."""
        found = reaching(self.script, name)
        if found is not None:
            return [d.node if isinstance(d.node, ast.expr) else None for d in found]
        return [b.value if b.kind == "assign" else None for b in self.script.bindings(name.id, name)]

    def _of_call(self, call: ast.Call) -> str:
        name, last = self.script.called(call), last_name(call)
        if (name is None and _is_of_self(call.func)) or not (name or "torch.").startswith("torch."):
            return self._of_layer(call) if name is None else ""
        if is_product(call) or (name and last in _PRODUCT_FUNCTIONS):
            return "half"
        dtypes = [k.value for k in call.keywords if k.arg == "dtype"]
        if dtypes:
            return self._of_dtype(dtypes[0])
        if last in _WIDENED or (name and last in _MADE):
            return "full"
        if last in ("cat", "stack") and call.args and isinstance(call.args[0], ast.List | ast.Tuple):
            return _joined(map(self.of, call.args[0].elts))
        owner = [call.func.value] if name is None and isinstance(call.func, ast.Attribute) else []
        taken = [*owner, *call.args][:1]
        if taken and (last in _SAME or (last == "to" and "dtype" not in ast.unparse(call))):
            return self.of(taken[0]) or ""
        return self._of_layer(call) if name is None else ""

    def _of_dtype(self, dtype: ast.expr) -> str:
        if isinstance(dtype, ast.Attribute) and dtype.attr == "dtype":
            return self.of(dtype.value) or ""
        return "full" if self.script.qualified(dtype) in ("torch.float", "torch.float32") else ""

    def _of_layer(self, call: ast.Call) -> str:
        """What calling something that an object holds gives; one that is not known is taken for a product."""
        kinds = [_of_held(self.script, layer) for layer in _held(self.script, call.func)]
        if not kinds:
            return self._of_method(call)
        given = self.of(call.args[0]) if call.args else ""
        return _either(given if kind == "same" else kind for kind in kinds)

    def _of_method(self, call: ast.Call) -> str:
        """`self.score(x)`, a method of the same class."""
        function = self.script.function(call)
        holder = self.script.method_class(function) if function is not None else None
        if holder is None or not _is_of_self(call.func):
            return ""
        own = [f for f in holder.body if isinstance(f, Function) and f.name == last_name(call)]
        return _either(self.of(v) for f in own for v in returns(self.script, f)) if own else "half"


def _is_of_self(node: ast.expr) -> bool:
    owner = node.value if isinstance(node, ast.Subscript) else node
    return isinstance(owner, ast.Attribute) and ast.unparse(owner.value) == "self"


def _held(script: Script, func: ast.expr) -> list[ast.expr | None]:
    """The layers that `self.cell`, `self.cells[i]` or `cell` of `for cell in self.cells` may be."""
    owner = func.value if isinstance(func, ast.Subscript) else func
    if isinstance(owner, ast.Name):
        loops = [b.value for b in script.bindings(owner.id, owner) if b.kind == "loop"]
        inside = [n for value in loops if value is not None for n in ast.walk(value)]
        named = [n for n in inside if isinstance(n, ast.Attribute) and _is_of_self(n)]
        known = [list[ast.expr | None](set_to(script, n)) for n in named]
        return [layer for layers in known for layer in layers or [None]]
    if isinstance(owner, ast.Attribute) and _is_of_self(owner):
        return list(set_to(script, owner))
    return []


def _of_held(script: Script, layer: ast.expr | None) -> str:
    """`half`, `full`, or `same` for a layer that keeps the dtype that it is given."""
    name = script.called(layer) or "" if isinstance(layer, ast.Call) else ""
    last = name.split(".")[-1]
    if not isinstance(layer, ast.Call) or not name.startswith("torch.nn."):
        return "half"
    if last in ("ModuleList", "ModuleDict", "Sequential"):
        kinds = [_of_held(script, element) for element in _elements(layer)]
        changing = [kind for kind in kinds if kind != "same"]
        if kinds and not changing:
            return "same"
        return _either(changing[-1:] if last == "Sequential" else changing) or "half"
    if last.startswith(_PRODUCT_LAYERS):
        return "half"
    return "full" if last in _FULL_LAYERS else "same"


def _elements(layer: ast.Call) -> Iterator[ast.expr]:
    """The layers that a container is given one by one, or as a list, a generator or a table."""
    for given in layer.args:
        value = given.value if isinstance(given, ast.Starred) else given
        match value:
            case ast.List(elts=elements) | ast.Tuple(elts=elements) | ast.Dict(values=elements):
                yield from elements
            case ast.ListComp(elt=element) | ast.GeneratorExp(elt=element):
                yield element
            case _:
                yield value
