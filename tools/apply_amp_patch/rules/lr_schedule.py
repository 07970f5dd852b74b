"""A one-cycle schedule: warm-up, then cosine decay, over the steps that the script will take.

Where only epochs can be counted, the decay alone: a warm-up by epochs would waste the first and the last of them.

    for epoch in range(epochs):                 lr_schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, ...)
        for x, y in loader:               ->    for epoch in range(epochs):
            ...                                     for x, y in loader:
            optimizer.step()                            ...
                                                        optimizer.step()
                                                        lr_schedule.step()

Its peak is the learning rate the script uses now; fewer epochs then often reach the same loss, which a measurement has
to show. https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.OneCycleLR.html
"""

import ast

from ..context import Context
from ..datasets import kind_of_data
from ..edits import Edit, Line
from ..epochs import Epochs, find_epochs
from ..flow import path
from ..patch import Declined, Patch, Site
from ..precision.gradients import line_of
from ..prelude import free_name, header
from ..schedules import check_alone

REMEDY = "lr_schedule"
# arguments of optimizers that schedule their rate themselves: BertAdam, Adafactor, schedule-free ones
_OWN_SCHEDULE = {
    "warmup",
    "warmup_steps",
    "warmup_init",
    "warmup_proportion",
    "t_total",
    "num_training_steps",
    "relative_step",
}
_LOADERS = ("torch.utils.data.DataLoader", "torch_geometric.loader.DataLoader")


def propose(context: Context) -> Patch:
    """A schedule for the one optimizer of the file, unless it has one."""
    script = context.script
    for call in script.calls:
        name = script.called(call) or ""
        if name.startswith(("torch.optim.lr_scheduler.", "transformers.get_", "timm.scheduler.")):
            return Patch(
                "already",
                [Site(call.lineno, REMEDY, "keep", "already", f"{name} schedules the learning rate")],
            )
    by_hand = next((n for n in script.nodes if _sets_rate(n)), None)
    if by_hand is not None:
        note = "the learning rate is set by hand"
        return Patch("already", [Site(line_of(by_hand), REMEDY, "keep", "already", note)])
    if not context.training.backwards or not context.training.steps:
        return Patch(
            "nothing_to_do", [Site(1, REMEDY, "keep", "no_training_loop", "no training loop in this file")]
        )
    if (built := _self_scheduled(context)) is not None:
        note = f"{ast.unparse(built.func)} schedules the learning rate itself"
        return Patch("already", [Site(built.lineno, REMEDY, "keep", "already", note)])
    try:
        return _schedule(context, find_epochs(context))
    except Declined as reason:
        return reason.as_patch(REMEDY)


def _sets_rate(node: ast.AST) -> bool:
    """`group["lr"] = rate` or `optimizer.param_groups[0].update(lr=rate)`."""
    if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
        return isinstance(node.slice, ast.Constant) and node.slice.value == "lr"
    if not (
        isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "update"
    ):
        return False
    named = any(k.arg == "lr" for k in node.keywords)
    return named or any(isinstance(a, ast.Dict) and "'lr'" in ast.unparse(a) for a in node.args)


def _self_scheduled(context: Context) -> ast.Call | None:
    """The optimizer that lowers its rate by itself: `BertAdam(..., warmup=0.1, t_total=steps)`."""
    for origin in (o for step in context.training.steps for o in context.roles.origins(step.optimizer)):
        call = origin.node
        if isinstance(call, ast.Call) and (
            origin.name.startswith("schedulefree.")
            or origin.name.endswith(".Adafactor")
            or any(k.arg in _OWN_SCHEDULE for k in call.keywords)
        ):
            return call
    return None


def _schedule(context: Context, epochs: Epochs) -> Patch:
    script, step = context.script, epochs.step
    _check_loop(context, epochs)
    optimizer = _visible_optimizer(context, epochs)
    check_alone(context, epochs)
    name = free_name(script, "lr_schedule")
    torch = script.torch_name() or "torch"
    total, place, unit = _length(context, epochs)
    # a group keeps its peak under max_lr, while lr is tiny after a run, or whatever a checkpoint was saved with
    peak = f'[group.get("max_lr", group["lr"]) for group in {optimizer}.param_groups]'
    cycle = f"{torch}.optim.lr_scheduler.OneCycleLR"
    make = f"{name} = {cycle}({optimizer}, max_lr={peak}, {total}, cycle_momentum=False)"
    edits: list[Edit] = [Line(epochs.loop.lineno, script.indentation(epochs.loop.lineno), make)]
    edits += [] if script.torch_name() else [header(script, ["import torch"])]
    line = (place.end_lineno or place.lineno) + 1
    edits.append(Line(line, script.indentation(place.lineno), f"{name}.step()"))
    shape = "cosine decay" if unit == "epoch" else "warm-up and cosine decay"
    sites = [
        Site(epochs.loop.lineno, REMEDY, "edit", "schedule", f"{shape}, one point per {unit}"),
        Site(place.lineno, REMEDY, "edit", "schedule_step", f"once per {unit}, after the optimizer"),
    ]
    warnings = ["the schedule changes results: measure the quality before and after"]
    if any(ast.unparse(c.func.value) == step.path for c in script.method_calls("load_state_dict")):  # type: ignore[attr-defined]
        warnings.append(f"a run that resumes starts the schedule anew: save and load {name}'s state as well")
    return Patch("patched", sites, edits, warnings)


