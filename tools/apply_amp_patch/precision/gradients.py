"""Where gradients are read between a backward and its step, and which optimizer has to be unscaled before."""

import ast
from dataclasses import dataclass, field

from ..context import Context
from ..flow import path, uses
from ..loops import Step
from ..models import is_model
from ..names import last_name
from ..script import Script
from .handed import gives_parameters
from .readings import reads

# Averaging gradients over processes: each process's scaler would decide alone whether to skip the step.
_EXCHANGES = {
    "all_reduce",
    "all_reduce_coalesced",
    "allreduce",
    "Allreduce",
    "allreduce_",
    "all_gather",
    "reduce_scatter",
    "broadcast",
    "Bcast",
    "synchronize",
}
_ELSEWHERE_WORDS = (
    "train eval zero_grad state_dict load_state_dict parameters named_parameters modules named_modules children "
    "to cuda cpu float requires_grad_ forward apply no_sync "
)
_LOOKS_ELSEWHERE = frozenset(_ELSEWHERE_WORDS.split())
_CALM = ("builtins.", "time.", "math.", "logging.", "wandb.", "tqdm.", "os.", "random.", "numpy.")


@dataclass(frozen=True)
class Unscale:
    """`amp_scaler.unscale_(optimizer)` belongs before this statement."""

    before: ast.stmt
    optimizer: str


@dataclass
class Readings:
    """`uncovered` are readings of gradients that no unscale_ can make right: line and why."""

    unscales: list[Unscale] = field(default_factory=list)
    uncovered: list[tuple[int, str, str]] = field(default_factory=list)


def find_readings(context: Context) -> Readings:
    """Every reading of gradients, covered by an unscale_ or listed as uncovered."""
    found = Readings(uncovered=_set_by_hand(context))
    covered: set[ast.AST] = set()
    seen: dict[ast.AST, None] = {}
    for step in context.training.steps:
        beside, outer = _window(context, step)
        _cover(context, step, beside, found, covered, seen)
        for node in (n for s in outer for n in reading_nodes(context, s) if n not in covered):
            note = "gradients are read on more steps than the optimizer takes"
            found.uncovered.append((line_of(node), "clip_outside_boundary", note))
            covered.add(node)
    for node in [*seen, *(n for n in context.script.nodes if reads(context.script, n))]:
        if node not in covered and (node in seen or not _after_step(context, node)):
            covered.add(node)
            note = "gradients are read where they are still scaled"
            found.uncovered.append((line_of(node), "reads_grad", note))
    return found


def _set_by_hand(context: Context) -> list[tuple[int, str, str]]:
    """`p.grad = q.grad`, here or in a function of another file that is called: whatever `unscale_` does to p."""
    note = "gradients are set by hand, which no unscale_ can follow"
    lines = [
        node.lineno for node in context.script.nodes if isinstance(node, ast.Assign) and _puts_grad(node)
    ]
    lines += [
        call.lineno
        for call in context.script.calls
        if any(isinstance(n, ast.Assign) and _puts_grad(n) for _, n in context.run_elsewhere(call))
    ]
    return [(line, "reads_grad", note) for line in lines]


def _puts_grad(statement: ast.Assign) -> bool:
    """Whether an assignment makes something else than itself, None or a number the gradient of a parameter."""
    if isinstance(statement.value, ast.Constant):
        return False
    return any(
        isinstance(target, ast.Attribute)
        and target.attr in ("grad", "_grad")
        and f"{ast.unparse(target.value)}.grad" not in ast.unparse(statement.value)
        for target in statement.targets
    )


def _cover(
    context: Context,
    step: Step,
    beside: list[ast.stmt],
    found: Readings,
    covered: set[ast.AST],
    seen: dict[ast.AST, None],
) -> None:
    """An unscale_ in front of the first statement beside a step that reads its gradients."""
    first: ast.stmt | None = None
    for statement in beside:
        nodes = reading_nodes(context, statement)
        seen.update(dict.fromkeys(nodes))
        wanted = [
            n for n in nodes if len(context.training.step_paths) == 1 or _matches(context, n, statement, step)
        ]
        if wanted:
            first = first or statement
            covered.update(wanted)
            found.uncovered += [reason for n in wanted if (reason := _not_local(context, n)) is not None]
    if first is not None:
        found.unscales.append(Unscale(first, step.path))


def line_of(node: ast.AST) -> int:
    return int(getattr(node, "lineno", 1))


def _window(context: Context, step: Step) -> tuple[list[ast.stmt], list[ast.stmt]]:
    """The statements between the last backward and a step: beside the step, and in the blocks around it."""
    script, training = context.script, context.training
    beside: list[ast.stmt] = []
    outer: list[ast.stmt] = []
    at: ast.stmt | None = step.statement
    while at is not None:
        block = script.block(at)
        for earlier in reversed(block[: block.index(at)]):
            if "backward" in training.effect(earlier):
                return beside[::-1], outer[::-1]
            (beside if at is step.statement else outer).append(earlier)
        if isinstance(script.parents[at], ast.For | ast.While):
            break
        at = script.outer(at)
    return beside[::-1], outer[::-1]


def reading_nodes(context: Context, statement: ast.stmt) -> list[ast.AST]:
    """The places inside a statement that read or change gradients, or may do so in a function we cannot see."""
    found = [n for n in ast.walk(statement) if reads(context.script, n)]
    calls = (n for n in ast.walk(statement) if isinstance(n, ast.Call) and n not in found)
    return found + [call for call in calls if _may_read(context, call)]


