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


def install(kind, card):
    """Make this process believe in the target device. Global and for good: one process, one device."""
    _move_in_place()
    torch.compile = _uncompiled
    for name in (
        "sparse_coo_tensor",
        "sparse_csr_tensor",
        "sparse_csc_tensor",
        "sparse_bsr_tensor",
        "sparse_bsc_tensor",
    ):
        setattr(torch, name, _no_sparse)
    torch.Tensor.to_sparse = torch.Tensor.to_sparse_csr = _no_sparse
    FakeTensorMode.__deepcopy__ = lambda self, memo: self  # else a copied layer belongs to a world of its own
    if kind == "cpu":
        _send_cuda_to_cpu()
        return
    _answer_meta_to_the_engine()
    _claim_cuda(card)
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


def _uncompiled(model=None, **options):
    """torch.compile as if it changed nothing; what a compiler fuses away is left out of the prediction."""
    compiled.append(True)
    return model if model is not None else lambda function: function


compiled = []  # not empty once a script has asked for torch.compile
bounded = set()  # sentences on what was taken at its largest, because it depends on values


def _no_sparse(*args, **kwargs):
    raise Declined(
        "Sparse tensors cannot be simulated",
        "a sparse layout",
        "index_add over the list of edges, or a dense tensor",
    )


def _answer_meta_to_the_engine():
    original = FakeTensor.__torch_dispatch__.__func__

    def dispatch(cls, func, kinds, args=(), kwargs=types.MappingProxyType({})):
        return META if func is DEVICE_QUERY else original(cls, func, kinds, args, kwargs)

    FakeTensor.__torch_dispatch__ = classmethod(dispatch)
    fake_tensor._DISPATCH_META_HANDLERS[DEVICE_QUERY] = lambda args: META


def _move_in_place():
    """Module.to, .cuda and .half on fake parameters: torch wants to swap them and refuses; setting .data works."""

    def apply(self, change, recurse=True):
        if recurse:
            for child in self.children():
                child._apply(change)
        for parameter in self._parameters.values():
            if parameter is None:
                continue
            with torch.no_grad():
                _become(parameter, change(parameter))
                if parameter.grad is not None:
                    _become(parameter.grad, change(parameter.grad))
        for name, buffer in self._buffers.items():
            if buffer is not None:
                self._buffers[name] = change(buffer)
        return self

    torch.nn.Module._apply = apply


def _become(tensor, new):
    if new is not tensor:
        tensor.data = new
        if isinstance(tensor, FakeTensor):
            tensor.fake_device = new.fake_device


def _with_device(function, rename):
    """`function` whose arguments name the target device in the form that needs no CUDA backend."""

    def call(*args, **kwargs):
        return function(*map(rename, args), **{key: rename(value) for key, value in kwargs.items()})

    return call


def _rename_to(device):
    def rename(value):
        if isinstance(value, str) and value.split(":")[0] == "cuda":
            return device
        return device if isinstance(value, torch.device) and value.type == "cuda" else value

    return rename


def _patch_moves(device):
    rename = _rename_to(device)
    torch.Tensor.to = _with_device(torch.Tensor.to, rename)
    torch.Tensor.cuda = lambda self, *args, **kwargs: self.to(device)
    torch.nn.Module.to = _with_device(torch.nn.Module.to, rename)
    torch.nn.Module.cuda = lambda self, *args, **kwargs: self.to(device)
    torch.Tensor.pin_memory = lambda self, *args, **kwargs: self


def _send_cuda_to_cpu():
    _patch_moves(torch.device("cpu"))


def _claim_cuda(card):
    """What scripts ask of torch.cuda, answered for the card in question; nothing reaches a driver."""
    device = target_device("cuda")
    _patch_moves(device)
    properties = types.SimpleNamespace(
        name=card["name"],
        total_memory=card["memory_bytes"] or 0,
        major=card["capability"][0],
        minor=card["capability"][1],
        multi_processor_count=1,
    )
    answers = {
        "is_available": True,
        "is_current_stream_capturing": False,
        "device_count": 1,
        "current_device": 0,
        "get_device_name": card["name"],
        "get_device_capability": tuple(card["capability"]),
        "get_device_properties": properties,
        "is_bf16_supported": tuple(card["capability"]) >= (8, 0),
        "mem_get_info": (properties.total_memory, properties.total_memory),
        "memory_allocated": 0,
        "max_memory_allocated": 0,
        "memory_reserved": 0,
        "max_memory_reserved": 0,
    }
    for name, value in answers.items():
        setattr(torch.cuda, name, lambda *args, _value=value, **kwargs: _value)
    for name in (
        "synchronize", "empty_cache", "set_device", "manual_seed", "manual_seed_all", "init", "_lazy_init",
        "reset_peak_memory_stats", "reset_max_memory_allocated", "set_per_process_memory_fraction",
    ):  # fmt: skip
        setattr(torch.cuda, name, lambda *args, **kwargs: None)
    torch.amp.grad_scaler.GradScaler._maybe_opt_step = lambda self, optimizer, state, *args, **kwargs: (
        optimizer.step(*args, **kwargs)  # no gradient is infinite here
    )


class CudaFakeMode(FakeTensorMode):
    """C++ makes new tensors "on the device of that one" and was told meta: send them back to the target."""

    def dispatch(self, func, kinds, args=(), kwargs=types.MappingProxyType({})):
        device = kwargs.get("device")
        if device is not None and torch.device(device).type in ("meta", "cuda"):
            kwargs = {**kwargs, "device": target_device("cuda")}
        return super().dispatch(func, kinds, args, kwargs)


@contextlib.contextmanager
def fake_world(kind):
    """Inside, new tensors are fake and, unless they name a device, on the target."""
    mode = (CudaFakeMode if kind == "cuda" else FakeTensorMode)(allow_non_fake_inputs=True)
    with mode, target_device(kind):
        yield mode
