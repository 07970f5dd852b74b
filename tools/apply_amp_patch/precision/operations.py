"""Operations that lower precision breaks: without a half kernel, or of mixed dtypes."""

import ast

from ..patch import Declined
from ..script import Script
from .coordinates import is_product, multiplies_coordinates
from .iterations import iterates_to_tolerance
from .moments import subtracts_moments
from .penalties import is_inner_step, is_penalty

_FFT = (
    "torch.fft.",
    "torch.stft",
    "torch.istft",
    "torch.rfft",
    "torch.irfft",
    "torch.complex",
    "torch.polar",
)
_COMPLEX = ("torch.view_as_complex", "torch.view_as_real", "torch.cfloat", "torch.cdouble")
_LINALG = (
    "torch.linalg.",
    "torch.inverse",
    "torch.cholesky",
    "torch.svd",
    "torch.det",
    "torch.logdet",
    "torch.slogdet",
    "torch.symeig",
    "torch.qr",
    "torch.pinverse",
    "torch.lu",
    "torch.triangular_solve",
    "torch.lstsq",
)
_LINALG_FINE = (
    "torch.linalg.norm",
    "torch.linalg.vector_norm",
    "torch.linalg.matmul",
    "torch.linalg.multi_dot",
)
_SPARSE = (
    "torch.sparse.",
    "torch.spmm",
    "torch.sparse_coo_tensor",
    "torch.sparse_csr_tensor",
    "torch_sparse.",
)
_SOLVERS = ("torchdiffeq.", "torchsde.", "torchode.", "torchdyn.", "torchcde.", "diffrax.")
_DOUBLE = {"torch.float64", "torch.double", "torch.DoubleTensor", "torch.cuda.DoubleTensor"}
_HALF = {"torch.float16", "torch.half", "torch.bfloat16", "torch.HalfTensor", "torch.cuda.HalfTensor"}
_METHODS = {
    **dict.fromkeys(("fft", "rfft", "irfft", "stft"), "fft_or_complex"),
    **dict.fromkeys(("inverse", "logdet"), "linear_algebra"),
    **dict.fromkeys(("to_sparse", "coalesce"), "sparse"),
}
_SCATTER = {
    "index_add_",
    "index_add",
    "scatter_add_",
    "scatter_add",
    "index_copy_",
    "index_put_",
    "scatter_reduce_",
}
_SCATTER_VALUE = {"scatter_", "scatter"}
_WHOLE = {"float", "long", "int", "bool", "argmax", "size", "shape"}
_SIMPLEX = {"Categorical", "OneHotCategorical", "Multinomial"}


