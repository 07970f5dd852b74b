"""Tensors that have shape, dtype and a claimed device, but no data.

On any build of torch, FakeTensorMode makes tensors that say "cuda:0". Only the autograd engine, written in C++, asks
for the backend behind the device and fails where there is none. It learns the device through the operator
prim.device; answered with "meta", it treats the graph like one of meta tensors, while the dispatch keys, fixed when a
tensor is made, stay those of CUDA, so that CUDA's derivatives and casts are chosen. These are private interfaces of
torch: `check` tries them once and refuses in one sentence where they have changed.
"""

import contextlib
import importlib
import types

import torch
from torch._subclasses import fake_tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils import _pytree as pytree
from torch.utils._device import DeviceContext
from torch.utils._python_dispatch import _disable_current_modes

from . import caveats

META = torch.device("meta")
DEVICE_QUERY = torch.ops.prim.device.default


class Declined(Exception):
    """What the caller can mend: problem, what was seen, what to try."""

    def __init__(self, problem, saw=None, try_next=""):
        super().__init__(problem)
        self.refusal = {"problem": problem, "saw": saw, "try_next": try_next}


class Unsupported(Exception):
    """This torch does not let the simulation work; the text says what failed."""


def target_device(kind):
    return torch.device("cuda", 0) if kind == "cuda" else torch.device("cpu")


def install(kind):
    """Make this process believe in the target device. Global and for good: one process, one device."""
    _move_in_place()
    FakeTensorMode.__deepcopy__ = lambda self, memo: self  # else a copied layer belongs to a world of its own
    FakeTensor.__deepcopy__ = _copied
    if kind == "cpu":
        return
    _answer_meta_to_the_engine()
    FakeTensor.is_cuda = property(lambda self: self.device.type == "cuda")  # C++ would say no
    FakeTensor.get_device = lambda self: self.device.index if self.device.type == "cuda" else -1
    fake_tensor.run_fallback_kernel = _run_on_the_cpu
    FakeTensorMode.avoid_device_init = property(lambda self: True)
    fake_tensor.init_gpu_context = lambda device: None
    optimizer = importlib.import_module("torch.optim.optimizer")
    optimizer._foreach_supported_types.append(FakeTensor)  # so that foreach is the default, as on CUDA
    torch.backends.mha.set_fastpath_enabled(False)  # its fused kernel has no fake counterpart


def check(kind):
    """One small training step; raises Unsupported when torch's private interfaces are not as expected."""
    device = target_device(kind)
    try:
        with fake_world(kind):
            layer = torch.nn.Linear(4, 4)
            layer(torch.zeros(2, 4)).sum().backward()
            layer.to(torch.bfloat16)
            gradient_device = layer.weight.device
    except (RuntimeError, AttributeError, TypeError, AssertionError) as error:
        raise Unsupported(f"{type(error).__name__}: {error}") from error
    if gradient_device != device or layer.weight.dtype != torch.bfloat16:
        raise Unsupported(f"a tensor made on {device} says {gradient_device}")


def _answer_meta_to_the_engine():
    original = FakeTensor.__torch_dispatch__.__func__

    def dispatch(cls, func, kinds, args=(), kwargs=types.MappingProxyType({})):
        return META if func is DEVICE_QUERY else original(cls, func, kinds, args, kwargs)

    FakeTensor.__torch_dispatch__ = classmethod(dispatch)
    fake_tensor._DISPATCH_META_HANDLERS[DEVICE_QUERY] = lambda args: META


