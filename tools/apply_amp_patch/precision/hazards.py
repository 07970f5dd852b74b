"""What a forward pass does that lower precision changes or breaks; found in the script and in what it calls."""

import ast
from collections.abc import Iterable

from ..context import Context
from ..names import Function
from ..origins import Origin
from ..patch import Declined
from ..roles import Roles
from .caches import runs_without_gradients
from .constants import bf16_only, fp16_only
from .coordinates import decodes_boxes, finite_differences
from .data import data_calls
from .dtypes import Dtypes
from .elsewhere import FEATURES, SPECTRA, features, hooked, weigh_elsewhere, weigh_imported
from .entropies import called_by, is_bce
from .fed import stays_full
from .full import Full, Unsafe, widened
from .functions import custom_functions, directions
from .grams import refuse_gram
from .kernels import ALONE, FP32_KERNELS, kernels
from .linear import HOOKS, is_linear
from .operations import refuse_derivative, refuse_given_derivative, refuse_unsafe
from .probabilities import Probabilities
from .puts import puts_by_index, puts_tensor, puts_widened
from .ratios import is_ratio, weighs_advantage
from .readings import ANOMALIES, detects_anomalies
from .replicas import find_replicas
from .tables import picked
from .verdict import Verdict

_SECOND_ORDER = (
    "torch.autograd.grad",
    "torch.autograd.functional.",
    "torch.func.",
    "functorch.",
    "higher.",
    "torchopt.",
    "learn2learn.algorithms.",
    "learn2learn.optim.",
    "torchmeta.utils.gradient",
)
_NO_HALF_KERNEL = {
    f"torch.{name}" for name in ("quantile", "nanquantile", "histc", "histogram", "logcumsumexp")
}


def weigh(context: Context) -> Verdict:
    """Raises Declined for what neither precision can do, and what cannot run in fp32 by itself either."""
    full = Full(calls={**data_calls(context)}, remote=kernels(context))
    while True:
        try:
            return _weigh(context, full)
        except Unsafe as unsafe:
            wider = widened(context, full, unsafe)
            if wider is None:
                raise
            full = wider


def _weigh(context: Context, full: Full) -> Verdict:
    verdict = Verdict(Probabilities(context), full.no_fp16, full.no_bf16, full=full)
    nodes = reachable(context, full)
    verdict.uncached = runs_without_gradients(context, nodes)
    for node in nodes:
        try:
            _weigh_node(context, node, verdict)
        except Unsafe:
            raise
        except Declined as reason:
            raise Unsafe(reason, node, context.script, node) from reason
    _whole_file(context, verdict)
    weigh_imported(context, verdict)
    return verdict


def _weigh_node(context: Context, node: ast.AST, verdict: Verdict) -> None:
    script = context.script
    if node in verdict.full.calls or verdict.probabilities.mends(node):
        return
    verdict.probabilities.logged(node)
    refuse_unsafe(script, node, getattr(node, "lineno", 1), "")
    refuse_derivative(script, node, getattr(node, "lineno", 1), "")
    refuse_gram(script, node, getattr(node, "lineno", 1), "", verdict.full.left)
    no_fp16, no_bf16 = fp16_only(script, node), bf16_only(script, node)
    if no_fp16 and no_bf16:
        raise Declined(*no_bf16[0])
    verdict.no_fp16 += no_fp16
    verdict.no_bf16 += no_bf16
    if isinstance(node, ast.Call) and is_bce(context, script, node):
        _one_kind(context, node)
        verdict.islands.append(node)
        verdict.probabilities.full(node)
    if isinstance(node, ast.Assign | ast.AugAssign) and puts_by_index(context, node):
        if not isinstance(node, ast.Assign) or not puts_tensor(context, node):
            note = "an assignment by mask or index needs equal dtypes, and autocast makes the value half"
            raise Declined(node.lineno, "in_place_scatter", note)
        verdict.puts.append(node)
    elif isinstance(node, ast.Assign) and puts_widened(script, node):
        note = "an assignment by mask or index needs equal dtypes, and autocast makes one side half"
        raise Declined(node.lineno, "in_place_scatter", note)
    if is_ratio(node):
        _weigh_ratio(context, node, verdict)
    if weighs_advantage(script, node):
        note = f"{ast.unparse(node)} multiplies how half precision rounded the two values behind an advantage"
        raise Declined(node.lineno, "probabilities", note)  # type: ignore[attr-defined]
    if isinstance(node, ast.Call):
        _refuse_half(context, node)
        _refuse_made(node, context.roles.origins(node.func))
        _run_by(context, node, verdict)


