"""Drives the caller's step under the recorder: two optimizer steps, since the first one makes the optimizer's state."""

import contextlib
import copy
import importlib
import inspect

import torch
from torch.utils import _pytree as pytree

from . import caveats, optimizers, script
from .fake import Declined, fake_world, target_device
from .load import build, failed
from .record import Recorder

OPTIMIZER_STEPS = 2
MICRO_STEPS = 2  # of an accumulation: the second already shows gradients beside activations


class Trace:
    """What a simulated step left behind: blocks, events, and which block is of which kind."""

    def __init__(self, recorder):
        self.sizes, self.labels, self.events = recorder.sizes, recorder.labels, recorder.events
        self.work = recorder.work
        self.optimizer_steps = OPTIMIZER_STEPS
        self.micro_run, self.micro_asked = 0, 1
        self.batch_rows = None
        self.has_batch_norm = False
        self.is_bound = False  # sizes that depend on values were taken at their largest
        self.bound_by_masks = False  # and all of them are of masks, which can be taken at their smallest too
        self.caveats = []
        self.kinds = {}  # block -> weights | gradients | optimizer | inputs
        self.parameters = self.trainable = 0
        self.notes = []

    def copy(self):
        """A trace whose lists can be replaced without touching this one."""
        return copy.copy(self)


def simulate(function, arguments, kind, card, change=None, fewest=False):
    """The trace of make_step(**arguments), altered by `change` (see variants), on the target device.

    `fewest`: masks select one element instead of all. Truth values of tensors are True and numbers 1.0; where the
    step fails with that (a check of its data that raises), it is tried once more with others.
    """
    recorders = []
    try:
        return _simulate(function, arguments, kind, card, change, fewest, True, recorders)
    except Declined:
        if not recorders[0].values_asked:
            raise
        with contextlib.suppress(Declined):
            return _simulate(function, arguments, kind, card, change, fewest, False, recorders)
        raise


def _simulate(function, arguments, kind, card, change, fewest, truth, recorders):
    device = target_device(kind)
    recorder = Recorder(device, card)
    recorder.fewest, recorder.truth = fewest, truth
    recorders.append(recorder)
    trace = Trace(recorder)
    caveats.found.clear()
    with fake_world(kind), recorder:
        recorder.calibrate()
        made = build(function, arguments)
        _stand_ins(made)
        if change is not None:
            change.apply(made)
        _place(made, device)
        hooks = _attribute(made["model"], recorder)
        try:
            _run(made, recorder, trace, change)
            recorder.made.tell()
        finally:
            for hook in hooks:
                hook.remove()
            recorder.recording = False
        del made
    trace.caveats = list(caveats.found.values())
    bounds = caveats.upper_bounds()
    trace.is_bound, trace.bound_by_masks = bool(bounds), bool(bounds) and bounds == recorder.masks
    return trace


def _stand_ins(made):
    """What the simulation replaces: compiled code, kernels of Triton, optimizers whose kernels have no fake form."""
    script.quiet_kernels()
    if script.compiled:
        caveats.note(
            "torch.compile", "either", "taken as changing nothing; what it fuses or recomputes is not seen"
        )
    optimizer = made.get("optimizer")
    if type(optimizer).__module__.startswith("bitsandbytes"):
        optimizers.eight_bit_optimizer(made, None, 1, paged="Paged" in type(optimizer).__name__)
        caveats.note(
            type(optimizer).__name__, "either", "taken as two bytes of state per weight and its scales"
        )


def _place(made, device):
    """The model and the batch on the target, the batch as tensors of its own (a view would keep its whole base)."""
    model = made["model"]
    if any(t.device != device for t in [*model.parameters(), *model.buffers()]):
        model.to(device)

    def own(tensor):
        whole = tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()
        if whole and tensor.device == device:
            return tensor
        return tensor.detach().to(device).clone().requires_grad_(tensor.requires_grad)

    made["batch"] = pytree.tree_map_only(torch.Tensor, own, made.get("batch"))


def _run(made, recorder, trace, change):
    model, optimizer = made["model"], made.get("optimizer")
    recorder.recording = True
    recorder.phase = "weights"
    recorder.hold([*model.parameters(), *model.buffers()], "weights")
    for tensor in [*model.parameters(), *model.buffers()]:
        trace.kinds[recorder.block_of(tensor)] = "weights"
    trace.has_batch_norm = any(isinstance(m, torch.nn.modules.batchnorm._BatchNorm) for m in model.modules())
    trace.parameters = sum(p.numel() for p in model.parameters())
    trace.trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    recorder.phase = "batch"
    _note_batch(made, recorder, trace)
    recorder.made.hold()
    if optimizer is None and "step" not in made:
        _infer(made, recorder)
        return
    kept = []  # as a loop's variable does, the last loss lives until the next one is there
    recorder.phase = "forward"
    with _phases(made, recorder, trace):
        for step in range(OPTIMIZER_STEPS):
            if "step" in made:
                _call("`step` raised", made["step"], model, made["batch"], optimizer)
                continue
            last = step == OPTIMIZER_STEPS - 1  # only there do activations meet gradients and state
            _accumulate(made, trace, kept, MICRO_STEPS if last else 1)
            if change is None and step == 0:
                _check_gradients(made)
            _call("The optimizer's step raised", optimizer.step, *_closures(made, optimizer))
            _note_kinds(made, recorder, trace)
            optimizer.zero_grad()


