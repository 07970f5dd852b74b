"""Operations that lower precision breaks: without a half kernel, or of mixed dtypes."""

import ast
from collections.abc import Callable

from ..patch import Declined
from ..script import Script
from .attacks import nudges
from .constants import largest_fp32
from .coordinates import multiplies_coordinates, multiplies_positions
from .distances import expands_distance
from .iterations import iterates_to_tolerance
from .moments import subtracts_chances, subtracts_moments
from .penalties import gives_out, is_inner_step, is_penalty
from .phases import encodes_number, turns_often
from .scatter import mixes_dtypes, sets_data

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
    "torch.matrix_exp",
    "torch.matrix_power",
    "torch.pca_lowrank",
    "torch.lobpcg",
    "torch.geqrf",
    "torch.orgqr",
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
_SOLVERS = ("torchdiffeq.", "torchsde.", "torchode.", "torchdyn.", "torchcde.", "diffrax.", "qpth.")
_DOUBLE = {"torch.float64", "torch.double", "torch.DoubleTensor", "torch.cuda.DoubleTensor"}
_HALF = {"torch.float16", "torch.half", "torch.bfloat16", "torch.HalfTensor", "torch.cuda.HalfTensor"}
_METHODS = {
    **dict.fromkeys(("fft", "rfft", "irfft", "stft"), "fft_or_complex"),
    **dict.fromkeys(("inverse", "logdet"), "linear_algebra"),
    **dict.fromkeys(("to_sparse", "coalesce"), "sparse"),
}
_WHOLE = {"float", "long", "int", "bool", "argmax", "size", "shape"}
_COMPARES = {"gt", "ge", "lt", "le", "eq", "ne"}
_TWO_DIGITS = "is fitted or fed on: half precision leaves it two digits"
_SIMPLEX = {"Categorical", "OneHotCategorical", "Multinomial"}


def refuse_unsafe(script: Script, node: ast.AST, line: int, where: str) -> None:
    """Raise for operations that have no kernel in half precision, mix dtypes, or lose the digits that matter."""
    if isinstance(node, ast.Attribute | ast.Name) and (name := script.qualified(node)):
        _refuse_name(name, line, where)
    _refuse_value(script, node, line, where)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        _refuse_method(script, node, node.func, line, where)


def _refuse_name(name: str, line: int, where: str) -> None:
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
        raise Declined(line, "own_low_precision", f"{name}{where}: the script chooses a low precision itself")


def _refuse_value(script: Script, node: ast.AST, line: int, where: str) -> None:
    for spoils, code, note in _SPOILT:
        if spoils(script, node):
            raise Declined(line, code, note.format(node=ast.unparse(node), where=where))


def _asserts_dtypes(script: Script, node: ast.AST) -> bool:
    return isinstance(node, ast.Assert) and _compares_dtypes(script, node.test)


def _refuse_method(script: Script, node: ast.Call, func: ast.Attribute, line: int, where: str) -> None:
    method = func.attr
    if method == "double" and not _is_count(script, func.value):
        raise Declined(line, "float64", f".double(){where}: float64 tensors are not autocast")
    if method in ("half", "bfloat16"):
        raise Declined(
            line, "own_low_precision", f".{method}(){where}: the script chooses a low precision itself"
        )
    if _is_own_method(script, node):
        return
    if method in _METHODS:
        raise Declined(line, _METHODS[method], f".{method}(){where} has no half-precision kernel")
    if mixes_dtypes(script, node):
        note = f".{method}(){where} needs equal dtypes, and autocast makes one of them half"
        raise Declined(line, "in_place_scatter", note)


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


def derives_twice(script: Script, node: ast.AST) -> bool:
    """`torch.autograd.grad(..., create_graph=True)`."""
    if not isinstance(node, ast.Call) or script.called(node) != "torch.autograd.grad":
        return False
    return any(k.arg == "create_graph" and ast.unparse(k.value) == "True" for k in node.keywords)


