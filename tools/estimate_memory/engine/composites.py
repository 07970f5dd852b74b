"""Temporaries of operators that call other operators in C++, where the dispatcher of fake tensors does not see them.

Rules as in kernels.py. BOTH hold wherever the operator runs, since the same code does; CUDA for kernels of CUDA.
"""

import torch

from . import caveats

aten = torch.ops.aten
HALF = (torch.float16, torch.bfloat16)
INDEX_BYTES = 8


def size_of(tensor):
    return tensor.numel() * tensor.element_size()


def _converted(recorder, args, kwargs, result):
    """A reduction or scan in another type casts its whole input first (native/ReduceOpsUtils.h, make_reduction).

    Only half to single precision is read as it is by CUDA's reductions; a CPU's mean of half precision casts as well.
    """
    x, on_cuda = args[0], recorder.device.type == "cuda"
    if x.dtype == result.dtype or x.is_complex():
        return ()
    if on_cuda and x.dtype in HALF and result.dtype is torch.float32:
        return ()
    even = not on_cuda and recorder.phase == "backward" and node_name().startswith(_SHARED_EVENLY)
    return [(x.numel() * result.element_size(), False), *([(2 * x.numel(), False)] if even else [])]


# evenly_distribute_backward of FunctionsManual.cpp: on a CPU zeros of the input's size instead of two masks more
_SHARED_EVENLY = ("MaxBackward1", "MinBackward1", "MedianBackward0", "NanmedianBackward0")


def node_name():
    """Of the node of autograd that runs now."""
    node = torch._C._current_autograd_node()
    return "" if node is None else node.name()


def _scanned(recorder, args, kwargs, result):
    return [(size_of(result), False)] if args[0].dtype != result.dtype else ()


def _product(recorder, args, kwargs, result):
    caveats.note(
        "prod and cumprod",
        "either",
        "their backward pass is that for inputs with zeros; without any it is smaller",
    )
    return _converted(recorder, args, kwargs, result)


def _mean(recorder, args, kwargs, result):
    x = args[0]
    if recorder.device.type == "cpu" and x.dtype in HALF:
        return [(4 * x.numel(), False)]
    return _converted(recorder, args, kwargs, result)


def _rolled(recorder, args, kwargs, result):
    """One dimension after the other, and all are kept (native/TensorTransformations.h, roll_common)."""
    return [(size_of(result), False)] * (len(args[1]) - 1)


def _soft_margin(recorder, args, kwargs, result):
    """The losses before their reduction (native/Loss.cpp)."""
    return [(size_of(args[0]), False)] if result.dim() < args[0].dim() else ()


def _soft_margin_backward(recorder, args, kwargs, result):
    return [(2 * size_of(result), False)]


def _selected(recorder, args, kwargs, result):
    """A prefix sum of the mask on a CPU (native/TensorAdvancedIndexing.cpp), lists of places on CUDA."""
    whole = torch.broadcast_shapes(args[0].shape, args[1].shape)
    if recorder.device.type == "cpu":
        alike = args[0].shape == args[1].shape and all(t.is_contiguous() for t in args[:2])
        return [((1 if alike else 2) * INDEX_BYTES * whole.numel(), False)]
    return [(max(len(whole), 1) * INDEX_BYTES * result.numel(), False)]


def _filled_value(recorder, args, kwargs, result):
    """The gradient of the value of masked_fill selects by the mask (masked_fill_backward in FunctionsManual.cpp)."""
    if recorder.phase != "backward" or not node_name().startswith("MaskedFill"):
        return ()
    recorder.selected(args[0])
    return _selected(recorder, [args[1], args[0]], kwargs, result)


def _scattered_back(recorder, args, kwargs, result):
    """masked_scatter_backward selects by the mask, then lays it out (native/TensorAdvancedIndexing.cpp)."""
    recorder.selected(args[1])
    return [(size_of(args[0]), False), *_selected(recorder, args, kwargs, args[0])]


def _places(recorder, args, kwargs, result):
    """The places that a mask stands for (expandTensors in native/IndexingUtils.h); a single value is filled in."""
    if len(args) > 2 and args[2].numel() == 1:
        return ()
    masks = [index for index in args[1] if index is not None and index.dtype in (torch.bool, torch.uint8)]
    return [(INDEX_BYTES * m.dim() * (1 if recorder.fewest else m.numel()), False) for m in masks]


def _bags(recorder, args, kwargs, result):
    """The indices sorted, with their places, and the bag of each (native/EmbeddingBag.cpp and cuda/EmbeddingBag.cu)."""
    gradient, indices, _offsets, bags, _sizes, largest = args[:6]
    on_cpu, is_sparse = recorder.device.type == "cpu", args[9]
    if is_sparse:
        return ()
    if args[8] == _LARGEST:
        return [(size_of(largest) + size_of(gradient), False)] if on_cpu else ()
    known = bags.numel() == indices.numel()
    weighted = size_of(args[10]) if len(args) > 10 and args[10] is not None else 0
    sorting = [((3 if known else 4) * size_of(indices) + weighted, False)]
    return sorting if on_cpu else sorting + _segments(indices, result)


_LARGEST = 2  # the mode of embedding_bag that takes the largest of each bag


def _unnormalized(recorder, args, kwargs, result):
    """Transforms to real numbers overwrite their input, so that they work on a copy (SpectralOps of mkl and cuda)."""
    x, over = args[:2]
    if len(over) == 1:
        return [(size_of(x), False)] if recorder.device.type == "cuda" else ()
    return [(size_of(x), False)] * (2 if x.dim() > len(over) else 1)


