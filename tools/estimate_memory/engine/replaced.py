"""Operators that are answered here instead of by torch's fake kernels, which are wrong or missing for them."""

import torch
from torch._subclasses.fake_tensor import FakeTensor

from . import caveats, cpu_kernels

aten = torch.ops.aten


def _value(recorder, func, args, kwargs):
    """`.item()`, `bool(tensor)`: the value where it is known, else a plausible constant, and a note of the line.

    A truth value is True, so that what it guards is run; False where it says that something is not finite, and, so
    that loops such as that of trunc_normal_ end, every second time once a line has asked often.
    """
    tensor = args[0]
    if not isinstance(tensor, FakeTensor) or tensor.constant is not None:
        return func(*args, **kwargs)
    asked = recorder.value_asked()
    recorder.values_asked = recorder.values_asked or not hasattr(tensor, "lowest")
    if tensor.dtype == torch.bool:
        usual = recorder.truth if asked <= OFTEN else asked % 2 == 0
        return usual and not getattr(tensor, "not_finite", False)
    if hasattr(tensor, "lowest"):
        return tensor.lowest
    if tensor.dtype.is_floating_point:
        return 1.0 if recorder.truth else OTHER_VALUE
    return 1


OTHER_VALUE = 0.5  # for a step that fails with 1.0: it divides by 1 - x, as NAdam does
OFTEN = 32  # a line that asks for more truth values than this in a step is taken for a loop


def _drawn(recorder, func, args, kwargs):
    """A random number: its value is the lower end of the range, an index that a caller may use."""
    result = func(*args, **kwargs)
    args[0].lowest = result.lowest = float(args[1]) if len(args) > 1 else 0.0
    return result


def _about_finiteness(recorder, func, args, kwargs):
    """isnan, isinf, and any() of their results: marked, since a sound step has no such values."""
    result = func(*args, **kwargs)
    result.not_finite = func in (aten.isnan.default, aten.isinf.default) or getattr(
        args[0], "not_finite", False
    )
    return result


def _all_elements(recorder, func, args, kwargs):
    """nonzero: as many rows as there could be, or one."""
    tensor = args[0]
    return tensor.new_empty((recorder.selected(tensor), max(tensor.dim(), 1)), dtype=torch.int64)


def _all_of_a_mask(recorder, func, args, kwargs):
    """tensor[mask]: as if the mask selected every element, or one."""
    masks = (torch.bool, torch.uint8)
    if not any(index is not None and index.dtype in masks for index in args[1]):
        return func(*args, **kwargs)
    indices = []
    for index in args[1]:
        if index is not None and index.dtype in masks:
            indices += [
                index.new_empty(recorder.selected(index), dtype=torch.int64) for _ in range(index.dim())
            ]
        else:
            indices.append(index)
    return func(args[0], indices, **kwargs)


def _all_selected(recorder, func, args, kwargs):
    whole = args[0].new_empty(torch.broadcast_shapes(args[0].shape, args[1].shape))
    return args[0].new_empty(recorder.selected(whole))


def _all_of_one_kind(recorder, func, args, kwargs):
    found = recorder.selected(args[0])
    return args[0].new_empty(found), args[0].new_empty(args[0].shape, dtype=torch.int64)


def _alike(recorder, func, args, kwargs):
    """torch.equal, which reads values."""
    recorder.value_asked()
    recorder.values_asked = True
    return args[0].shape == args[1].shape and recorder.truth


def _all_unique(recorder, func, args, kwargs):
    """unique: as many values as there could be, or one; the places and counts where they are asked for."""
    tensor, _sorted, places, counts = [*args, *(kwargs.get(key, False) for key in _UNIQUE[len(args) :])]
    found = recorder.selected(tensor)
    index = {"dtype": torch.int64}
    return (
        tensor.new_empty(found),
        tensor.new_empty(tensor.shape if places else 0, **index),
        tensor.new_empty(found if counts else 0, **index),
    )


_UNIQUE = ("self", "sorted", "return_inverse", "return_counts")


def _counts(recorder, func, args, kwargs):
    """bincount with a length: counts that add up to the number of elements, as tolist() will say."""
    length = args[2] if len(args) > 2 else kwargs.get("minlength", 0)
    if not length:
        return func(*args, **kwargs)
    weights = args[1] if len(args) > 1 else kwargs.get("weights")
    result = args[0].new_empty(length, dtype=torch.int64 if weights is None else weights.dtype)
    result.whole = args[0].numel()
    return result


def _whole_loss(recorder, func, args, kwargs):
    """A mean or sum of these losses sits in a storage as long as the input (aten/src/ATen/native/Loss.cpp)."""
    result = func(*args, **kwargs)
    count = max(args[0].numel(), args[1].numel())
    if result.dim() == 0 and count > 1:
        return result.new_empty(count).as_strided((), ())
    return result


def _filled(in_place):
    """Autograd fills a tensor of zeros in place, but for tensors with a Python class makes another one of it."""

    def rule(recorder, func, args, kwargs):
        node = torch._C._current_autograd_node() if recorder.phase == "backward" else None
        if (
            node is None
            or node.name().startswith(("ScatterReduce", "IndexReduce", "IndexPut"))
            or not recorder.called_by_the_engine()
        ):
            return func(*args, **kwargs)
        in_place(*args, **kwargs)
        return args[0]

    return rule


