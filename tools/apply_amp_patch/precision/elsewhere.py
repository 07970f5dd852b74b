"""What the layers of the project's other files do under autocast, as far as the script can make and run them."""

import ast
from collections.abc import Iterator
from pathlib import Path

from ..context import Context
from ..models import class_of, makes_model, trained_models
from ..names import Function, last_name
from ..once import once
from ..patch import Declined
from ..project import importing_scripts
from ..roles import Roles
from ..script import Script
from .caches import forward_without_gradients, turns_off
from .closed import changes_arguments
from .constants import bf16_only, fp16_only
from .coordinates import decodes_boxes
from .entropies import is_bce
from .exempt import is_exempt
from .full import Full, Unsafe
from .functions import custom_functions, directions, is_legacy
from .grams import refuse_gram
from .kernels import refuse_given
from .linear import hooks_scaled, is_linear, runs_undecorated
from .operations import derives_twice, is_float64, refuse_derivative, refuse_unsafe, takes_numpy
from .puts import puts_layer_output, puts_widened
from .readings import ANOMALIES, detects_anomalies
from .remote import class_place, import_line
from .tables import picked
from .verdict import Verdict

SPECTRA = "makes spectra, whose energies half precision rounds away"
_MOST_GIVERS = 12
_MOST_BASES = 5
FEATURES = ("torchaudio.transforms.", "torchlibrosa.", "nnAudio.")


def weigh_imported(context: Context, verdict: Verdict) -> None:
    """The layers of the project files that the script imports; of those that hand it a model, where it makes none."""
    for path, other in context.project.items():
        line = import_line(context, path.name)
        verdict.no_bf16 += [(line, code, note) for _, code, note in decodes_boxes(other)]
        if any(detects_anomalies(other, c) for c in other.calls if other.function(c) is None):
            verdict.no_fp16.append((line, "reads_grad", ANOMALIES))
        _weigh_functions(context, path.name, other, verdict, line, context)
        _weigh(context, path.name, other, verdict, line)
    if not context.training.backwards or (trained_models(context) and not _runs_what_is_given(context)):
        return
    line, handed_in = context.training.backwards[0].call.lineno, _runs_parameters(context)
    for giver in _givers(context):
        assert giver.path is not None
        refuse_given(context, giver, line)
        for at, other in {giver.path: giver.script, **giver.project}.items():
            verdict.no_bf16 += [(line, code, note) for _, code, note in decodes_boxes(other)]
            if at != context.path and (at not in context.project or handed_in):
                naming = context if at in context.project else None
                _weigh_functions(giver, at.name, other, verdict, line, naming)
                _weigh(giver, at.name, other, verdict, line)


def _givers(context: Context) -> list[Context]:
    """The files that import this one and, where they make no model either, those that import them."""
    found: dict[Path, Context] = {}
    queue = [context.path]
    while queue and len(found) < _MOST_GIVERS:
        for path, script in importing_scripts(queue.pop(0), context.root).items():
            if path == context.path or path in found:
                continue
            found[path] = giver = Context(script, context.wishes, path, context.root, is_giver=True)
            if not any(_makes_module(giver, call) for call in script.calls):
                queue.append(path)
    return list(found.values())


def _makes_module(context: Context, call: ast.Call) -> bool:
    name = context.script.called(call) or ""
    return makes_model(name) or class_of(context, name) is not None


def _runs_parameters(context: Context) -> bool:
    """Whether what a training calls was handed in: it may be of a class that only the caller mentions."""
    statements = (s for r in context.training.regions for s in r.statements)
    calls = (n for s in statements for n in ast.walk(s) if isinstance(n, ast.Call))
    return any(o.kind == "parameter" for c in calls for o in context.roles.origins(c.func))


def _runs_what_is_given(context: Context) -> bool:
    """A module of this file that calls what its constructor was given: `self.loss = loss`, `self.loss(out)`."""
    for holder in filter(context.roles.is_module_class, context.script.classes):
        given = {
            ast.unparse(n.targets[0])
            for n in ast.walk(holder)
            if isinstance(n, ast.Assign) and isinstance(n.value, ast.Name)
            if [b.kind for b in context.script.bindings(n.value.id, n.value)] == ["parameter"]
        }
        if any(isinstance(n, ast.Call) and ast.unparse(n.func) in given for n in ast.walk(holder)):
            return True
    return False


