"""Kernels of a CPU whose scratch space is found by running them once on zeros; see probe.py. Rules as in kernels.py."""

import torch

from . import caveats, probe
from .composites import FACTORIZATIONS, size_of

aten = torch.ops.aten


def _tried(func, work):
    """`work`: operations per element, or None for those of factorizations."""

    def rule(recorder, args, kwargs, result):
        given = [t for t in args if isinstance(t, torch.Tensor)]
        side = min(given[0].shape[-2:]) if work is None and given[0].dim() > 1 else 1
        flops = given[0].numel() * (work or 30 * side)
        if probe.affordable(2 * sum(map(size_of, given)), flops):
            try:
                size = probe.tried(func, args, kwargs)[0]
            except RuntimeError:  # torch's own message that zeros are no valid input
                size = None
            if size is not None:
                return [(size, False)] if size > 0 else ()
        caveats.note(
            str(func), "too_low", "the scratch space of its kernel is too large to be tried, and not counted"
        )
        return ()

    return rule


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
    aten.multinomial.default,
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
    **{func: _tried(func, None) for func in FACTORIZATIONS},
    aten.native_batch_norm_backward.default: _normalized,
    aten.batch_norm_backward.default: _normalized,
}