def _may_read(context: Context, call: ast.Call) -> bool:
    """A call that reads gradients in its body, or is handed their parameters and has its body elsewhere."""
    body = _body(context, call)
    if body is not None:
        return any(reads(script, n) for script, n in body)
    return not _is_calm(context, call) and _is_handed(context, call)


def _body(context: Context, call: ast.Call) -> list[tuple[Script, ast.AST]] | None:
    """The nodes that a call runs in this file or another of the project; None where they are in neither."""
    functions = context.roles.callees(call)
    if functions:
        return [(context.script, n) for f in functions for n in ast.walk(f)]
    return context.run_elsewhere(call) or None


def _is_calm(context: Context, call: ast.Call) -> bool:
    name = context.script.called(call) or ""
    return name.startswith(("torch.", *_CALM))


def _is_handed(context: Context, call: ast.Call) -> bool:
    """Whether a call gets an optimizer that steps, parameters, or the model that holds them."""
    paths = context.training.step_paths
    paths |= {p.rpartition(".")[0] for p in paths} - {"", "self"}
    handed = [*call.args, *(k.value for k in call.keywords)]
    method = call.func if isinstance(call.func, ast.Attribute) else None
    if (
        method is not None
        and method.attr not in _LOOKS_ELSEWHERE
        and _holds_parameters(context, method.value)
    ):
        return True
    return any(
        ast.unparse(a) in paths
        or ".parameters()" in ast.unparse(a)
        or gives_parameters(context, a)
        or _holds_parameters(context, a)
        for a in handed
    )


def _holds_parameters(context: Context, node: ast.expr) -> bool:
    """A model by its origin, or something that an optimizer of this file took its parameters from."""
    text = path(node)
    if text is None or text in ("self", "cls"):
        return False
    if is_model(context, node):
        return True
    return any(
        isinstance(o.node, ast.Call)
        and (f"{text}.parameters()" in ast.unparse(o.node) or text in map(path, o.node.args[:1]))
        for step in context.training.steps
        for o in context.roles.origins(step.optimizer)
    )


def _not_local(context: Context, node: ast.AST) -> tuple[int, str, str] | None:
    """Why `unscale_` in front of a reading is not enough: other processes take part, or nothing is known of it."""
    line = line_of(node)
    inside = (
        [node, *context.script.ancestors(node)] if not isinstance(node, ast.Call) else list(ast.walk(node))
    )
    body = _body(context, node) if isinstance(node, ast.Call) else None
    inside += [n for _, n in body or ()]
    if any(isinstance(n, ast.Call) and last_name(n) in _EXCHANGES for n in inside):
        note = "gradients are exchanged between processes, of which each would skip on its own"
        return line, "gradients_exchanged", note
    if isinstance(node, ast.Call) and body is None and not reads(context.script, node):
        note = f"{ast.unparse(node.func)} may change the gradients, and its code is not at hand"
        return line, "reads_grad", note
    return None


def _matches(context: Context, node: ast.AST, statement: ast.stmt, step: Step) -> bool:
    """Whether the gradients read belong to the parameters that the step's optimizer was built for."""
    reader = node if isinstance(node, ast.Call) else statement
    return bool(held_by(context, step) & reach(context, reader))


def held_by(context: Context, step: Step) -> set[str]:
    """The paths whose parameters an optimizer was built for, and its own: `D.optim` steps the parameters of D."""
    ours = {step.path, step.path.rpartition(".")[0]} - {"self"}
    for origin in context.roles.origins(step.optimizer):
        if isinstance(origin.node, ast.Call):
            for value in [
                *origin.node.args[:1],
                *(k.value for k in origin.node.keywords if k.arg == "params"),
            ]:
                ours |= reach(context, value)
    return ours


def reach(context: Context, node: ast.AST) -> set[str]:
    """The paths that hold parameters in an expression, through one assignment."""
    found = {p.removesuffix(".parameters") for p in uses(node)}
    for inner in ast.walk(node):
        if isinstance(inner, ast.Name):
            for binding in context.script.bindings(inner.id, inner):
                if binding.kind == "assign" and binding.value is not None:
                    found |= {p.removesuffix(".parameters") for p in uses(binding.value)}
    return {p for p in found if context.script.bindings(p.split(".")[0], node) or p.startswith("self.")}


def _after_step(context: Context, node: ast.AST) -> bool:
    """Whether the reading follows its optimizer's step in the same block: step() has unscaled the gradients."""
    script, training = context.script, context.training
    function = script.function(node)
    if function is not None and not any(s.statement in ast.walk(function) for s in training.steps):
        calls = context.roles.call_sites(function)
        return bool(calls) and all(_covered_call(context, c) for c in calls)
    at: ast.stmt | None = script.statement(node)
    while at is not None:
        block = script.block(at)
        for earlier in reversed(block[: block.index(at)]):
            if "step" in training.effect(earlier):
                return len(training.step_paths) == 1
            if "backward" in training.effect(earlier):
                return False
        at = script.outer(at)
    return False


def _covered_call(context: Context, call: ast.Call) -> bool:
    """Whether a call that reads gradients inside stands in the window of a step."""
    windows = (_window(context, step)[0] for step in context.training.steps)
    return any(call in ast.walk(s) for window in windows for s in window)
