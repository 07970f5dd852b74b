"""Which precision is safe for a script, and why not the other."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from ..context import Context
from ..flow import DETACHED
from ..loops import Backward, Step, fed_here
from ..models import is_model
from ..patch import Declined
from ..slices import differentiated
from .arrays import find_casts, find_magnified
from .closures import refuse_closures
from .device import Device, find_device
from .gradients import Readings, find_readings, line_of
from .hazards import weigh
from .idle import idle_step
from .leaves import is_of_leaves
from .readings import reads
from .replicas import NOTE
from .steppers import is_schedule
from .updates import left_behind, never_cleared, update_places
from .verdict import Verdict

_CALM = ("torch.profiler.", "torch.autograd.profiler", "torch.amp.", "builtins.", "gym", "tqdm.")

Reason = tuple[int, str, str]


@dataclass
class Plan:
    """`mode` is auto (chosen when the script runs), fp16 or bf16; a scaler belongs to the first two."""

    mode: str
    device: Device
    verdict: Verdict
    readings: Readings
    casts: list[ast.expr]  # tensors that have to become fp32: in front of `.numpy()`, or for a layer in fp32
    perhaps_cast: list[ast.expr]  # the same for what may be in half precision
    bf16_because: Reason | None = None  # what rules the scaler out, under "auto"
    fp16_because: Reason | None = None

    @property
    def scaled(self) -> bool:
        return self.mode != "bf16"

    @property
    def hooked(self) -> int | None:
        """The line that leads to threads which a hook has to tell the dtype: fp16 they take by themselves."""
        return None if self.scaled else self.verdict.replicas


def make_plan(context: Context) -> Plan:
    """Raises Declined where no precision the caller allows is provably right."""
    refuse_closures(context)
    _need_forward(context)
    verdict = weigh(context)
    device = find_device(context)
    readings = find_readings(context)
    casts, perhaps, unsure = find_casts(context)
    no_fp16 = [*_no_scaler(context), *verdict.no_fp16, *readings.uncovered, *find_magnified(context)]
    no_bf16 = [*verdict.no_bf16, *unsure]
    wish = context.wishes.precision
    plan = Plan(wish, device, verdict, readings, casts, perhaps)
    if wish == "fp16" and no_fp16:
        raise Declined(*no_fp16[0])
    if wish == "bf16" and no_bf16:
        raise Declined(*no_bf16[0])
    if wish == "auto":
        if no_fp16 and no_bf16:
            raise Declined(*no_bf16[0])
        if no_fp16:
            plan.mode, plan.bf16_because = "bf16", no_fp16[0]
        elif device.literal == "cpu":
            if no_bf16:
                raise Declined(*no_bf16[0])
            plan.mode = "bf16"
        elif no_bf16 or verdict.replicas or device.late:
            plan.mode, plan.fp16_because = "fp16", [*no_bf16, *_rather_fp16(verdict, device)][0]
    return plan


def _rather_fp16(verdict: Verdict, device: Device) -> list[Reason]:
    """What makes fp16 the simpler choice where both would do."""
    found = [(verdict.replicas, "data_parallel", NOTE)] if verdict.replicas else []
    if device.late:
        note = "asking the GPU for bf16 at import would start CUDA too early"
        found.append((device.late, "gpu_chosen_late", note))
    return found


def _need_forward(context: Context) -> None:
    """Raise where a loss has no forward pass here, or none of them trains a model that runs here."""
    training = context.training
    trains = any(_has_model(context, b, differentiated(training, b)) for b in training.backwards)
    for backward in training.backwards:
        if backward in training.unresolved:
            raise Declined(
                backward.call.lineno,
                "loss_from_elsewhere",
                f"{', '.join(sorted(training.unresolved[backward])) or 'the loss'} is computed outside of this file",
            )
        runs = trains and _has_model(context, backward, training.contributors[backward])
        if not runs and not is_of_leaves(context, backward):
            raise Declined(
                backward.call.lineno,
                "forward_not_found",
                "the forward pass behind this loss is not among the statements that lead to it",
            )


def _has_model(context: Context, backward: Backward, found: set[ast.stmt]) -> bool:
    """Whether a model runs in the regions, among the statements behind a loss."""
    flow = context.training.flow
    inside = {n for region in context.training.regions for s in region.statements for n in ast.walk(s)}
    nodes = [*ast.walk(backward.loss), *(n for s in found if s in inside for n in ast.walk(s))]
    return any(flow.is_model_call(n) and not _is_handed_loss(context, n) for n in nodes)


def _is_handed_loss(context: Context, node: ast.AST) -> bool:
    """`self.criterion(logits, y)`, where the criterion is handed in: that runs no layers."""
    if not isinstance(node, ast.Call) or any(is_model(context, a) for a in node.args):
        return False
    last = ast.unparse(node.func).split(".")[-1].lower()
    origins = context.roles.origins(node.func)
    named = last.endswith(("criterion", "criteria"))
    return named and bool(origins) and all(o.kind == "parameter" for o in origins)


def _no_scaler(context: Context) -> list[Reason]:
    """What forbids to scale gradients."""
    return [*_no_steps(context), *_wrong_steps(context), *_beside_the_scaler(context)]


def _no_steps(context: Context) -> list[Reason]:
    """Where the file steps nothing: by hand, or in another file."""
    if context.training.steps:
        return []
    line = context.training.backwards[0].call.lineno
    found: list[Reason] = []
    note = "the optimizer steps outside of this file, so nothing could unscale"
    by_hand = next((n for n in context.script.nodes if reads(context.script, n)), None)
    if by_hand is not None:
        found.append(
            (
                line_of(by_hand),
                "reads_grad",
                "the script reads gradients and has no known optimizer that steps",
            )
        )
    elif all(c.args for c in context.script.method_calls("step")) and not _steps_elsewhere(context):
        raise Declined(line, "step_elsewhere", note)
    return [*found, (line, "step_elsewhere", note)]


def _wrong_steps(context: Context) -> list[Reason]:
    """Steps that a scaler cannot make, or between which its scale would change."""
    training = context.training
    found = [reason for step in training.steps for reason in _not_steppable(context, step)]
    note = "no loss of this file leads to this step, so its gradients need not be scaled ones"
    found += [
        (step.call.lineno, "step_elsewhere", note) for step in training.steps if not fed_here(training, step)
    ]
    try:
        update_places(training)
    except Declined as reason:
        found.append((reason.line, reason.code, reason.note))
    if (step := left_behind(training)) is not None:
        note = f"gradients may wait for {step.path} across an update(), which changes their scale"
        found.append((step.call.lineno, "update_undecidable", note))
    if (step := never_cleared(context)) is not None:
        note = f"nothing clears the gradients of {step.path}, so those of several scales would add up"
        found.append((step.call.lineno, "update_undecidable", note))
    if (step := idle_step(context)) is not None:
        note = f"{step.path} may have got no gradients when it steps, where a scaler stops with an error"
        found.append((step.call.lineno, "update_undecidable", note))
    return found


def _beside_the_scaler(context: Context) -> list[Reason]:
    """What averages, moves or takes gradients where no scaler sees it, or may step."""
    script = context.script
    found = [
        (node.lineno, "horovod", "Horovod's optimizer averages gradients inside step()")
        for node in script.nodes
        if isinstance(node, ast.Import | ast.ImportFrom) and "horovod" in ast.unparse(node)
    ]
    note = "the loss leaves the GPU, so its scale stays behind what overflows there"
    found += [(line, "update_undecidable", note) for line in _losses_on_the_cpu(context)]
    hosts = {script.function(b.call) for b in context.training.backwards}
    found += [
        (c.lineno, "backward_elsewhere", f"{ast.unparse(c.func)} runs a backward of its own in another file")
        for c in script.calls
        if script.function(c) in hosts and context.differentiates_elsewhere(c)
    ]
    found += [
        (c.lineno, "optimizer_unknown", f"{ast.unparse(c.func)} may step an optimizer")
        for c in _hidden_steps(context)
    ]
    return found


def _losses_on_the_cpu(context: Context) -> list[int]:
    """Lines where what a loss is made of is moved to the CPU and differentiated there: `q = critic(x).cpu()`."""
    training, parents = context.training, context.script.parents
    behind = [s for b in training.backwards for s in training.contributors[b]]
    behind += [b.statement for b in training.backwards]
    moves = [
        n
        for s in dict.fromkeys(behind)
        if isinstance(s, ast.Assign | ast.Expr)
        for n in ast.walk(s)
        if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute) and n.func.attr == "cpu"
    ]
    return [
        n.lineno
        for n in moves
        if not (isinstance(above := parents[n], ast.Attribute) and above.attr in DETACHED)
        and training.flow.calls_model(n.func.value)  # type: ignore[attr-defined]
        and not any(isinstance(m, ast.Attribute) and m.attr in DETACHED for m in ast.walk(n))
    ]


def _steps_elsewhere(context: Context) -> bool:
    """Whether a call runs a method of another file that steps an optimizer: `self.schedule.step_and_update()`."""
    return any(
        isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "step" and not node.args
        for call in context.script.calls
        for _, node in context.run_elsewhere(call)
    )


def _not_steppable(context: Context, step: Step) -> Iterator[Reason]:
    """Why a scaler cannot make this step."""
    roles, line = context.roles, step.call.lineno
    if step.call.args or step.call.keywords:
        yield line, "closure", "a scaler cannot step an optimizer that calls a closure"
    if "torch.optim.LBFGS" in roles.constructor(step.optimizer):
        yield line, "closure", "LBFGS evaluates the loss several times per step"
    wrapper = roles.wraps_optimizer(step.optimizer) if step.kind == "unknown" else None
    if wrapper is not None:
        note = f"{ast.unparse(wrapper.func)} wraps the optimizer, and what its step does is not at hand"
        yield line, "optimizer_unknown", note
    elif step.kind == "unknown" and not _plausible(context, step.optimizer):
        yield line, "optimizer_unknown", f"{step.path} cannot be traced to an optimizer"


def _plausible(context: Context, node: ast.expr) -> bool:
    """An optimizer handed in from outside: a parameter or an import whose step takes no argument."""
    origins = [o for o in context.roles.origins(node) if not (o.kind == "constant" and o.name == "None")]
    return all(o.kind in ("parameter", "call", "unknown") for o in origins)


def _hidden_steps(context: Context) -> list[ast.Call]:
    """Calls of `step` that may belong to an optimizer we cannot see."""
    return [c for c in unseen_steps(context) if not is_schedule(context, c.func.value)]  # type: ignore[attr-defined]


def unseen_steps(context: Context) -> list[ast.Call]:
    """Calls of `step` of what nothing in sight has made."""
    known = {s.call for s in context.training.steps}
    found = []
    for call in context.script.method_calls("step"):
        assert isinstance(call.func, ast.Attribute)
        if call in known or call.args or call.keywords or context.roles.callees(call):
            continue
        kind = context.roles.stepper(call.func.value)
        calm = all(o.name.startswith(_CALM) for o in context.roles.origins(call.func.value))
        if kind == "unknown" or (kind == "other" and not calm):
            found.append(call)
    return found
