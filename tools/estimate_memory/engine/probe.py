"""Memory that CPU kernels of oneDNN take by rules of their own: measured, by running the kernel once on zeros.

For grouped, dilated, transposed and 3-D convolutions oneDNN picks a kernel by shape, machine and threads, and the
workspace of its LSTM is packed by its own rules. Both are small enough to be tried in the child, outside the
simulation; what is too large to be tried is left to a caveat.
"""

import time

import torch
from torch.utils import _pytree as pytree

from .fake import real_world

LARGEST_BYTES = 1 << 29  # of a trial's inputs and outputs together
LARGEST_FLOPS = 10e9  # of a trial: under half a second on one core
ALL_SECONDS = 8.0  # of all trials of a step
_known = {}  # signature -> bytes beside the outputs at the kernel's peak
_spent = [0.0]


def affordable(size_bytes, flops):
    """Whether a kernel of this size may be tried."""
    return size_bytes <= LARGEST_BYTES and flops <= LARGEST_FLOPS and _spent[0] < ALL_SECONDS


def tried(func, args, kwargs=None):
    """(bytes at the kernel's peak beside its outputs, bytes of each output), measured on zeros of the same shapes."""
    given = list(args), kwargs or {}
    signature = str((func, pytree.tree_map_only(torch.Tensor, _shape_of, given)))
    if signature not in _known:
        began = time.monotonic()
        with real_world(), torch.enable_grad():  # without gradients an LSTM keeps no workspace
            args, kwargs = pytree.tree_map_only(torch.Tensor, _zeros_like, given)
            _known[signature] = _measured(lambda: func(*args, **kwargs))
        _spent[0] += time.monotonic() - began
    return _known[signature]


def _shape_of(tensor):
    return tuple(tensor.shape), tensor.stride(), tensor.dtype


def _zeros_like(tensor):
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype).zero_()


def _measured(call):
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as profile:
        outputs = call()
    changes = []
    for event in profile.profiler.kineto_results.experimental_event_tree():
        _allocations(event, changes)
    now = peak = 0
    for _, size in sorted(changes):
        now += size
        peak = max(peak, now)
    sizes = [t.numel() * t.element_size() for t in pytree.tree_leaves(outputs) if isinstance(t, torch.Tensor)]
    return peak - sum(sizes), sizes


def _allocations(event, found):
    if event.tag == torch._C._profiler._EventType.Allocation:
        found.append((event.start_time_ns, event.extra_fields.alloc_size))
    for child in event.children:
        _allocations(child, found)