def _weigh_ratio(context: Context, node: ast.AST, verdict: Verdict) -> None:
    """The older probabilities were computed in fp32, and the logits of a language's words (`[:, :-1]`) are large."""
    line = getattr(node, "lineno", 1)
    shifted = (n for n in context.script.nodes if isinstance(n, ast.Subscript))
    if any(ast.unparse(n.slice).replace("(", "").startswith(":, :-1") for n in shifted):
        note = (
            f"{ast.unparse(node)} compares log-probabilities of half precision with those of a pass in fp32"
        )
        raise Declined(line, "probabilities", note)
    verdict.ratios.append(line)


def _run_by(context: Context, call: ast.Call, verdict: Verdict) -> None:
    """What a function of another project file does that is called under autocast, a loss above all."""
    where = f" inside {ast.unparse(call.func)}"
    runs = [*context.run_elsewhere(call), *context.handed_elsewhere(context.script, call)]
    tables = ((s, f) for s, f in picked(context, context.script, call) if s is not context.script)
    runs += [(home, n) for home, f in tables for n in ast.walk(f)]
    for script, node in runs:
        if verdict.full.holds(script, node):
            continue
        try:
            refuse_given_derivative(context.script, call, script, node)
            weigh_elsewhere(context, script, node, call.lineno, where, verdict)
        except Declined as reason:
            if reason.code != "probabilities" or not stays_full(context, call):
                raise Unsafe(reason, call, script, node) from reason


def _one_kind(context: Context, call: ast.Call) -> None:
    """Raise where a name holds binary cross entropy or a loss whose targets are no floating-point numbers."""
    for origin in called_by(context, context.script, call):
        last = origin.name.split(".")[-1].lower().replace("_", "")
        if origin.kind in ("call", "import") and not last.startswith(
            ("bce", "binary", "mse", "l1", "smooth", "huber")
        ):
            note = f"{ast.unparse(call.func)} may be binary cross entropy or {origin.name}: they take other targets"
            raise Declined(call.lineno, "bce_in_expression", note)


def _refuse_half(context: Context, call: ast.Call) -> None:
    """Raise where what came out of a layer meets a function of torch that takes no half, or one dtype alone."""
    name = context.script.called(call) or ""
    if name in _NO_HALF_KERNEL and call.args and Dtypes(context).of(call.args[0]) == "low":
        raise Declined(
            call.lineno, "no_half_kernel", f"{name} has no half-precision kernel on CUDA, or adds up in it"
        )
    weights = [k.value for k in call.keywords if k.arg == "per_sample_weights"]
    if any(Dtypes(context).of(w) == "low" for w in weights):
        note = f"{ast.unparse(call.func)} needs equal dtypes, and autocast makes one of them half"
        raise Declined(call.lineno, "in_place_scatter", note)


def _refuse_made(call: ast.Call, origins: Iterable[Origin]) -> None:
    """Raise where what is called was made by a package that half precision does not suit."""
    for origin in origins:
        if origin.name.startswith(FP32_KERNELS):
            raise Declined(call.lineno, "custom_function", f"{origin.name} {ALONE}")
        if origin.kind == "call" and origin.name.startswith(FEATURES):
            raise Declined(call.lineno, "fft_or_complex", f"{ast.unparse(call.func)} {SPECTRA}")


def reachable(context: Context, full: Full) -> list[ast.AST]:
    """The nodes that may run under autocast: the regions, what they call, and every layer of this file."""
    training, roles = context.training, context.roles
    roots: list[ast.AST] = [s for region in training.regions for s in region.statements]
    roots += [b.loss for b in training.backwards]
    functions: dict[Function, None] = {}
    for holder in context.script.classes:
        if roles.is_module_class(holder):
            functions.update(
                dict.fromkeys(
                    f
                    for f in holder.body
                    if isinstance(f, Function) and f.name != "__init__" and f not in full.functions
                )
            )
    hooks = hooked(roles, context.script)
    functions.update(dict.fromkeys(h for h in hooks if isinstance(h, Function) and h not in full.functions))
    queue: list[ast.AST] = [*roots, *functions, *(h for h in hooks if isinstance(h, ast.Lambda))]
    nodes: dict[ast.AST, None] = {}
    while queue:
        for node in ast.walk(queue.pop()):
            if node in nodes:
                continue
            nodes[node] = None
            if isinstance(node, ast.Call):
                queue += [o.node for o in roles.origins(node.func) if isinstance(o.node, ast.Lambda)]
                queue += [f for home, f in picked(context, context.script, node) if home is context.script]
                for function in [*roles.callees(node), *roles.handed(node)]:
                    known = function in functions or function in full.functions
                    if not known and function.name != "__init__":
                        functions[function] = None
                        queue.append(function)
    aside = {n for call in full.calls for n in ast.walk(call.func)}
    aside |= {n for function in {*full.functions, *full.inner} for n in ast.walk(function)}
    return [n for n in nodes if n not in aside]