def _check_loop(context: Context, epochs: Epochs) -> None:
    """Raises Declined where iterations of the loop and steps of the optimizer do not go together."""
    script, step = context.script, epochs.step
    if step.call.args and not step.scaled:
        raise Declined(step.call.lineno, "closure", "a closure steps the optimizer several times per batch")
    if any(n.startswith("torch.optim.LBFGS") for n in context.roles.constructor(step.optimizer)):
        raise Declined(step.call.lineno, "closure", "LBFGS searches its own step length")
    if script.function(epochs.loop) is not None and _steps_tensors(context, epochs):
        note = (
            "the optimizer changes tensors, not a model: an attack or another inner problem, not the training"
        )
        raise Declined(step.call.lineno, "epochs_not_found", note)
    if epochs.conditional and not epochs.looped:
        note = "only some iterations of this loop step the optimizer, so they are no measure of its steps"
        raise Declined(step.call.lineno, "epochs_not_found", note)
    until = epochs.training.end_lineno or epochs.training.lineno
    for node in ast.walk(epochs.loop):
        if isinstance(node, ast.Continue) and script.loop(node) is epochs.loop and node.lineno <= until:
            note = "an epoch may be left before it trains"
            raise Declined(node.lineno, "epochs_not_found", note)


def _length(context: Context, epochs: Epochs) -> tuple[str, ast.stmt, str]:
    """The schedule's length as arguments, the statement behind which it steps, and its unit.

    An epoch is too coarse for a warm-up, and the rate after the last one would serve nobody: hence no warm-up,
    and one point more, which is zero.
    """
    per_batch = _per_batch(context, epochs)
    if per_batch is not None:
        return f"total_steps={per_batch[0]}", per_batch[1], "step"
    if not epochs.looped:
        return f"total_steps={epochs.count}", epochs.training, "step"
    points = str(int(epochs.count) + 1) if epochs.count.isdigit() else f"{epochs.count} + 1"
    return f"total_steps={points}, div_factor=1", epochs.training, "epoch"


def _steps_tensors(context: Context, epochs: Epochs) -> bool:
    """The optimizer was built for a list of tensors: `SGD([delta], lr=...)`."""
    built = [o.node for o in context.roles.origins(epochs.step.optimizer) if isinstance(o.node, ast.Call)]
    given = [call.args[0] for call in built if call.args]
    return bool(given) and all(
        isinstance(value, ast.List) and not any(isinstance(e, ast.Dict | ast.Starred) for e in value.elts)
        for value in given
    )


def _per_batch(context: Context, epochs: Epochs) -> tuple[str, ast.stmt] | None:
    """Total steps and the statement behind which to step, where every batch of a sized loader takes one step."""
    script, batches = context.script, epochs.batches
    if batches is None or script.block(epochs.step.statement) is not batches.body:
        return None
    if any(isinstance(n, ast.Continue | ast.Break) and script.loop(n) is batches for n in ast.walk(batches)):
        return None
    loader: ast.expr = batches.iter
    while (
        isinstance(loader, ast.Call)
        and loader.args
        and (
            script.called(loader) in ("builtins.enumerate", "builtins.iter")
            or (script.called(loader) or "").startswith("tqdm")
        )
    ):
        loader = loader.args[0]
    text = path(loader)
    if text is None or not context.roles.constructor(loader, "torch") & set(_LOADERS):
        return None
    built = [o.node for o in context.roles.origins(loader) if isinstance(o.node, ast.Call)]
    if any(kind_of_data(context, call) == "stream" for call in built):  # has no length, as a rule
        return None
    if text.split(".")[0] in {
        n.id for n in ast.walk(epochs.loop) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
    }:
        return None
    after: ast.stmt = epochs.step.statement
    block = batches.body
    following = block[block.index(after) + 1 :]
    if following and ".update()" in ast.unparse(following[0]):
        after = following[0]
    count = epochs.count if epochs.count.replace(".", "").replace("_", "").isalnum() else f"({epochs.count})"
    return f"{count} * len({text})", after


def _visible_optimizer(context: Context, epochs: Epochs) -> str:
    """The optimizer's name at the epoch loop."""
    script = context.script
    node = epochs.step.optimizer
    function, home = script.function(node), script.function(epochs.loop)
    if function is home:
        return epochs.step.path
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self":
        same = function and home and script.method_class(function) is script.method_class(home) is not None
        if same:
            return epochs.step.path
    if isinstance(node, ast.Name) and function is not None:
        bindings = script.bindings(node.id, node)
        if bindings and script.bindings(node.id, epochs.loop) is bindings:
            return node.id
        for call in context.roles.call_sites(function):
            value = context.roles.argument(call, function, node.id)
            if value is not None and path(value) and script.function(call) is home:
                return path(value) or ""
    raise Declined(
        epochs.step.call.lineno, "optimizer_unknown", "the optimizer has no name at the loop over epochs"
    )