def refuse_derivative(script: Script, node: ast.AST, line: int, where: str) -> None:
    """Raise for a layer or loss that is made of a derivative (a force, a residual): lost digits stay in it."""
    if not isinstance(node, ast.Call) or not derives_twice(script, node):
        return
    if not is_penalty(script, node) and not is_inner_step(script, node):
        raise Declined(line, "second_order", f"a derivative{where} {_TWO_DIGITS}")


def refuse_given_derivative(script: Script, call: ast.Call, home: Script, node: ast.AST) -> None:
    """Raise where a call of another file's function gives a derivative of which more than the size counts."""
    if not isinstance(node, ast.Call) or not derives_twice(home, node) or not gives_out(home, node):
        return
    if not is_penalty(script, call) and not is_inner_step(script, call):
        note = f"a derivative that {ast.unparse(call.func)} gives {_TWO_DIGITS}"
        raise Declined(call.lineno, "second_order", note)


def _is_count(script: Script, node: ast.expr) -> bool:
    """`torch.gt(a, b).double()`, `a.eq(b).double()`: whether, as numbers."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        package = script.called(node)
        return node.func.attr in _COMPARES and package in (None, f"torch.{node.func.attr}")
    return isinstance(node, ast.Compare)


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


def _compares_dtypes(script: Script, test: ast.expr) -> bool:
    """`x.dtype == dtype`, unless that is a kind of whole numbers, or float64: autocast changes neither."""
    if not (isinstance(test, ast.Compare) and isinstance(test.ops[0], ast.Eq)):
        return False
    sides = [test.left, test.comparators[0]]
    names = {
        (script.qualified(s) or "").split(".")[-1] for s in sides if isinstance(s, ast.Attribute | ast.Name)
    }
    kept = ("int", "uint", "long", "bool", "short", "float64", "double")
    return not any(name.startswith(kept) for name in names) and any(
        isinstance(s, ast.Attribute) and s.attr == "dtype" for s in sides
    )


def probabilities_of(script: Script, node: ast.AST) -> list[ast.expr]:
    """What `Categorical(probs)` takes; nothing for `Categorical(logits=...)`."""
    name = script.called(node) or ""
    last = name.split(".")[-1]
    if not isinstance(node, ast.Call) or "distributions." not in name or last not in _SIMPLEX:
        return []
    place = 1 if last == "Multinomial" else 0  # its first argument counts the draws
    return node.args[place : place + 1] or [k.value for k in node.keywords if k.arg == "probs"]


_SPOILT: tuple[tuple[Callable[[Script, ast.AST], object], str, str], ...] = (
    (
        expands_distance,
        "cancellation",
        "|x|^2 - 2xy + |y|^2{where} cancels: half precision cannot tell near points apart",
    ),
    (
        subtracts_moments,
        "cancellation",
        "a variance{where} is the difference of two means, whose half results hold two or three digits",
    ),
    (
        encodes_number,
        "cancellation",
        "{node}{where} is the wave of a time or place, whose phase half precision rounds away",
    ),
    (
        largest_fp32,
        "fp16_constant",
        "{node}{where} lies beyond what half precision holds; take that of the tensor's dtype",
    ),
    (nudges, "cancellation", "{node}{where} moves the input by less than half precision resolves"),
    (
        multiplies_positions,
        "cancellation",
        "{node}{where} multiplies positions, which half precision rounds to whole numbers",
    ),
    (subtracts_chances, "cancellation", "{node}{where} is a small difference of two probabilities"),
    (turns_often, "coordinates", "{node}{where} multiplies how half precision rounded the phase of a wave"),
    (
        multiplies_coordinates,
        "coordinates",
        "{node}{where} multiplies pixel coordinates, which half precision rounds to whole pixels",
    ),
    (
        _asserts_dtypes,
        "own_low_precision",
        "`{node}`{where} fails under autocast: the script chooses a precision itself",
    ),
    (
        iterates_to_tolerance,
        "adaptive_solver",
        "a loop{where} goes on until an error is smaller than half precision resolves",
    ),
    (probabilities_of, "probabilities", "a distribution{where} checks that they sum to 1 within 1e-6"),
    (
        sets_data,
        "in_place_scatter",
        "`.data = ...`{where} keeps what a product gives, and autocast makes that half",
    ),
)
