"""Kernels of a CPU whose scratch space is found by running them once on zeros; see probe.py. Rules as in kernels.py."""

import torch

from . import caveats, probe
from .composites import FACTORIZATIONS, size_of

aten = torch.ops.aten


def _tried(func, work):
    """`work`: operations per element."""

    def rule(recorder, args, kwargs, result):
        given = [t for t in args if isinstance(t, torch.Tensor)]
        size = None
        if probe.affordable(2 * sum(map(size_of, given)), work * given[0].numel()):
            size = _beside_the_outputs(func, args, kwargs)
        return _counted(func, size)

    return rule


def _factorized(func):
    """A large matrix is tried at a part of its height and width: workspaces grow with their product."""

    def rule(recorder, args, kwargs, result):
        matrix = next(t for t in args if isinstance(t, torch.Tensor))
        part, side = 1, min(matrix.shape[-2:]) if matrix.dim() > 1 else 1
        while not probe.affordable(4 * size_of(matrix) // part**2, 30 * side * matrix.numel() / part**3):
            part *= 2
            if part > LARGEST_PART:
                return _counted(func, None)
        if part > 1:
            args = [_part_of(t, part) if isinstance(t, torch.Tensor) else t for t in args]
        size = _beside_the_outputs(func, args, kwargs)
        return _counted(func, None if size is None else size * part**2)

    return rule


LARGEST_PART = 64  # beyond, or with no time left for trials, nothing is tried


def _part_of(tensor, part):
    lead, last = tensor.shape[:-2], tensor.shape[-2:]
    return tensor.new_empty(*lead, *(max(size // part, 1) for size in last))


def _beside_the_outputs(func, args, kwargs):
    try:
        return probe.tried(func, args, kwargs)[0]
    except RuntimeError:  # torch's own message that zeros, or a part, are no valid input
        return None


def _counted(func, size):
    if size is None:
        caveats.note(
            str(func), "too_low", "the scratch space of its kernel could not be tried, and is not counted"
        )
    return [(size, False)] if size else ()


def _normalized(recorder, args, kwargs, result):
    """Batch norm's backward pass makes its result twice."""
    return [(size_of(args[1]), False)]


_SORTING = (
    aten.median.default,
    aten.median.dim,
    aten.nanmedian.default,
    aten.nanmedian.dim,
    aten.kthvalue.default,
    aten.mode.default,
    aten._trilinear.default,
)
_NAMES = (
    "upsample_linear1d upsample_bilinear2d upsample_bicubic2d upsample_trilinear3d upsample_nearest1d "
    "upsample_nearest2d upsample_nearest3d _upsample_bilinear2d_aa _upsample_bicubic2d_aa "
    "_upsample_nearest_exact1d _upsample_nearest_exact2d _upsample_nearest_exact3d"
)
_RESIZING = tuple(getattr(aten, name + end).default for name in _NAMES.split() for end in ("", "_backward"))
HIDDEN = {
    **{func: _tried(func, 100) for func in (*_SORTING, *_RESIZING)},
    **{func: _factorized(func) for func in FACTORIZATIONS},
    aten.native_batch_norm_backward.default: _normalized,
    aten.batch_norm_backward.default: _normalized,
}