@contextlib.contextmanager
def _phases(made, recorder, trace):
    """Tell the recorder when the backward pass and the optimizer run, whoever calls them."""
    graph, original = torch.autograd.graph, torch.autograd.graph._engine_run_backward

    def backward(*args, **kwargs):
        before, recorder.phase = recorder.phase, "backward"
        try:
            return original(*args, **kwargs)
        finally:
            recorder.phase = before
            _note_kinds(made, recorder, trace)

    def stepping(optimizer, args, kwargs):
        recorder.phase = "optimizer" if recorder.phase == "forward" else recorder.phase

    def stepped(optimizer, args, kwargs):
        _note_kinds(made, recorder, trace)
        recorder.phase = "forward" if recorder.phase == "optimizer" else recorder.phase

    hooks = importlib.import_module("torch.optim.optimizer")
    handles = [
        hooks.register_optimizer_step_pre_hook(stepping),
        hooks.register_optimizer_step_post_hook(stepped),
    ]
    graph._engine_run_backward = torch.autograd._engine_run_backward = backward
    try:
        yield
    finally:
        graph._engine_run_backward = torch.autograd._engine_run_backward = original
        for handle in handles:
            handle.remove()


def _note_batch(made, recorder, trace):
    """The inputs. A function of its own: none of its names may hold a tensor that a step then lets go of."""
    for tensor in pytree.tree_leaves(made["batch"]):
        if isinstance(tensor, torch.Tensor):
            recorder.hold([tensor], "batch")
            trace.batch_rows = trace.batch_rows or (tensor.shape[0] if tensor.dim() else None)
            trace.kinds.setdefault(recorder.block_of(tensor), "inputs")


def _infer(made, recorder):
    recorder.phase = "forward"
    for _ in range(2):
        with torch.no_grad():
            _call("`loss` raised", made["loss"], made["model"], made["batch"])


def _accumulate(made, trace, kept, micro_steps):
    trace.micro_asked = made.get("accumulation_steps", 1)
    run = min(trace.micro_asked, micro_steps)
    trace.micro_run += run
    for _ in range(run):
        loss = _call("`loss` raised", made["loss"], made["model"], made["batch"])
        _check_loss(loss, made["model"])
        kept[:] = [loss]
        if loss.requires_grad:
            _call("The backward pass raised", loss.backward)


def _call(problem, function, *args):
    try:
        return function(*args)
    except Exception as error:
        raise failed(problem, error) from error


def _check_loss(loss, model):
    if not isinstance(loss, torch.Tensor) or loss.numel() != 1:
        shape = list(loss.shape) if isinstance(loss, torch.Tensor) else type(loss).__name__
        raise Declined(
            "`loss(model, batch)` must return a tensor with one element", str(shape), "loss.mean()"
        )
    if not loss.requires_grad and all(p.grad is None for p in model.parameters()):
        raise Declined(
            "The loss depends on no trainable parameter",
            "requires_grad is False",
            "a loss that is computed from the model, outside no_grad; or optimizer None for inference",
        )


def _check_gradients(made):
    parameters = [*made["model"].parameters()]
    parameters += [p for group in getattr(made["optimizer"], "param_groups", ()) for p in group["params"]]
    if all(p.grad is None for p in parameters):
        raise Declined(
            "No parameter got a gradient from the loss",
            "every .grad is None after backward()",
            "a loss that stays in tensors: .item(), float(), .tolist(), numpy and torch.tensor cut it off the model",
        )


def _closures(made, optimizer):
    """What LBFGS and its like call for themselves, for an optimizer whose step demands it."""
    parameter = inspect.signature(optimizer.step).parameters.get("closure")
    if parameter is None or parameter.default is not parameter.empty:
        return ()

    def closure():
        optimizer.zero_grad()
        loss = made["loss"](made["model"], made["batch"])
        loss.backward()
        return loss

    return (closure,)


def _note_kinds(made, recorder, trace):
    """Which blocks are gradients and optimizer state, seen while they live."""
    for parameter in made["model"].parameters():
        if parameter.grad is not None:
            trace.kinds.setdefault(recorder.block_of(parameter.grad), "gradients")
    for state in getattr(made.get("optimizer"), "state", {}).values():
        for value in pytree.tree_leaves(state):
            if isinstance(value, torch.Tensor):
                trace.kinds.setdefault(recorder.block_of(value), "optimizer")


def _attribute(model, recorder):
    """Global hooks that tell the recorder which module runs."""
    names = {module: name or type(module).__name__ for name, module in model.named_modules()}
    hooks = torch.nn.modules.module

    def before(module, args):
        recorder.enter(names.get(module, type(module).__name__))

    def after(module, args, output):
        recorder.leave()

    return [
        hooks.register_module_forward_pre_hook(before),
        hooks.register_module_forward_hook(after, always_call=True),
    ]