def _weigh_functions(
    context: Context,
    name: str,
    script: Script,
    verdict: Verdict,
    line: int,
    naming: Context | None,
) -> None:
    """The autograd.Functions of one file: decorated where the script's imports, those of `naming`, can name them."""
    for holder in _custom(context, script):
        forward, backward = directions(holder)
        if is_legacy(holder) or (forward and backward and runs_undecorated(script, forward, backward)):
            continue
        fits = forward and backward and not changes_arguments(forward, but=1)  # cast, it changes a copy
        place = class_place(naming, script, holder) if fits and naming else None
        if place is None or backward is None:
            note = f"{holder.name} in {name} defines its own backward; decorate it there, then patch again"
            raise Declined(line, "custom_function", note)
        if place not in (known for _, known in verdict.functions_elsewhere):
            verdict.functions_elsewhere.append((line, place))
        if not is_linear(script, backward):
            note = f"the backward of {holder.name} in {name} may not be linear in the gradient that a scaler scales"
            verdict.no_fp16.append((line, "custom_function", note))


def _custom(context: Context, script: Script) -> list[ast.ClassDef]:
    found = custom_functions(context.roles_of(script), [context.script, *context.project.values()])
    return [holder for holder in found if context.reached.holds(holder)]


def _weigh(context: Context, name: str, script: Script, verdict: Verdict, line: int) -> None:
    """The layers of one file that a script can make."""
    roles = context.roles_of(script)
    functions = _custom(context, script)
    features(
        script, [c for c in script.classes if roles.is_module_class(c) and context.reached.holds(c)], line
    )
    hooks = hooked(roles, script)
    for function in (h for h in hooks if isinstance(h, Function | ast.Lambda)):
        for home, node in _behind(context, script, function, verdict.full):
            _layer_node(context, home, node, line, f" in {name}", verdict)
    for holder in filter(context.reached.holds, script.classes):
        if not _is_module(context, script, holder) and holder not in (*functions, *hooks):
            continue
        verdict.uncached |= forward_without_gradients(context, script, holder)
        methods = [f for f in holder.body if isinstance(f, Function) and f.name != "__init__"]
        for function in filter(context.reached.holds, methods):
            for home, node in _behind(context, script, function, verdict.full):
                where = f" in {name}" if home is script else f" behind {holder.name} in {name}"
                _layer_node(context, home, node, line, where, verdict)
                if function.name == "forward":
                    _forward_node(node, line, where, verdict)


def _forward_node(node: ast.AST, line: int, where: str, verdict: Verdict) -> None:
    """What a forward pass of another file does that one of the two dtypes cannot bear."""
    if takes_numpy(node):
        note = f".numpy(){where} of a tensor that may be bf16 raises TypeError"
        verdict.no_bf16.append((line, "numpy_of_low_precision", note))
    if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "backward":
        note = f"a layer{where} runs a backward of its own, whose gradients are not scaled"
        verdict.no_fp16.append((line, "backward_elsewhere", note))


def _is_module(context: Context, script: Script, holder: ast.ClassDef, depth: int = 0) -> bool:
    """A module by its own base classes, or by one of another project file."""
    if context.roles_of(script).is_module_class(holder):
        return True
    bases = [context.class_elsewhere(script.qualified(base) or "") for base in holder.bases]
    made = [found for found in bases if found is not None and found[1] is not holder]
    return depth < _MOST_BASES and any(_is_module(context, *found, depth + 1) for found in made)


def hooked(roles: Roles, script: Script) -> list[ast.AST]:
    """What runs before or after a layer without being called: functions, lambdas, and the classes of objects."""
    names = ("register_forward_hook", "register_forward_pre_hook")
    given = [a for c in script.calls if last_name(c) in names for a in c.args[:1]]
    return [o.node for a in given for o in roles.origins(a) if o.node is not None and o.kind != "call"]


