"""What a forward pass does that lower precision changes or breaks; found in the script and the files it imports."""

import ast
from dataclasses import dataclass, field

from ..context import Context
from ..names import Function
from ..patch import Declined
from ..roles import Roles
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
BCE = {"torch.nn.BCELoss", "torch.nn.functional.binary_cross_entropy", "torch.binary_cross_entropy"}
_SECOND_ORDER = ("torch.autograd.grad", "torch.autograd.functional.", "torch.func.", "functorch.", "higher.")
_SIMPLEX = ("distributions.Categorical", "distributions.OneHotCategorical", "distributions.Multinomial")
_HOOKS = {
    "register_hook",
    "register_full_backward_hook",
    "register_backward_hook",
    "register_post_accumulate_grad_hook",
}
_ENGINES = {
    "torch.distributed.fsdp.": ("fsdp", "FSDP has its own mixed precision policy"),
    "torch.distributed.rpc": ("distributed_autograd", "RPC training has its own backward"),
    "torch.distributed.autograd": ("distributed_autograd", "RPC training has its own backward"),
    "torch.distributed.pipelining": ("distributed_autograd", "a pipeline schedule runs backward itself"),
    "torch.cuda.CUDAGraph": ("cuda_graph", "a captured graph replays the kernels of its own precision"),
    "torch.cuda.graph": ("cuda_graph", "a captured graph replays the kernels of its own precision"),
    "torch.autograd.backward": ("autograd_backward", "torch.autograd.backward has no loss to follow"),
    "torch_xla": ("xla", "XLA devices have their own autocast and optimizer step"),
    "torch.jit.trace": ("traced_model", "a traced model keeps the precision it was traced in"),
}


@dataclass
class Verdict:
    """Reasons that rule fp16 out, the same for bf16, and the BCE calls that need an fp32 island."""

    no_fp16: list[tuple[int, str, str]] = field(default_factory=list)
    no_bf16: list[tuple[int, str, str]] = field(default_factory=list)
    islands: list[ast.Call] = field(default_factory=list)


def weigh(context: Context) -> Verdict:
    """Raises Declined for what neither precision can do."""
    verdict = Verdict()
    script = context.script
    reach = reachable(context)
    for node in reach:
        _unsafe(script, node, node.lineno if hasattr(node, "lineno") else 1, "")
        _fp16_only(script, node, verdict)
        if isinstance(node, ast.Call) and is_bce(context.roles, node):
            verdict.islands.append(node)
    _whole_file(context, verdict)
    for path, other in context.project.items():
        _other_file(context, path.name, other, verdict)
    return verdict


def is_bce(roles: Roles, call: ast.Call) -> bool:
    """A call of F.binary_cross_entropy or of a BCELoss object."""
    name = roles.script.called(call)
    if name in BCE and name != "torch.nn.BCELoss":
        return True
    if name:
        return False
    return any(o.kind == "call" and o.name == "torch.nn.BCELoss" for o in roles.origins(call.func))


def reachable(context: Context) -> list[ast.AST]:
    """The nodes that may run under autocast: the regions, what they call, and every layer of this file."""
    training, roles = context.training, context.roles
    roots: list[ast.AST] = [s for region in training.regions for s in region.statements]
    roots += [b.loss for b in training.backwards]
    functions: dict[Function, None] = {}
    for holder in context.script.classes:
        if roles.is_module_class(holder):
            functions.update(
                dict.fromkeys(f for f in holder.body if isinstance(f, Function) and f.name != "__init__")
            )
    queue: list[ast.AST] = [*roots, *functions]
    nodes: dict[ast.AST, None] = {}
    while queue:
        for node in ast.walk(queue.pop()):
            if node in nodes:
                continue
            nodes[node] = None
            if isinstance(node, ast.Call):
                for function in roles.callees(node):
                    if function not in functions and function.name != "__init__":
                        functions[function] = None
                        queue.append(function)
    return list(nodes)


def _unsafe(script: Script, node: ast.AST, line: int, where: str) -> None:
    """Raise for operations that have no kernel in half precision, or mix dtypes."""
    name = script.qualified(node) if isinstance(node, ast.Attribute | ast.Name) else None
    if name:
        if name.startswith((*_FFT, *_COMPLEX)) or name in ("torch.complex64", "torch.complex128"):
            raise Declined(line, "fft_or_complex", f"{name}{where} has no half-precision kernel")
        if name.startswith(_LINALG) and not name.startswith(_LINALG_FINE):
            raise Declined(line, "linear_algebra", f"{name}{where} has no half-precision kernel")
        if name.startswith(_SPARSE):
            raise Declined(line, "sparse", f"{name}{where} does not mix with half-precision operands")
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
    constant = len(node.args) > 2 and isinstance(node.args[2], ast.Constant | ast.UnaryOp)
    if method in _SCATTER or (method in _SCATTER_VALUE and len(node.args) > 2 and not constant):
        raise Declined(
            line,
            "in_place_scatter",
            f".{method}(){where} needs equal dtypes, and autocast makes one of them half",
        )


def _takes_probabilities(script: Script, node: ast.AST) -> bool:
    """`Categorical(probs)`, not `Categorical(logits=...)`."""
    if not isinstance(node, ast.Call) or not (script.called(node) or "").endswith(_SIMPLEX):
        return False
    return bool(node.args) or any(k.arg == "probs" for k in node.keywords)


