"""Operations that lower precision breaks: without a half kernel, of mixed dtypes, or with constants out of range."""

import ast
from collections.abc import Callable
from operator import add, mul, sub

from ..patch import Declined
from ..script import Script

_LARGEST_FP16 = 65504
_SMALLEST_FP16 = 6e-8

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
_SIGNS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: add,
    ast.Sub: sub,
    ast.Mult: mul,
    ast.Pow: pow,
}
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
    if _takes_probabilities(script, node):
        raise Declined(line, "probabilities", f"a distribution{where} checks that they sum to 1 within 1e-6")
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
        return
    method = node.func.attr
    if method == "double":
        raise Declined(line, "float64", f".double(){where}: float64 tensors are not autocast")
    if method in ("half", "bfloat16"):
        raise Declined(
            line, "own_low_precision", f".{method}(){where}: the script chooses a low precision itself"
        )
    if method in ("to_sparse", "coalesce", "fft", "rfft", "irfft", "stft", "inverse", "logdet"):
        raise Declined(line, "sparse" if "spar" in method else "fft_or_complex", f".{method}(){where}")
    constant = len(node.args) > 2 and (
        _is_number(script, node.args[2])
        or (_is_new(script, node.func.value) and _set_at_start(script, node.args[2]))
    )
    if method in _SCATTER or (method in _SCATTER_VALUE and len(node.args) > 2 and not constant):
        raise Declined(
            line,
            "in_place_scatter",
            f".{method}(){where} needs equal dtypes, and autocast makes one of them half",
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
    methods = {n.attr for n in ast.walk(node.func.value) if isinstance(n, ast.Attribute)}
    return not methods & {"float", "long", "int", "bool", "argmax", "size", "shape"}


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


def _set_at_start(script: Script, node: ast.expr) -> bool:
    """An attribute that only `__init__` sets, by arithmetic: no autocast stands around it."""
    if not isinstance(node, ast.Attribute):
        return False
    text = ast.unparse(node)
    sets = [n for n in script.nodes if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == text]
    return bool(sets) and all(
        getattr(script.function(s), "name", "") == "__init__"
        and all(
            isinstance(n, ast.BinOp | ast.Constant | ast.Name | ast.operator | ast.expr_context)
            for n in ast.walk(s.value)
        )
        for s in sets
    )


def _numeric_default(script: Script, parameter: ast.AST) -> bool:
    arguments = script.parents[parameter]
    assert isinstance(arguments, ast.arguments)
    names = [*arguments.posonlyargs, *arguments.args]
    defaults = dict(zip(reversed(names), reversed(arguments.defaults), strict=False))
    default = defaults.get(parameter)  # type: ignore[call-overload]
    return isinstance(default, ast.Constant) and isinstance(default.value, int | float)


def _takes_probabilities(script: Script, node: ast.AST) -> bool:
    """`Categorical(probs)`, not `Categorical(logits=...)`."""
    name = script.called(node) or ""
    if not isinstance(node, ast.Call) or "distributions." not in name or name.split(".")[-1] not in _SIMPLEX:
        return False
    return bool(node.args) or any(k.arg == "probs" for k in node.keywords)


def _number(node: ast.AST) -> float | None:
    """The value of a number as it is written, such as `-2 ** 32 + 1`."""
    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            return value if abs(value) < 1e300 or value == float("inf") else None
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            inner = _number(operand)
            return None if inner is None else -inner
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub() | ast.Mult() | ast.Pow() as sign, right=right):
            first, second = _number(left), _number(right)
            if first is None or second is None:
                return None
            if isinstance(sign, ast.Pow) and not (abs(first) <= 1e6 and 0 <= second <= 40):
                return None
            return _SIGNS[type(sign)](float(first), float(second))
    return None


def _bound_below_one(script: Script, node: ast.AST) -> float | None:
    """How far below 1 the bound of `clamp(p, 1e-4, 1 - 1e-4)` lies, where p may be in half precision."""
    if not isinstance(node, ast.Call):
        return None
    name = script.called(node)
    last = name.split(".")[-1] if name else node.func.attr if isinstance(node.func, ast.Attribute) else ""
    if last not in ("clamp", "clamp_", "clip", "clip_", "clamp_max"):
        return None
    bounded = node.args[:1] if name else [node.func.value] if isinstance(node.func, ast.Attribute) else []
    if any(_is_full(script, value) for value in bounded):
        return None
    gaps = [1 - v for a in [*node.args, *(k.value for k in node.keywords)] if (v := _number(a)) is not None]
    return min((gap for gap in gaps if 0 < gap < 0.5), default=None)


