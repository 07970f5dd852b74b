"""What runs in fp32, outside of autocast: functions and calls that half precision would break or spoil.

A function of the file gets a decorator; what torch or another file offers is wrapped where it is called:

    @amp_float32                                  penalty = amp_float32(spectral_loss)(output, target)
    def sample(self, state):

Both cast the tensors they are given. That helps where the delicate computation lies inside and nothing half gets in
by another way (`closed.py`), and it pays where layers remain under autocast.
"""

import ast
from dataclasses import dataclass, field

from ..context import Context
from ..names import Function
from ..patch import Declined
from ..script import Script
from .closed import computes_alone, is_closed, makes_hook, reads_inside, takes_copies
from .coordinates import is_product
from .distances import expands_distance
from .dtypes import Dtypes
from .formed import formed_by_callers, is_conditioned, is_formed_inside
from .grams import Better
from .kernels import FP32_KERNELS
from .phases import encodes_number
from .remote import Place, places

# Coordinates are not among them: what takes them on to the image computes in half precision again.
_CURABLE = {
    *(
        "in_place_scatter",
        "linear_algebra",
        "cancellation",
        "probabilities",
        "bce_in_other_file",
        "adaptive_solver",
    ),
    *("fft_or_complex", "sparse", "custom_function", "no_half_kernel"),
}
_COMPILERS = ("torch.jit.script", "torch.jit.trace", "torch.jit.ScriptModule")
_SPARSE_PRODUCTS = {"torch.sparse.mm", "torch.spmm", "torch.sparse.addmm"}


class Unsafe(Declined):
    """Declined for what one node does; `home` is the file it stands in, `node` the call that leads there."""

    def __init__(self, reason: Declined, node: ast.AST, home: Script, inner: ast.AST) -> None:
        super().__init__(reason.line, reason.code, reason.note)
        self.node, self.home, self.inner = node, home, inner
        self.may_stay = isinstance(reason, Better)


@dataclass
class Full:
    """What runs in fp32, and why: functions of the file, calls, and functions of other files by their expressions."""

    functions: dict[Function, Declined] = field(default_factory=dict)
    calls: dict[ast.Call, Declined] = field(default_factory=dict)
    remote: dict[ast.AST, tuple[Declined, list[Place]]] = field(default_factory=dict)
    inner: set[Function] = field(default_factory=set)  # called by those alone
    left: set[ast.AST] = field(default_factory=set)  # better off in fp32, but no way leads there

    def __bool__(self) -> bool:
        return bool(self.functions or self.calls or any(found for _, found in self.remote.values()))

    @property
    def reasons(self) -> list[Declined]:
        return [*self.functions.values(), *self.calls.values(), *(r for r, _ in self.remote.values())]

    @property
    def no_bf16(self) -> list[tuple[int, str, str]]:
        """What bf16 spoils all the same: its rounding lies 54 dB below a signal, and a spectrum shows it."""
        note = "a spectrum shows how bf16 rounded the signal"
        return [(r.line, r.code, note) for r in self.reasons if r.code == "fft_or_complex"]

    @property
    def no_fp16(self) -> list[tuple[int, str, str]]:
        """What the kernels of warp-ctc give out lies on the CPU, whatever they are given."""
        note = "the loss may lie on the CPU, so its scale stays behind what overflows on the GPU"
        return [(r.line, "update_undecidable", note) for r in self.reasons if r.code == "custom_function"]

    def holds(self, script: Script, node: ast.AST) -> bool:
        """Whether a node stands in a function that runs in fp32."""
        function = node if isinstance(node, Function) else script.function(node)
        while function is not None:
            if function in self.functions or function in self.remote or function in self.inner:
                return True
            function = script.function(function)
        return False


def widened(context: Context, full: Full, unsafe: Unsafe) -> Full | None:
    """With more in fp32, so that what is unsafe runs there too; None where that cannot be shown to help."""
    if unsafe.code not in _CURABLE and not unsafe.may_stay:
        return None
    if unsafe.code == "sparse" and unsafe.home.qualified(unsafe.inner) not in _SPARSE_PRODUCTS:
        return None  # a sparse tensor is made here, and multiplied where it goes
    ways = (_add_call, _add_function) if unsafe.home is context.script else (_add_function, _add_call)
    for add in (*ways, _add_inner):
        wider = _copy(full)
        if add(context, wider, unsafe) and _leaves_layers(context, wider):
            return wider
    stays = _copy(full)
    stays.left.add(unsafe.inner)
    return stays if unsafe.may_stay else None