def _fp16_only(script: Script, node: ast.AST, verdict: Verdict) -> None:
    """Constants that overflow or vanish in fp16 but not in bf16."""
    if not (isinstance(node, ast.Constant) and isinstance(node.value, float | int)) or isinstance(
        node.value, bool
    ):
        return
    size = abs(node.value)
    above = script.parents.get(node)
    if isinstance(above, ast.UnaryOp):
        above = script.parents.get(above)
    if (
        size > _LARGEST_FP16
        and size != float("inf")
        and isinstance(above, ast.Call | ast.BinOp | ast.keyword)
    ):
        verdict.no_fp16.append((node.lineno, "fp16_constant", f"{node.value!r} overflows fp16"))
    if 0 < size < _SMALLEST_FP16 and isinstance(above, ast.BinOp | ast.Call):
        verdict.no_fp16.append((node.lineno, "fp16_constant", f"{node.value!r} is zero in fp16"))


def engines(context: Context) -> None:
    """Raise where something else than this file's loops runs backward or decides the precision."""
    script, roles = context.script, context.roles
    for node in script.nodes:
        if not isinstance(node, ast.Attribute | ast.Name):
            continue
        name = script.qualified(node)
        for prefix, (code, note) in _ENGINES.items():
            if name and name.startswith(prefix):
                raise Declined(node.lineno, code, note)
    called = {ast.unparse(c.func) for c in script.calls}
    for call in script.method_calls("backward"):
        assert isinstance(call.func, ast.Attribute)
        owner = ast.unparse(call.func.value)
        if call.args and (owner in called or roles.stepper(call.func.value) == "optimizer"):
            raise Declined(
                call.lineno, "engine_backward", f"{owner}.backward(...) is the backward of an engine"
            )


def _whole_file(context: Context, verdict: Verdict) -> None:
    script, roles = context.script, context.roles
    for call in script.calls:
        name = script.called(call) or ""
        method = call.func.attr if isinstance(call.func, ast.Attribute) else ""
        if name in ("torch.set_default_dtype", "torch.set_default_tensor_type"):
            text = ast.unparse(call).lower()
            if "double" in text or "float64" in text:
                raise Declined(
                    call.lineno, "float64", "the script computes in float64, which is not autocast"
                )
            if "half" in text or "float16" in text:
                raise Declined(call.lineno, "own_low_precision", "the script chooses a low precision itself")
        if method in ("half", "bfloat16") and not script.qualified(call.func):
            raise Declined(
                call.lineno, "own_low_precision", f".{method}(): the script chooses a low precision itself"
            )
        if method == "double" and _is_model(roles, call.func.value):  # type: ignore[attr-defined]
            raise Declined(call.lineno, "float64", "a float64 model is not autocast")
        if name.startswith(_SECOND_ORDER):
            note = f"{name} gives gradients that a scaler would scale; bf16 needs none"
            verdict.no_fp16.append((call.lineno, "second_order", note))
        if method in _HOOKS:
            verdict.no_fp16.append((call.lineno, "gradient_hook", f".{method}() would see scaled gradients"))
        if _threads(name):
            note = "DataParallel's threads autocast to fp16 whatever the dtype around the call"
            verdict.no_bf16.append((call.lineno, "data_parallel", note))
    for holder in script.classes:
        if any(n.startswith("torch.autograd.") and n.endswith("Function") for n in roles.base_names(holder)):
            raise Declined(holder.lineno, "custom_function", f"{holder.name} defines its own backward")


def _threads(name: str) -> bool:
    """DataParallel itself, or one that a package derives from it."""
    last = name.split(".")[-1]
    return last == "data_parallel" or ("DataParallel" in last and "Distributed" not in last)


def _is_model(roles: Roles, node: ast.expr) -> bool:
    for origin in roles.origins(node):
        if (
            origin.kind == "instance"
            and isinstance(origin.node, ast.ClassDef)
            and roles.is_module_class(origin.node)
        ):
            return True
        if origin.kind == "call" and origin.name.startswith(("torch.nn.", "torchvision.models.")):
            return True
    return False


def _other_file(context: Context, name: str, script: Script, verdict: Verdict) -> None:
    """The layers of an imported project file."""
    roles = Roles(script)
    line = _import_line(context, name)
    for holder in script.classes:
        if any(n.startswith("torch.autograd.") and n.endswith("Function") for n in roles.base_names(holder)):
            raise Declined(line, "custom_function", f"{holder.name} in {name} defines its own backward")
        if not roles.is_module_class(holder):
            continue
        for function in (f for f in holder.body if isinstance(f, Function) and f.name != "__init__"):
            for node in ast.walk(function):
                _unsafe(script, node, line, f" in {name}")
                before = len(verdict.no_fp16)
                _fp16_only(script, node, verdict)
                for place in range(before, len(verdict.no_fp16)):
                    _, code, note = verdict.no_fp16[place]
                    verdict.no_fp16[place] = (line, code, f"{note} (in {name})")
                if isinstance(node, ast.Call) and is_bce(roles, node):
                    raise Declined(
                        line, "bce_in_other_file", f"binary cross entropy in {name} fails under autocast"
                    )


def _import_line(context: Context, name: str) -> int:
    stem = name.removesuffix(".py")
    for node in context.script.nodes:
        if isinstance(node, ast.Import | ast.ImportFrom):
            parts = [a.name for a in node.names] + (
                [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            )
            if any(stem in part.split(".") for part in parts):
                return node.lineno
    return next((n.lineno for n in context.script.nodes if isinstance(n, ast.Import | ast.ImportFrom)), 1)