def refuse_unsafe(script: Script, node: ast.AST, line: int, where: str) -> None:
    """Raise for operations that have no kernel in half precision, or mix dtypes."""
    name = script.qualified(node) if isinstance(node, ast.Attribute | ast.Name) else None
    if name:
        if name.startswith((*_FFT, *_COMPLEX)) or name in ("torch.complex64", "torch.complex128"):
            raise Declined(line, "fft_or_complex", f"{name}{where} has no half-precision kernel")
        if name.startswith(_LINALG) and not name.startswith(_LINALG_FINE):
            raise Declined(line, "linear_algebra", f"{name}{where} has no half-precision kernel")
        if name.startswith(_SPARSE):
            raise Declined(line, "sparse", f"{name}{where} does not mix with half-precision operands")
        if name.startswith(_SOLVERS):
            note = f"{name}{where} bounds its error below what half precision rounds to"
            raise Declined(line, "adaptive_solver", note)
        if name in _DOUBLE:
            raise Declined(line, "float64", f"{name}{where} is not autocast")
        if name in _HALF:
            raise Declined(
                line, "own_low_precision", f"{name}{where}: the script chooses a low precision itself"
            )
    if _expands_distance(script, node):
        note = f"|x|^2 - 2xy + |y|^2{where} cancels: half precision cannot tell near points apart"
        raise Declined(line, "cancellation", note)
    if subtracts_moments(script, node):
        note = f"a variance{where} is the difference of two convolutions, whose half results hold two or three digits"
        raise Declined(line, "cancellation", note)
    if multiplies_coordinates(script, node):
        note = f"{ast.unparse(node)}{where} multiplies pixel coordinates, which half precision rounds to whole pixels"
        raise Declined(line, "coordinates", note)
    if isinstance(node, ast.Assert) and _compares_dtypes(script, node.test):
        note = (
            f"`{ast.unparse(node.test)}`{where} fails under autocast: the script chooses a precision itself"
        )
        raise Declined(line, "own_low_precision", note)
    if iterates_to_tolerance(script, node):
        note = f"a loop{where} goes on until an error is smaller than half precision resolves"
        raise Declined(line, "adaptive_solver", note)
    if probabilities_of(script, node):
        raise Declined(line, "probabilities", f"a distribution{where} checks that they sum to 1 within 1e-6")
    if _sets_data(script, node):
        note = f"`.data = ...`{where} keeps what a product gives, and autocast makes that half"
        raise Declined(line, "in_place_scatter", note)
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
        return
    method = node.func.attr
    if method == "double" and not _is_count(script, node.func.value):
        raise Declined(line, "float64", f".double(){where}: float64 tensors are not autocast")
    if method in ("half", "bfloat16"):
        raise Declined(
            line, "own_low_precision", f".{method}(){where}: the script chooses a low precision itself"
        )
    if _is_own_method(script, node):
        return
    if method in _METHODS:
        raise Declined(line, _METHODS[method], f".{method}(){where} has no half-precision kernel")
    constant = len(node.args) > 2 and (
        _is_number(script, node.args[2])
        or _set_at_start(script, node.args[2], of_number=not _is_new(script, node.func.value))
    )
    if _of_one_dtype(script, node) or _puts_integers(node):
        return
    if method in _SCATTER or (method in _SCATTER_VALUE and len(node.args) > 2 and not constant):
        raise Declined(
            line,
            "in_place_scatter",
            f".{method}(){where} needs equal dtypes, and autocast makes one of them half",
        )


def _puts_integers(call: ast.Call) -> bool:
    """`drawn.index_copy_(0, where, torch.multinomial(p, 1))`."""
    whole = {"multinomial", "argmax", "long", "int", "bool"}
    source = call.args[-1] if call.args else None
    return source is not None and any(getattr(n, "attr", "") in whole for n in ast.walk(source))


def _is_own_method(script: Script, call: ast.Call) -> bool:
    """`self.scatter(...)` of a class that defines it or derives from DataParallel; a flow's `inverse(z, logdet)`."""
    assert isinstance(call.func, ast.Attribute)
    if call.func.attr == "inverse" and (call.args or call.keywords):
        return True  # a tensor's takes nothing
    function = script.function(call)
    holder = script.method_class(function) if function is not None else None
    if holder is None or ast.unparse(call.func.value) not in ("self", "cls", "super()"):
        return False
    bases = [ast.unparse(base).split(".")[-1] for base in holder.bases]
    parallel = any("DataParallel" in base for base in bases) and call.func.attr == "scatter"
    return parallel or any(getattr(f, "name", "") == call.func.attr for f in holder.body)


def _sets_data(script: Script, node: ast.AST) -> bool:
    """`v.data = torch.mv(w, u)`, as hand-written spectral norms do."""
    if not isinstance(node, ast.Assign):
        return False
    if not any(isinstance(t, ast.Attribute) and t.attr == "data" for t in node.targets):
        return False
    return any(is_product(n) or script.called(n) == "torch.mv" for n in ast.walk(node.value))


def derives_twice(script: Script, node: ast.AST) -> bool:
    """`torch.autograd.grad(..., create_graph=True)`."""
    if not isinstance(node, ast.Call) or script.called(node) != "torch.autograd.grad":
        return False
    return any(k.arg == "create_graph" and ast.unparse(k.value) == "True" for k in node.keywords)


def refuse_derivative(script: Script, node: ast.AST, line: int, where: str) -> None:
    """Raise for a layer whose output is a derivative (a force, a residual): lost digits stay in it."""
    if not isinstance(node, ast.Call) or not derives_twice(script, node):
        return
    if not is_penalty(script, node) and not is_inner_step(script, node):
        note = f"a layer{where} gives out a derivative of itself, which half precision leaves two digits"
        raise Declined(line, "second_order", note)


def _is_count(script: Script, node: ast.expr) -> bool:
    """`torch.gt(a, b).double()`: whether, as numbers."""
    compares = {f"torch.{name}" for name in ("gt", "ge", "lt", "le", "eq", "ne")}
    return isinstance(node, ast.Compare) or script.called(node) in compares