def weigh_elsewhere(
    context: Context, script: Script, node: ast.AST, line: int, where: str, verdict: Verdict
) -> None:
    """What one node of another file does under autocast; `line` is the script's that leads there."""
    if is_exempt(script, node):
        return
    if not _is_plain(script, node):
        refuse_unsafe(script, node, line, where)
        refuse_gram(script, node, line, where, verdict.full.left)
        no_fp16 = [(line, code, note + where) for _, code, note in fp16_only(script, node)]
        no_bf16 = [(line, code, note + where) for _, code, note in bf16_only(script, node)]
        if no_fp16 and no_bf16:
            raise Declined(*no_bf16[0])
        verdict.no_fp16 += no_fp16
        verdict.no_bf16 += no_bf16
        if _puts(script, node):
            note = f"an assignment by index{where} needs equal dtypes, and autocast makes one side half"
            raise Declined(line, "in_place_scatter", note)
    if hooks_scaled(context.roles_of(script), node):
        verdict.no_fp16.append((line, "gradient_hook", f"a hook{where} would see scaled gradients"))
    if isinstance(node, ast.Call) and is_bce(context, script, node):
        raise Declined(line, "bce_in_other_file", f"binary cross entropy{where} fails under autocast")


@once
def _is_plain(script: Script, node: ast.AST) -> bool:
    """Whether nothing in the node itself speaks against half precision; asked for every file that leads to it."""
    try:
        refuse_unsafe(script, node, 0, "")
    except Declined:
        return False
    return not (fp16_only(script, node) or bf16_only(script, node) or _puts(script, node))


def _puts(script: Script, node: ast.AST) -> bool:
    return puts_layer_output(script, node) or puts_widened(script, node)


def _layer_node(
    context: Context, script: Script, node: ast.AST, line: int, where: str, verdict: Verdict
) -> None:
    """What one node does that a layer of another file runs.

    A layer that goes to float64 and back stays right: autocast leaves float64 alone, and so it was before.
    """
    refuse_derivative(script, node, line, where)
    if derives_twice(script, node):
        verdict.no_fp16.append((line, "second_order", f"a layer{where} takes gradients by itself"))
    if is_float64(script, node) or verdict.full.holds(script, node):
        return
    try:
        weigh_elsewhere(context, script, node, line, where, verdict)
    except Declined as reason:
        raise Unsafe(reason, node, script, node) from reason


def _behind(
    context: Context, script: Script, method: ast.AST, full: Full
) -> Iterator[tuple[Script, ast.AST]]:
    """The nodes that a method of another file runs: its own, and those of the plain functions it calls."""
    functions, queue = {method}, [method]  # a lambda may be a hook
    samples = isinstance(method, Function) and any(turns_off(script, d) for d in method.decorator_list)
    while queue:
        for node in ast.walk(queue.pop()):
            yield script, node
            if not isinstance(node, ast.Call) or full.holds(script, node):
                continue
            roles, named = context.roles_of(script), last_name(node)
            if samples:  # no training runs what a choice of its own leads to, such as a filter of logits
                yield from context.named_elsewhere(script.called(node) or "")
                given = [f for f in roles.callees(node) if f.name == named]
            else:
                yield from context.run_elsewhere(node, script)
                yield from context.handed_elsewhere(script, node)
                yield from ((home, n) for home, f in picked(context, script, node) for n in ast.walk(f))
                origins = () if script.called(node) else roles.origins(node.func)
                held = [o.node for o in origins if isinstance(o.node, Function)]  # `self.knn = knn`
                given = [*roles.callees(node), *roles.handed(node), *held]
                if any(o.name == "builtins.eval" for o in origins):
                    for name in _imported_names(script):
                        yield from context.named_elsewhere(name)
            for function in given:
                holder = script.method_class(function)  # methods of a module are weighed by themselves
                if function not in functions and not (holder and _is_module(context, script, holder)):
                    functions.add(function)
                    queue.append(function)


def _imported_names(script: Script) -> list[str]:
    """What `self.solver = eval(name)` may be: whatever a file imports by name."""
    statements = [n for n in script.nodes if isinstance(n, ast.ImportFrom)]
    return [f"{s.module}.{alias.name}" for s in statements for alias in s.names]


def features(script: Script, modules: list[ast.ClassDef], line: int | None) -> None:
    """Raise where a module turns sound into spectra before its layers: energies span more than half precision holds."""
    for holder in modules:
        for node in ast.walk(holder):
            name = script.called(node) or ""
            if name.startswith(FEATURES):
                raise Declined(line or node.lineno, "fft_or_complex", f"{name} in {holder.name} {SPECTRA}")  # type: ignore[attr-defined]