def _run_on_the_cpu(mode, func, arguments, spec, error):
    """An operator without a fake kernel: torch would run it on zeros on a card that is not there; here its CPU kernel.

    `arguments`: flattened by `spec`; raises `error`, torch's own, where the results are no new tensors.
    """
    sparse = any(isinstance(t, torch.Tensor) and t.layout is not torch.strided for t in arguments)
    if sparse or torch.Tag.inplace_view in func.tags:
        raise error
    given = {}

    def real(value):
        if not mode.is_our_fake(value):
            return value
        zeros = torch.zeros_like(value, device="cpu")
        given[id(zeros)] = value
        return zeros

    def fake(value):
        if not isinstance(value, torch.Tensor) or id(value) in given:
            return given.get(id(value), value)
        if value.layout is not torch.strided or value.untyped_storage()._cdata in storages:
            raise error
        with mode:
            return torch.empty_strided(
                value.shape, value.stride(), dtype=value.dtype, device=target_device("cuda")
            )

    with fake_tensor.no_dispatch():
        zeros = [real(value) for value in arguments]
        args, kwargs = pytree.tree_unflatten(zeros, spec)
        results = func(*args, **kwargs)
    storages = {zero.untyped_storage()._cdata for zero in zeros if id(zero) in given}
    caveats.note(
        str(func), "either", "no kernel for tensors without data: its results are those of the CPU's kernel"
    )
    return pytree.tree_map(fake, results)


def _move_in_place():
    """Module.to, .cuda and .half on fake parameters: torch wants to swap them and refuses; setting .data works."""

    def apply(self, change, recurse=True):
        if recurse:
            for child in self.children():
                child._apply(change)
        for name, parameter in self._parameters.items():
            if parameter is None:
                continue
            with torch.no_grad():
                new = change(parameter)
                if not torch._has_compatible_shallow_copy_type(parameter, new):  # from or to the meta device
                    self._parameters[name] = torch.nn.Parameter(new, parameter.requires_grad)
                    continue
                _become(parameter, new)
                if parameter.grad is not None:
                    _become(parameter.grad, change(parameter.grad))
        for name, buffer in self._buffers.items():
            if buffer is not None:
                self._buffers[name] = change(buffer)
        return self

    torch.nn.Module._apply = apply


def _copied(tensor, memo):
    """A tensor of the same kind with a storage of its own; torch would look for the address of its data."""
    if id(tensor) not in memo:
        with torch.no_grad():
            copy = tensor.clone()
        if isinstance(tensor, torch.nn.Parameter):
            copy = torch.nn.Parameter(copy, tensor.requires_grad)
        memo[id(tensor)] = copy.requires_grad_(tensor.requires_grad)
    return memo[id(tensor)]


def _become(tensor, new):
    if new is not tensor:
        tensor.data = new
        if isinstance(tensor, FakeTensor):
            tensor.fake_device = new.fake_device


class CudaFakeMode(FakeTensorMode):
    """C++ makes new tensors "on the device of that one" and was told meta: send them back to the target."""

    def dispatch(self, func, kinds, args=(), kwargs=types.MappingProxyType({})):
        device = kwargs.get("device")
        if device is not None and torch.device(device).type in ("meta", "cuda"):
            kwargs = {**kwargs, "device": target_device("cuda")}
        return super().dispatch(func, kinds, args, kwargs)


class TargetDevice(DeviceContext):
    """The default device of new tensors; "cuda", "cuda:1" and 0 mean it as well."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        device = (kwargs or {}).get("device")
        if device is None:
            return super().__torch_function__(func, types, args, kwargs)
        given = renamed(device, self.device)
        made = super().__torch_function__(func, types, args, {**kwargs, "device": given})
        return placed(made) if given is self.device else made


def placed(tensor):
    """The tensor, marked as put on the card by its maker: there it takes memory whether or not a step reads it."""
    if isinstance(tensor, FakeTensor) and tensor.layout is torch.strided:
        tensor.untyped_storage().placed = True
    return tensor


def renamed(value, device):
    """`device` where the value names a CUDA device in any of the usual ways; else the value."""
    if isinstance(value, str):
        return device if value.split(":")[0] == "cuda" else value
    if isinstance(value, torch.device):
        return device if value.type == "cuda" else value
    return device if type(value) is int else value


@contextlib.contextmanager
def real_world():
    """Inside, tensors are real, on the CPU, and nothing is recorded."""
    with fake_tensor.unset_fake_temporarily(), _disable_current_modes(), torch.device("cpu"):
        yield


@contextlib.contextmanager
def fake_world(kind):
    """Inside, new tensors are fake and, unless they name a device, on the target."""
    mode = (CudaFakeMode if kind == "cuda" else FakeTensorMode)(allow_non_fake_inputs=True)
    with mode, TargetDevice(target_device(kind)):
        yield mode