def _copy(full: Full) -> Full:
    return Full({**full.functions}, {**full.calls}, {**full.remote}, {*full.inner}, {*full.left})


def _add_call(context: Context, full: Full, unsafe: Unsafe) -> bool:
    """The call of a function of torch or of another file that needs nothing but its arguments."""
    script = context.script
    above = script.parents.get(unsafe.node)
    call = above if isinstance(above, ast.Call) and above.func is unsafe.node else unsafe.node
    if not isinstance(call, ast.Call) or call in full.calls:
        return False
    if (script.called(call) or "").startswith("torch."):
        if unsafe.home is not script or unsafe.code == "probabilities" or encodes_number(script, call):
            return False
        if expands_distance(script, call):  # the terms' gradients cancel too, and half precision rounds each
            return False
        if unsafe.code == "linear_algebra" and not _takes_full(context, call):
            return False
        if unsafe.code == "fft_or_complex" and _is_multiplied(context, script, script.function(call)):
            return False
    elif unsafe.code == "custom_function":
        if not _is_loss(context, call):
            return False
    elif unsafe.home is script or not _is_closed_call(context, call, unsafe):
        return False
    full.calls[call] = unsafe
    return True


def _is_loss(context: Context, call: ast.Call) -> bool:
    """Whether a call runs a loss of torch or of a package whose kernels know fp32 alone, and nothing else."""
    origins = context.roles.origins(call.func)
    losses = ("torch.nn.", *FP32_KERNELS)
    return all(o.kind in ("call", "import") and o.name.startswith(losses) for o in origins)


def _is_closed_call(context: Context, call: ast.Call, unsafe: Unsafe) -> bool:
    """Whether what a call runs in other files computes from its arguments alone."""
    runs = [(s, n) for s, n in context.run_elsewhere(call) if isinstance(n, Function) and not _hooks(s, n)]
    first = [f for _, f in _runs(context, context.script, call)]
    formed = _is_given_well(context, unsafe)
    alone = all(computes_alone(context, s, f) and not reads_inside(f) for s, f in runs)
    return bool(runs) and formed and alone and all(map(takes_copies, first or [f for _, f in runs]))


def _hooks(script: Script, function: Function) -> bool:
    """Whether a function, or the one around it, only makes hooks of tensors."""
    outer = script.function(function) or function
    calls = [c for c in script.calls if getattr(c.func, "id", "") == getattr(outer, "name", "?")]
    return bool(calls) and all(makes_hook(script, c) for c in calls)


def _add_function(context: Context, full: Full, unsafe: Unsafe) -> bool:
    """The function that the unsafe node stands in."""
    script, home = context.script, unsafe.home
    function = home.function(unsafe.inner)
    hosts = {script.function(r.first) for r in context.training.regions}
    hosts |= {script.function(b.call) for b in context.training.backwards}
    if function is None or function in hosts or full.holds(home, function):
        return False
    if any(_compiles(s, function) for s in [script, *context.project.values()]):
        return False
    if not is_closed(context, home, function):
        return False
    if not _is_given_well(context, unsafe):
        return False
    if unsafe.code == "fft_or_complex" and _is_multiplied(context, home, function, inside=False):
        return False
    if home is script:
        full.functions[function] = unsafe
    elif (found := places(context, home, function)) is not None:
        full.remote[function] = unsafe, found
    else:
        return False
    return True


def _add_inner(context: Context, full: Full, unsafe: Unsafe) -> bool:
    """The function that the unsafe node stands in, where functions in fp32 alone call it, with what they compute."""
    function = unsafe.home.function(unsafe.inner)
    if unsafe.code != "probabilities" or function is None or function.name.startswith(("forward", "__")):
        return False
    if function in full.inner:
        return False
    sites: list[tuple[Script, ast.Call]] = []
    for script in [context.script, *context.project.values()]:
        for node in script.nodes:
            renamed = isinstance(node, ast.alias) and node.name == function.name and node.asname
            named = getattr(node, "attr", "") == function.name or (
                isinstance(node, ast.Name)
                and node.id == function.name
                and any(b.kind in ("function", "import") for b in script.bindings(node.id, node))
            )
            if not (renamed or named) or script.function(node) is function:
                continue
            call = script.parents[node]
            if not isinstance(call, ast.Call) or call.func is not node or not full.holds(script, call):
                return False
            sites.append((script, call))
    if not sites:  # whoever calls it is not known
        return False
    given = formed_by_callers(context, unsafe.home, function, sites)
    if not is_formed_inside(context, unsafe.home, unsafe.inner, given):
        return False
    full.inner.add(function)
    return True