# torch/csrc/autograd/FunctionsManual.cpp: the backward passes of max, sort and topk, of gather, of selections
_FILLED = {
    aten.scatter.src: _filled(aten.scatter_.src),
    aten.scatter_add.default: _filled(aten.scatter_add_.default),
    aten.index_add.default: _filled(aten.index_add_.default),
    aten.index_put.default: _filled(aten.index_put_.default),
}


def _ctc(recorder, func, args, kwargs):
    """ctc_loss: lengths as numbers, or as tensors, for the longest target that the shape allows."""
    log_probs, targets, _, lengths = args[:4]
    time, batch = log_probs.shape[:2]
    if isinstance(lengths, torch.Tensor) and targets.dim() == 2:
        caveats.note("ctc_loss", "too_high", "the longest target is taken as long as the tensor of targets")
    if not isinstance(lengths, torch.Tensor):
        longest = max(lengths)
    elif targets.dim() == 2:
        longest = targets.shape[1]
    else:
        longest = -(-targets.numel() // batch)
        caveats.note("ctc_loss of targets in one row", "too_low", "their lengths are values: taken as equal")
    return log_probs.new_empty(batch), log_probs.new_empty(batch, time, 2 * longest + 1)


def _ctc_backward(recorder, func, args, kwargs):
    return torch.empty_like(args[1])


def _grouped(recorder, func, args, kwargs):
    """Matrix products of groups (mixtures of experts): torch's fake kernel takes bfloat16 only."""
    a, b = args[:2]
    if a.dim() == b.dim() == 2:
        offsets = args[2] if len(args) > 2 else kwargs["offs"]
        return a.new_empty(offsets.numel(), a.shape[0], b.shape[1])
    rows = a.shape[1:2] if a.dim() == 3 and b.dim() == 2 else a.shape[:-1]
    return a.new_empty(*rows, b.shape[-1])


def _clone(recorder, func, args, kwargs):
    """The engine takes a sparse gradient as it is, where for a fake one it asks for a clone, which comes back empty."""
    if not is_sparse(args[0]):
        return func(*args, **kwargs)
    return _sparse(args[0], args[0]._indices(), args[0]._values(), args[0].is_coalesced())


def _coalesced(recorder, func, args, kwargs):
    """As many rows as there could be, or one; on a CPU one is a part of a block for all."""
    indices, values = args[0]._indices(), args[0]._values()
    found = recorder.selected(indices[0], "different rows of a sparse gradient")
    kept = len(values) if recorder.device.type == "cpu" else found
    indices, values = indices.new_empty(len(indices), kept), values.new_empty(kept, *values.shape[1:])
    return _sparse(args[0], indices[:, :found], values[:found], True)


def _masked_by_sparse(recorder, func, args, kwargs):
    """The elements of a dense tensor at the places of a sparse one."""
    dense, mask = args[:2]
    values = mask._values()
    return _sparse(mask, mask._indices(), values.new_empty(values.shape, dtype=dense.dtype), True)


def _rows_added(recorder, func, args, kwargs):
    """A sparse tensor added to a dense one in place."""
    return args[0] if is_sparse(args[1]) else func(*args, **kwargs)


def _least_squares(recorder, func, args, kwargs):
    """linalg.lstsq: residuals of every right-hand side, whether or not the matrix has full rank."""
    a, b = args[:2]
    batch, rows, columns = a.shape[:-2], a.shape[-2], a.shape[-1]
    residuals = (*batch, *b.shape[-1:]) if rows > columns else 0
    rank = a.new_empty(batch, dtype=torch.int64)
    return b.new_empty((*batch, columns, *b.shape[-1:])), b.new_empty(residuals), rank, a.new_empty(0)


def is_sparse(value):
    return isinstance(value, torch.Tensor) and value.layout is torch.sparse_coo


def _sparse(like, indices, values, coalesced):
    make = aten._sparse_coo_tensor_with_dims_and_tensors.default
    options = {"dtype": values.dtype, "layout": torch.sparse_coo, "device": values.device}
    return make(
        like.sparse_dim(), like.dense_dim(), like.shape, indices, values, is_coalesced=coalesced, **options
    )


REPLACED = {
    **_FILLED,
    aten.clone.default: _clone,
    aten._coalesce.default: _coalesced,
    aten.add_.Tensor: _rows_added,
    aten.sparse_mask.default: _masked_by_sparse,
    **cpu_kernels.REPLACED,
    **({aten._grouped_mm.default: _grouped} if hasattr(aten, "_grouped_mm") else {}),
    aten.linalg_lstsq.default: _least_squares,
    aten._ctc_loss.Tensor: _ctc,
    aten._ctc_loss.default: _ctc,
    aten._ctc_loss_backward.default: _ctc_backward,
    aten._ctc_loss_backward.Tensor: _ctc_backward,
    aten.uniform_.default: _drawn,
    aten.isnan.default: _about_finiteness,
    aten.isinf.default: _about_finiteness,
    aten.any.default: _about_finiteness,
    aten.mse_loss.default: _whole_loss,
    aten.smooth_l1_loss.default: _whole_loss,
    aten.binary_cross_entropy.default: _whole_loss,
    aten._local_scalar_dense.default: _value,
    aten.nonzero.default: _all_elements,
    aten.index.Tensor: _all_of_a_mask,
    aten.masked_select.default: _all_selected,
    aten._unique2.default: _all_unique,
    aten._unique.default: _all_of_one_kind,
    aten.equal.default: _alike,
    aten.bincount.default: _counts,
}
