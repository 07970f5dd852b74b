"""What the dispatcher does not show: memory taken inside kernels, and operators whose fake kernel is wrong or missing.

REPLACED: operators that are answered here instead of by torch's fake kernels.
hidden(): sizes of blocks that a kernel allocates beside its outputs; (bytes, lasting?).
"""

import torch
from torch._subclasses.fake_tensor import FakeTensor

aten = torch.ops.aten


def tensors(value):
    """The tensors in an operator's result."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from tensors(item)


def hidden(recorder, func, args, kwargs, result):
    """Blocks that the kernel of `func` takes beside its outputs."""
    rules = _ON_CPU if recorder.device.type == "cpu" else _ON_CUDA
    rule = rules.get(func)
    return rule(recorder, args, kwargs, result) if rule else ()


def _value(recorder, func, args, kwargs):
    """`.item()`, `bool(tensor)`: the value where it is known, else a plausible constant, and a note of the line."""
    tensor = args[0]
    if isinstance(tensor, FakeTensor) and tensor.constant is None:
        recorder.value_asked("value of a tensor")
        return True if tensor.dtype == torch.bool else 1.0 if tensor.dtype.is_floating_point else 1
    return func(*args, **kwargs)


def _all_elements(recorder, func, args, kwargs):
    """nonzero: as many rows as there could be."""
    tensor = args[0]
    recorder.value_asked("number of non-zero elements (all are assumed)")
    return tensor.new_empty((tensor.numel(), max(tensor.dim(), 1)), dtype=torch.int64)


REPLACED = {
    aten._local_scalar_dense.default: _value,
    aten.nonzero.default: _all_elements,
}
_ON_CPU = {}
_ON_CUDA = {}