def _groups(recorder, args, kwargs, result):
    """Two sums of each sample and channel (native/cpu/group_norm_kernel.cpp and cuda/group_norm_kernel.cu)."""
    rows, channels = args[5:7]
    return [(2 * rows * channels * 4, False)]


def _drawn(recorder, args, kwargs, result):
    """A race of exponentials, or with replacement on CUDA the sums of normalized chances (native/Distributions.cpp)."""
    again = args[2] if len(args) > 2 else kwargs.get("replacement", False)
    if again:
        return [(2 * size_of(args[0]), False)] if recorder.device.type == "cuda" else ()
    return [(size_of(args[0]), False)]


def _exponential(recorder, args, kwargs, result):
    caveats.note(
        "matrix_exp", "too_low", "its powers of the matrix depend on values: up to 16 matrices more were seen"
    )
    return ()


BOTH = {
    **dict.fromkeys((aten.sum.default, aten.sum.dim_IntList, aten.linalg_vector_norm.default), _converted),
    **dict.fromkeys((aten.mean.default, aten.mean.dim), _mean),
    **dict.fromkeys((aten.prod.default, aten.prod.dim_int, aten.cumprod.default), _product),
    aten.cumsum.default: _scanned,
    aten.roll.default: _rolled,
    aten.soft_margin_loss.default: _soft_margin,
    aten.soft_margin_loss_backward.default: _soft_margin_backward,
    aten.masked_select.default: _selected,
    aten.where.self: _filled_value,
    aten.masked_scatter_backward.default: _scattered_back,
    **dict.fromkeys(
        (aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default),
        _places,
    ),
    aten._embedding_bag_backward.default: _bags,
    aten._fft_c2r.default: _unnormalized,
    aten.native_group_norm_backward.default: _groups,
    aten.multinomial.default: _drawn,
    aten.linalg_matrix_exp.default: _exponential,
}


ROWS_AT_ONCE = 3072  # indices up to which one kernel does it all (native/cuda/Embedding.cu)
ROWS_OF_A_PART = 10  # NROWS_PER_THREAD in native/cuda/EmbeddingBackwardKernel.cu


def _segments(indices, result):
    """Sums of parts of rows in fp32; newer releases go without them for some shapes, so that it is a bound."""
    count, (rows, width) = indices.numel(), result.shape
    parts = count // ROWS_OF_A_PART + min(count, rows)
    return [(parts * width * 4, False), ((count + 2 * min(count, rows) + parts) * INDEX_BYTES, False)]


def _embedding_backward(recorder, args, kwargs, result):
    """The indices sorted with their places, by a sort that keeps a second copy of both, then sums of segments."""
    indices = args[1]
    if indices.numel() <= ROWS_AT_ONCE:
        return ()
    return [(2 * size_of(indices), False), *_segments(indices, result)]


def _put(recorder, args, kwargs, result):
    """index_put that accumulates sorts its places (index_put_with_sort_kernel in native/cuda/Indexing.cu)."""
    accumulate = args[3] if len(args) > 3 else kwargs.get("accumulate", False)
    indices = [index for index in args[1] if index is not None]
    if not accumulate or not indices:
        return ()
    places = torch.broadcast_shapes(*(index.shape for index in indices)).numel()
    return [(5 * INDEX_BYTES * places, False)]  # places, sorted, their order, and the sort's own pair


def _median(recorder, args, kwargs, result):
    """All elements sorted, with their places (median_impl in native/cuda/Sorting.cpp)."""
    return [(size_of(args[0]) + INDEX_BYTES * args[0].numel(), False)]


SORTED_IN_PLACE = 4096  # elements of a row (native/cuda/Sort.cpp)


def _sorted(recorder, args, kwargs, result):
    axis = next((a for a in (*args[1:], kwargs.get("dim", -1)) if type(a) is int), -1)
    if args[0].dim() and args[0].shape[axis] > SORTED_IN_PLACE:
        caveats.note(
            "sort of long rows",
            "too_low",
            "its second copies of values and places, up to 24 bytes an element, are not counted",
        )
    return ()


def _factorized(recorder, args, kwargs, result):
    caveats.note(
        "linear algebra", "too_low", "copies and workspaces of cuSOLVER's and MAGMA's kernels are not counted"
    )
    return ()


_NAMES = (
    "_linalg_svd _linalg_eigh linalg_eig linalg_lstsq linalg_inv_ex linalg_qr linalg_lu_factor_ex _linalg_slogdet "
    "_linalg_det _linalg_solve_ex linalg_cholesky_ex cholesky cholesky_inverse cholesky_solve geqrf ormqr "
    "linalg_householder_product linalg_ldl_factor_ex linalg_lu_solve lu_unpack"
)
FACTORIZATIONS = tuple(getattr(aten, name).default for name in _NAMES.split() if hasattr(aten, name))
CUDA = {
    aten.masked_scatter.default: lambda recorder, args, kwargs, result: [
        (INDEX_BYTES * result.numel(), False)
    ],
    **dict.fromkeys(FACTORIZATIONS, _factorized),
    aten.embedding_dense_backward.default: _embedding_backward,
    aten.index_put.default: _put,
    aten.index_put_.default: _put,
    aten._index_put_impl_.default: _put,
    aten._unsafe_index_put.default: _put,
    aten.median.default: _median,
    aten.nanmedian.default: _median,
    aten.sort.default: _sorted,
    aten.sort.stable: _sorted,
    aten.argsort.stable: _sorted,
}