def _expands_distance(script: Script, node: ast.AST) -> bool:
    """`-2 * x @ y.T` in a function that sums squares: squared distances, as small differences of large numbers."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        factors: list[ast.AST] = [node.left, node.right]
        if not any(_is_product(script, f) for f in factors):
            return False
    elif is_product(node):
        values = [node.left, node.right] if isinstance(node, ast.BinOp) else [*node.args, *node.keywords]  # type: ignore[attr-defined]
        factors = [f for v in values for f in ([v.left, v.right] if isinstance(v, ast.BinOp) else [v])]
    else:
        return False
    if not any(map(_is_two, factors)) or any(_is_float(n) for n in ast.walk(node)):
        return False
    function = script.function(node)
    return any(_sums_squares(n) for n in ast.walk(function if function is not None else script.tree))


def _is_product(script: Script, node: ast.AST) -> bool:
    """A product, or a name for one: `inner = x @ y.T`, `2 * inner`."""
    if not isinstance(node, ast.Name):
        return is_product(node)
    bindings = script.bindings(node.id, node)
    function = script.function(node)
    return any(
        b.value is not None and is_product(b.value) and script.function(b.value) is function for b in bindings
    )


def _is_float(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "float"


def _is_two(node: ast.AST) -> bool:
    if isinstance(node, ast.UnaryOp):
        return _is_two(node.operand)
    if isinstance(node, ast.keyword):
        return _is_two(node.value)
    return isinstance(node, ast.Constant) and node.value in (2, 2.0)


def _sums_squares(node: ast.AST) -> bool:
    """`(x ** 2).sum(1)`, `torch.sum(x * x, 1)`, `torch.norm(x) ** 2`."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
        return isinstance(node.left, ast.Call) and getattr(node.left.func, "attr", "") == "norm"
    summed = isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "sum"
    return summed and any(_squares(n) for n in ast.walk(node))


def _squares(node: ast.AST) -> bool:
    match node:
        case ast.BinOp(op=ast.Pow(), right=right):
            return _is_two(right)
        case ast.BinOp(op=ast.Mult(), left=left, right=right):
            return ast.unparse(left) == ast.unparse(right)
        case ast.Call(func=ast.Attribute(attr="square")):
            return True
        case ast.Call(func=ast.Attribute(attr="pow"), args=[*_, exponent]):
            return _is_two(exponent)
    return False


def _of_one_dtype(script: Script, call: ast.Call) -> bool:
    """`x.new_zeros(n).scatter_add_(0, index, x)`: the buffer has the dtype of what is put into it."""
    assert isinstance(call.func, ast.Attribute)
    owner, source = call.func.value, call.args[-1] if call.args else None
    if not isinstance(owner, ast.Name) or source is None:
        return False
    values = [b.value for b in script.bindings(owner.id, owner)]
    if values and all(_is_like(script, v, source) for v in values):
        return True
    return bool(values) and all(
        isinstance(v, ast.Call)
        and isinstance(v.func, ast.Attribute)
        and v.func.attr in ("new_zeros", "new_ones", "new_full", "new_empty")
        and ast.unparse(v.func.value) == ast.unparse(source)
        for v in values
    )


def _is_like(script: Script, buffer: ast.AST | None, source: ast.expr) -> bool:
    """`torch.full_like(logits, -inf)`, where the source is the largest of the same logits."""
    name = script.called(buffer) if buffer is not None else None
    if not isinstance(buffer, ast.Call) or not (name or "").endswith("_like") or not buffer.args:
        return False
    like = ast.unparse(buffer.args[0])
    bindings = script.bindings(source.id, source) if isinstance(source, ast.Name) else []
    return bool(bindings) and all(
        b.index == 0
        and isinstance(b.value, ast.Call)
        and isinstance(b.value.func, ast.Attribute)
        and b.value.func.attr in ("topk", "sort")
        and like in (ast.unparse(b.value.func.value), *(ast.unparse(a) for a in b.value.args[:1]))
        for b in bindings
    )


def is_float64(script: Script, node: ast.AST) -> bool:
    """`x.double()`, `torch.float64`."""
    if isinstance(node, ast.Attribute | ast.Name):
        return script.qualified(node) in _DOUBLE
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "double"