def _is_multiplied(context: Context, home: Script, function: Function | None, *, inside: bool = True) -> bool:
    """Whether matrices are multiplied where a spectrum goes, here or in a caller: its energies overflow there."""
    places: list[ast.AST] = [function or home.tree] if inside else []
    if function is not None and function.name != "forward":
        scripts = [context.script, *context.project.values()]
        calls = [
            (s, c) for s in scripts for c in s.calls if ast.unparse(c.func).split(".")[-1] == function.name
        ]
        places += [s.function(c) or s.tree for s, c in calls]
    return any(is_product(n) for place in places for n in ast.walk(place))


def _takes_full(context: Context, call: ast.Call) -> bool:
    """Whether a call is given nothing that autocast rounded: a covariance in half precision may have no inverse."""
    script, dtypes = context.script, Dtypes(context)
    hosts = {script.function(r.first) for r in context.training.regions}
    values = [*call.args, *(k.value for k in call.keywords)]
    if script.function(call) in hosts:
        return all(dtypes.of(value) in ("full", "integer") for value in values)
    names = {n.id for v in values for n in ast.walk(v) if isinstance(n, ast.Name) and not script.qualified(n)}
    return names <= {"self"} and not any(map(context.flow_of(script).calls_model, values))


def _is_given_well(context: Context, unsafe: Unsafe) -> bool:
    """Whether what loses most by rounding is computed where it runs in fp32: logs of 1 - p, inverses of products."""
    if unsafe.code == "probabilities":
        return is_formed_inside(context, unsafe.home, unsafe.inner)
    return unsafe.code != "linear_algebra" or is_conditioned(context, unsafe.home, unsafe.inner)


def _compiles(script: Script, function: Function) -> bool:
    """Whether TorchScript may compile a function, or what runs it: what it compiles has to be Python that it knows."""
    used = [
        n
        for n in script.nodes
        if isinstance(n, ast.Attribute | ast.Name) and (script.qualified(n) or "").startswith(_COMPILERS)
    ]
    alone = {
        d for f in script.functions if f is not function and _is_alone(script, f) for d in f.decorator_list
    }
    return any(n not in alone for n in used)


def _is_alone(script: Script, function: Function) -> bool:
    """Whether a function calls nothing but torch's functions, methods and builtins."""
    calls = [n for n in ast.walk(function) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)]
    return all((script.called(c) or "").startswith(("torch.", "builtins.", "math.")) for c in calls)


def _leaves_layers(context: Context, full: Full) -> bool:
    """Whether a layer or model still runs under autocast."""
    regions = context.training.regions
    queue: list[tuple[Script, ast.AST]] = [(context.script, s) for r in regions for s in r.statements]
    queue += [(context.script, b.loss) for b in context.training.backwards]
    seen: set[ast.AST] = {*full.functions, *full.remote}
    while queue:
        script, node = queue.pop()
        for call in (n for n in ast.walk(node) if isinstance(n, ast.Call) and n not in full.calls):
            runs = _runs(context, script, call)
            queue += [(home, f) for home, f in runs if f not in seen]
            seen.update(f for _, f in runs)
            if not runs and script.called(call) is None and context.flow_of(script).calls_model(call):
                return True
    return False


def _runs(context: Context, script: Script, call: ast.Call) -> list[tuple[Script, Function]]:
    """The functions and methods of the project that a call runs first."""
    roles = context.roles_of(script)
    if own := roles.callees(call):
        return [(script, f) for f in own]
    owner = call.func.value if isinstance(call.func, ast.Attribute) else None
    found: list[tuple[Script, Function]] = []
    for value, names in ((call.func, ("forward", "__call__")), (owner, (getattr(call.func, "attr", ""),))):
        for origin in roles.origins(value) if value is not None else ():
            made = context.class_elsewhere(origin.name) if origin.kind == "call" else None
            methods = made[1].body if made else []
            found += [(made[0], f) for f in methods if isinstance(f, Function) and f.name in names]  # type: ignore[index]
    return found
