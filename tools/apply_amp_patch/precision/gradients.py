"""Where gradients are read between a backward and its step, and which optimizer has to be unscaled before."""

import ast
from dataclasses import dataclass, field

from ..context import Context
from ..flow import uses
from ..loops import Step

_CLIPS = (
    "torch.nn.utils.clip_grad",
    "torch.nn.utils.get_total_norm",
    "torch.nn.utils.clip_grads_with_norm_",
    "timm.utils.dispatch_clip_grad",
    "timm.utils.adaptive_clip_grad",
)
_ZEROING = {"zero_", "detach_", "fill_"}
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
    found = Readings()
    covered: set[ast.AST] = set()
    steps = context.training.steps
    optimizers = {s.path for s in steps}
    for step in steps:
        window, outer = _window(context, step)
        first: ast.stmt | None = None
        for statement in window:
            nodes = reading_nodes(context, statement)
            wanted = [n for n in nodes if len(optimizers) == 1 or _matches(context, n, statement, step)]
            if wanted:
                first = first or statement
                covered.update(wanted)
        if first is not None:
            found.unscales.append(Unscale(first, step.path))
        for statement in outer:
            for node in reading_nodes(context, statement):
                if node not in covered:
                    found.uncovered.append(
                        (
                            line_of(node),
                            "clip_outside_boundary",
                            "gradients are read on more steps than the optimizer takes",
                        )
                    )
                    covered.add(node)
    for node in _all_readings(context):
        if node not in covered and not _after_step(context, node):
            found.uncovered.append(
                (line_of(node), "reads_grad", "gradients are read where they are still scaled")
            )
    return found


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
    found = [n for n in ast.walk(statement) if reads(context, n)]
    for call in (n for n in ast.walk(statement) if isinstance(n, ast.Call)):
        if call in found or (
            context.script.called(call) is not None and not _imported_function(context, call)
        ):
            continue
        if _may_read(context, call):
            found.append(call)
    return found


def reads(context: Context, node: ast.AST) -> bool:
    """Whether a node reads gradients: a clipping call, or `.grad` where it is not only set to zero or None."""
    script = context.script
    if isinstance(node, ast.Call):
        return (script.called(node) or "").startswith(_CLIPS)
    if not (isinstance(node, ast.Attribute) and node.attr == "grad" and isinstance(node.ctx, ast.Load)):
        return False
    if script.qualified(node):
        return False
    above = script.parents[node]
    if isinstance(above, ast.Compare) and all(isinstance(c, ast.Constant) for c in above.comparators):
        return False
    while isinstance(above, ast.Attribute) and above.attr in ("data", *_ZEROING):
        if above.attr in _ZEROING:
            return False
        above = script.parents[above]
    return not isinstance(above, ast.If | ast.BoolOp)


def _imported_function(context: Context, call: ast.Call) -> bool:
    name = context.script.called(call) or ""
    return not name.startswith(("torch.", *_CALM))


def _may_read(context: Context, call: ast.Call) -> bool:
    """A call that is handed the optimizer or parameters and whose code is elsewhere, or reads gradients here."""
    for function in context.roles.callees(call):
        if any(reads(context, n) for n in ast.walk(function)):
            return True
    if context.roles.callees(call) or context.script.called(call) is None:
        return False
    paths = {s.path for s in context.training.steps}
    handed = [*call.args, *(k.value for k in call.keywords)]
    return any(ast.unparse(a) in paths or ".parameters()" in ast.unparse(a) for a in handed)


def _all_readings(context: Context) -> list[ast.AST]:
    return [n for n in context.script.nodes if reads(context, n)]


def _matches(context: Context, node: ast.AST, statement: ast.stmt, step: Step) -> bool:
    """Whether the gradients read belong to the parameters that the step's optimizer was built for."""
    ours: set[str] = set()
    for origin in context.roles.origins(step.optimizer):
        if isinstance(origin.node, ast.Call):
            for value in [
                *origin.node.args[:1],
                *(k.value for k in origin.node.keywords if k.arg == "params"),
            ]:
                ours |= _reach(context, value)
    reader = node if isinstance(node, ast.Call) else statement
    theirs = _reach(context, reader)
    return bool(ours & theirs) or step.path in theirs


def _reach(context: Context, node: ast.AST) -> set[str]:
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
    if function is not None and node is not None:
        sites = script.statement(node)
        if any(s.statement in ast.walk(function) for s in training.steps) is False:
            calls = context.roles.call_sites(function)
            return bool(calls) and all(_covered_call(context, c) for c in calls)
        del sites
    statement = script.statement(node)
    at: ast.stmt | None = statement
    while at is not None:
        block = script.block(at)
        for earlier in reversed(block[: block.index(at)]):
            if "step" in training.effect(earlier):
                return len({s.path for s in training.steps}) == 1
            if "backward" in training.effect(earlier):
                return False
        at = script.outer(at)
    return False


def _covered_call(context: Context, call: ast.Call) -> bool:
    """Whether a call that reads gradients inside stands in the window of a step."""
    statement = context.script.statement(call)
    for step in context.training.steps:
        window, _ = _window(context, step)
        if any(call in list(ast.walk(s)) for s in window):
            return True
    del statement
    return False