def takes_numpy(node: ast.AST) -> bool:
    """`x.numpy()`, unless x has been made fp32 or whole numbers just before."""
    if not (
        isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "numpy"
    ):
        return False
    made = list(ast.walk(node.func.value))
    methods = {n.attr for n in made if isinstance(n, ast.Attribute)}
    return not (methods & _WHOLE or any(map(_is_place, made)))


def _is_place(node: ast.AST) -> bool:
    """`torch.max(x, 1)[1]`: where the largest stands."""
    if not isinstance(node, ast.Subscript) or ast.unparse(node.slice) != "1":
        return False
    call = node.value
    return isinstance(call, ast.Call) and ast.unparse(call.func).split(".")[-1] in (
        "max",
        "min",
        "topk",
        "sort",
    )


def _is_number(script: Script, node: ast.expr) -> bool:
    """A constant, or an attribute that this file sets to sums of constants and parameters with numeric defaults."""
    if isinstance(node, ast.Constant | ast.UnaryOp):
        return True
    if isinstance(node, ast.BinOp):
        return _is_number(script, node.left) and _is_number(script, node.right)
    if isinstance(node, ast.Attribute):
        text = ast.unparse(node)
        values = [
            n.value for n in script.nodes if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == text
        ]
        return bool(values) and all(
            not isinstance(v, ast.Attribute) and _is_number(script, v) for v in values
        )
    if isinstance(node, ast.Name):
        bindings = script.bindings(node.id, node)
        return bool(bindings) and all(
            b.kind == "parameter" and _numeric_default(script, b.node) for b in bindings
        )
    return False


def _is_new(script: Script, node: ast.expr) -> bool:
    """A name for a tensor made on the spot, in fp32 under autocast too."""
    if not isinstance(node, ast.Name):
        return False
    values = [b.value for b in script.bindings(node.id, node)]
    names = ("torch.zeros", "torch.ones", "torch.full", "torch.empty")
    return bool(values) and all(isinstance(v, ast.Call) and script.called(v) in names for v in values)


def _set_at_start(script: Script, node: ast.expr, *, of_number: bool) -> bool:
    """An attribute that only `__init__` sets, by arithmetic (with a number): no autocast stands around it."""
    if not isinstance(node, ast.Attribute):
        return False
    text = ast.unparse(node)
    sets = [n for n in script.nodes if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == text]
    plain = (ast.BinOp, ast.Constant, ast.Name, ast.operator, ast.expr_context)
    return bool(sets) and all(
        getattr(script.function(s), "name", "") == "__init__"
        and all(isinstance(n, plain) for n in ast.walk(s.value))
        and (not of_number or any(isinstance(n, ast.Constant) for n in ast.walk(s.value)))
        for s in sets
    )


def _numeric_default(script: Script, parameter: ast.AST) -> bool:
    arguments = script.parents[parameter]
    assert isinstance(arguments, ast.arguments)
    names = [*arguments.posonlyargs, *arguments.args]
    defaults = dict(zip(reversed(names), reversed(arguments.defaults), strict=False))
    default = defaults.get(parameter)  # type: ignore[call-overload]
    return isinstance(default, ast.Constant) and isinstance(default.value, int | float)


def _compares_dtypes(script: Script, test: ast.expr) -> bool:
    """`x.dtype == dtype`, unless that is a kind of whole numbers."""
    if not (isinstance(test, ast.Compare) and isinstance(test.ops[0], ast.Eq)):
        return False
    sides = [test.left, test.comparators[0]]
    names = {
        (script.qualified(s) or "").split(".")[-1] for s in sides if isinstance(s, ast.Attribute | ast.Name)
    }
    whole = any(name.startswith(("int", "uint", "long", "bool", "short")) for name in names)
    return not whole and any(isinstance(s, ast.Attribute) and s.attr == "dtype" for s in sides)


def probabilities_of(script: Script, node: ast.AST) -> list[ast.expr]:
    """What `Categorical(probs)` takes; nothing for `Categorical(logits=...)`."""
    name = script.called(node) or ""
    last = name.split(".")[-1]
    if not isinstance(node, ast.Call) or "distributions." not in name or last not in _SIMPLEX:
        return []
    place = 1 if last == "Multinomial" else 0  # its first argument counts the draws
    return node.args[place : place + 1] or [k.value for k in node.keywords if k.arg == "probs"]