def _log_near_one(script: Script, node: ast.AST) -> bool:
    """`log(1 - p)`, where p may be in half precision and so 1 long before it is in fp32."""
    if not isinstance(node, ast.Call):
        return False
    name = script.called(node)
    if name not in (None, "torch.log", "torch.log2", "torch.log10"):
        return False
    if name is None and not (isinstance(node.func, ast.Attribute) and node.func.attr in ("log", "log_")):
        return False
    inside = node.args[0] if name and node.args else getattr(node.func, "value", node)
    return any(
        isinstance(n, ast.BinOp)
        and isinstance(n.op, ast.Sub)
        and _number(n.left) == 1
        and _number(n.right) is None
        and _varies(script, n.right)
        for n in ast.walk(inside)
    )


def _varies(script: Script, node: ast.expr) -> bool:
    """Whether a value may come out of a layer in half precision: no buffer, no softmax, no `.float()`."""
    if _is_full(script, node) or isinstance(node, ast.Attribute):
        return False
    if isinstance(node, ast.Name):
        values = [
            b.value for b in script.bindings(node.id, node) if b.kind == "assign" and b.value is not None
        ]
        return not values or any(_varies(script, v) for v in values if v is not node)
    return True


def _is_full(script: Script, node: ast.expr) -> bool:
    """Fp32 under autocast too: `x.float()`, a softmax."""
    if not isinstance(node, ast.Call):
        return False
    last = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    return last in ("float", "softmax", "exp")


def _rounds_to_one(node: ast.AST) -> tuple[int, str, str]:
    note = (
        f"the bound in {ast.unparse(node)} is 1 in half precision, so the log of what is left may be infinite"
    )
    return node.lineno, "probabilities", note  # type: ignore[attr-defined]


def _cancels(node: ast.AST) -> tuple[int, str, str]:
    note = f"half precision rounds what {ast.unparse(node)} takes from 1, and so loses its log"
    return node.lineno, "probabilities", note  # type: ignore[attr-defined]


def bf16_only(script: Script, node: ast.AST) -> list[tuple[int, str, str]]:
    """What bf16, with 8 bits, cannot tell apart."""
    gap = _bound_below_one(script, node)
    if _log_near_one(script, node):
        return [_cancels(node)]
    return [_rounds_to_one(node)] if gap is not None and gap < 2**-9 else []


def _fills_part(statement: ast.AST | None) -> bool:
    """`scores[mask] = -1e9`."""
    return isinstance(statement, ast.Assign) and any(isinstance(t, ast.Subscript) for t in statement.targets)


def fp16_only(script: Script, node: ast.AST) -> list[tuple[int, str, str]]:
    """Constants that fp16 cannot hold: they overflow, vanish, or round to 1."""
    gap = _bound_below_one(script, node)
    if _log_near_one(script, node):
        return [_cancels(node)]
    if gap is not None and gap < 2**-12:
        return [_rounds_to_one(node)]
    value = _number(node)
    above = script.parents.get(node)
    if value is None or not isinstance(node, ast.expr):
        return []
    if isinstance(above, ast.expr) and _number(above) is not None:
        return []  # part of a longer number
    found: list[tuple[int, str, str]] = []
    size = abs(value)
    text = ast.unparse(node.operand if isinstance(node, ast.UnaryOp) else node)
    if (
        size > _LARGEST_FP16
        and size != float("inf")
        and (isinstance(above, ast.Call | ast.BinOp | ast.keyword) or _fills_part(above))
    ):
        found.append((node.lineno, "fp16_constant", f"{text} overflows fp16"))
    if 0 < size < _SMALLEST_FP16 and isinstance(above, ast.BinOp | ast.Call):
        found.append((node.lineno, "fp16_constant", f"{text} is zero in fp16"))
    return found
