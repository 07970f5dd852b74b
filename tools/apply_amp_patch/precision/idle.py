"""Steps of optimizers that may have got no gradients: a scaler stops there, where the optimizer did nothing."""

import ast

from ..context import Context
from ..loops import Backward, Step
from .gradients import held_by, reach


def idle_step(context: Context) -> Step | None:
    """A step behind another one of the same backward, where what it steps may have run under a condition alone."""
    behind: dict[tuple[Step, ...], list[ast.Call]] = {}
    for backward, found in context.training.contributors.items():
        calls = [c for s in found for c in ast.walk(s) if isinstance(c, ast.Call) and _runs_model(context, c)]
        behind.setdefault(_fed_by(context, backward), []).extend(calls)
    for steps, calls in behind.items():
        if len({step.path for step in steps}) < 2:
            continue  # one optimizer that holds them all has always some
        for step in steps:
            if _is_idle(context, step, steps, calls):
                return step
    return None


def _is_idle(context: Context, step: Step, steps: tuple[Step, ...], calls: list[ast.Call]) -> bool:
    """Of an optimizer handed in, only the number is known: as many models as steps must run where it steps."""
    here = _conditions(context, step.call)
    if any(isinstance(o.node, ast.Call) for o in context.roles.origins(step.optimizer)):
        held = held_by(context, step)
        own = [c for c in calls if held & reach(context, c.func)]
        return bool(own) and not _runs_always(context, own, here)
    models: dict[str, list[ast.Call]] = {}
    for call in calls:
        models.setdefault(ast.unparse(call.func), []).append(call)
    sure = [runs for runs in models.values() if _runs_always(context, runs, here)]
    beside = {s.path for s in steps if _conditions(context, s.call) <= here}
    return len(sure) < min(len(beside), len(models))


def _runs_always(context: Context, calls: list[ast.Call], here: set[tuple[str, bool]]) -> bool:
    """Whether one of some calls runs under the conditions `here`, or one in either branch of an if."""
    return any(_conditions(context, c) <= here or _in_each_branch(context, c, calls) for c in calls)


def _fed_by(context: Context, backward: Backward) -> tuple[Step, ...]:
    """The steps of its function between a backward and the next one behind them."""
    script, training = context.script, context.training
    host, line = script.function(backward.call), backward.call.lineno
    steps = [s for s in training.steps if script.function(s.call) is host and s.call.lineno > line]
    first = min((s.call.lineno for s in steps), default=line)
    later = [b.call.lineno for b in training.backwards if script.function(b.call) is host]
    return tuple(s for s in steps if not any(first < other < s.call.lineno for other in later))


def _runs_model(context: Context, call: ast.Call) -> bool:
    return context.script.called(call) is None and context.flow_of(context.script).is_model_call(call)


def _conditions(context: Context, node: ast.AST) -> set[tuple[str, bool]]:
    """The tests that decide on a node in its function, and whether it stands in the else of each."""
    script = context.script
    found: set[tuple[str, bool]] = set()
    for above in script.ancestors(node):
        if isinstance(above, ast.If) and script.function(above) is script.function(node):
            found.add((ast.unparse(above.test), any(node in ast.walk(s) for s in above.orelse)))
    return found


def _in_each_branch(context: Context, call: ast.Call, calls: list[ast.Call]) -> bool:
    """Whether one of some calls stands in the other branch of an if as well."""
    return any(
        all(any(c in ast.walk(s) for s in part for c in calls) for part in (above.body, above.orelse))
        for above in context.script.ancestors(call)
        if isinstance(above, ast.If)
    )