def _refuse_own_dtype(context: Context, call: ast.Call, name: str, method: str) -> None:
    """Raise where the script chooses a dtype itself."""
    script, roles = context.script, context.roles
    if name in ("torch.set_default_dtype", "torch.set_default_tensor_type"):
        named = (o.name for value in call.args for o in roles.origins(value))
        text = " ".join([ast.unparse(call), *named]).lower()
        if "double" in text or "float64" in text:
            raise Declined(call.lineno, "float64", "the script computes in float64, which is not autocast")
        if "half" in text or "float16" in text:
            raise Declined(call.lineno, "own_low_precision", "the script chooses a low precision itself")
    if method in ("half", "bfloat16", "convert_to_fp16") and not script.qualified(call.func):
        raise Declined(
            call.lineno, "own_low_precision", f".{method}(): the script chooses a low precision itself"
        )
    if method == "double" and _is_model(roles, call.func.value):  # type: ignore[attr-defined]
        raise Declined(call.lineno, "float64", "a float64 model is not autocast")


def _whole_file(context: Context, verdict: Verdict) -> None:
    script, roles = context.script, context.roles
    features(script, [c for c in script.classes if roles.is_module_class(c)], None)
    for call in script.calls:
        name = script.called(call) or ""
        method = call.func.attr if isinstance(call.func, ast.Attribute) else ""
        _refuse_own_dtype(context, call, name, method)
        if detects_anomalies(script, call):
            verdict.no_fp16.append((call.lineno, "reads_grad", ANOMALIES))
        if method in HOOKS:
            verdict.no_fp16.append((call.lineno, "gradient_hook", f".{method}() would see scaled gradients"))
    verdict.replicas, hidden = find_replicas(context)
    verdict.no_bf16 += hidden
    verdict.no_bf16 += [*_differences(context), *decodes_boxes(script)]
    for holder in filter(roles.is_module_class, script.classes):
        for node in ast.walk(holder):
            refuse_derivative(script, node, getattr(node, "lineno", 1), "")
    verdict.no_fp16 += [
        (line, "second_order", f"{note}; a scaler would scale them, bf16 needs none")
        for line, note in second_order(context)
    ]
    for holder in custom_functions(roles, [script]):
        forward, backward = directions(holder)
        if forward is None or backward is None:
            note = f"{holder.name} defines its own backward, not as a static forward and backward"
            raise Declined(holder.lineno, "custom_function", note)
        verdict.functions += [forward, backward]
        if is_linear(script, backward):
            continue
        note = f"the backward of {holder.name} may not be linear in the gradient that a scaler scales"
        verdict.no_fp16.append((holder.lineno, "custom_function", note))


def _differences(context: Context) -> list[tuple[int, str, str]]:
    """Where predictions are differenced by a fixed stencil, here or in what this file makes of another."""
    found = [
        c.lineno for c in context.script.calls if finite_differences(n for _, n in context.used_elsewhere(c))
    ]
    if finite_differences(context.script.nodes):
        found.append(1)
    note = "differences of neighbours by a fixed stencil: bf16 rounds the neighbours more than they differ"
    return [(line, "cancellation", note) for line in found[:1]]


def second_order(context: Context) -> list[tuple[int, str]]:
    """The lines that take gradients inside of the forward pass or of a step, here or in a file of the project."""
    found: list[tuple[int, str]] = []
    for call in context.script.calls:
        name = context.script.called(call) or ""
        if name.startswith(_SECOND_ORDER):
            found.append((call.lineno, f"{name} takes gradients by itself"))
        elif any(
            (script.called(n) or "").startswith(_SECOND_ORDER) for script, n in context.used_elsewhere(call)
        ):
            found.append((call.lineno, f"{ast.unparse(call.func)} takes gradients by itself in another file"))
    return found


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
