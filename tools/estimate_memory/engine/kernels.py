"""What the dispatcher does not show: memory that kernels take beside their outputs."""

import torch
from torch._prims_common import suggest_memory_format

from . import caveats, composites, cpu_kernels, trials
from .replaced import is_sparse

aten = torch.ops.aten


def tensors(value):
    """The tensors in an operator's result."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from tensors(item)


def hidden(recorder, func, args, kwargs, result):
    """Blocks that the kernel of `func` takes beside its outputs: (bytes, lasting?)."""
    found = []
    for rules in _ON_CPU if recorder.device.type == "cpu" else _ON_CUDA:
        rule = rules.get(func)
        if rule:
            found += rule(recorder, args, kwargs, result)
    return found


def _elementwise_loss(recorder, args, kwargs, result):
    """The losses before their reduction."""
    if result.dim() or args[0].dim() == 0:
        return ()
    return [(max(args[0].numel(), args[1].numel()) * args[0].element_size(), False)]


def _ctc_beta(recorder, args, kwargs, result):
    """The backward pass of the alignments, as large as the forward one that was kept (LossCTC.cpp)."""
    return [(args[6].numel() * args[6].element_size(), False)]


def _packed(*places):
    """Kernels that read dense rows copy arguments of other strides first, on CPU and CUDA alike."""

    def rule(recorder, args, kwargs, result):
        loose = [args[at] for at in places if not args[at].is_contiguous(memory_format=_layout(args[at]))]
        return [(t.numel() * t.element_size(), False) for t in loose]

    return rule


def _transformed(recorder, args, kwargs, result):
    """FFTs take the other dimensions as one, and copy what cannot be seen so (SpectralOps of native/mkl and cuda)."""
    x, over = args[:2]
    over = [axis % x.dim() for axis in over]
    batch = sorted((axis for axis in range(x.dim()) if axis not in over), key=x.stride, reverse=True)
    as_one = all(x.stride(a) == x.stride(b) * x.shape[b] for a, b in zip(batch, batch[1:]))
    return () if as_one else [(x.numel() * x.element_size(), False)]


def _pooled(recorder, args, kwargs, result):
    """The backward pass of pooling reads gradient and places in the layout of the input."""
    layout = suggest_memory_format(args[1]) if args[1].dim() == 4 else torch.contiguous_format
    loose = [t for t in (args[0], args[7]) if not t.is_contiguous(memory_format=layout)]
    return [(sum(t.numel() * t.element_size() for t in loose), False)] if loose else ()


def _layout(tensor):
    return suggest_memory_format(tensor) if tensor.dim() == 4 else torch.contiguous_format


# aten/src/ATen/native: SoftMax.cpp, layer_norm.cpp, Embedding.cpp and their CUDA counterparts
_PACKED = {
    aten._softmax.default: _packed(0),
    aten._log_softmax.default: _packed(0),
    aten._softmax_backward_data.default: _packed(0, 1),
    aten._log_softmax_backward_data.default: _packed(0, 1),
    aten.native_layer_norm.default: _packed(0),
    aten.native_layer_norm_backward.default: _packed(0, 1),
    aten.embedding_dense_backward.default: _packed(0),
    aten.max_pool2d_with_indices_backward.default: _pooled,
    **{getattr(aten, name).default: _transformed for name in ("_fft_c2c", "_fft_r2c", "_fft_c2r")},
}
_ON_BOTH = {
    **_PACKED,
    aten._ctc_loss_backward.default: _ctc_beta,
    aten._ctc_loss_backward.Tensor: _ctc_beta,
    aten.mse_loss.default: _elementwise_loss,
    aten.smooth_l1_loss.default: _elementwise_loss,
    aten.huber_loss.default: _elementwise_loss,
}
_ON_CPU = (_ON_BOTH, composites.BOTH, cpu_kernels.HIDDEN, trials.HIDDEN)


def _cublas(recorder, args, kwargs, result):
    """cuBLAS takes a workspace from the allocator per thread at its first matrix product, and keeps it."""
    recorder.workspace(recorder.card["cublas_bytes"], "cuBLAS, " + recorder.thread())
    return ()


def _flash_backward(recorder, args, kwargs, result):
    """FlashAttention 2 gathers the query's gradient in fp32, beside a row sum (flash_attn/flash_api.cpp, mha_bwd)."""
    batch, heads, length, width = args[1].shape
    rows = batch * heads * (-(-length // 128) * 128)
    blocks = [(rows * (-(-width // 32) * 32) * 4, False), (rows * 4, False)]
    groups = heads // args[2].shape[1]
    if groups > 1:  # gradients of key and value are made per query head, then summed
        expanded = batch * heads * args[2].shape[2] * width * args[1].element_size()
        blocks = [(blocks[0][0] + 2 * expanded, False), *blocks[1:]]
    return blocks


def _efficient_backward(recorder, args, kwargs, result):
    """The memory-efficient kernel gathers gradients in fp32 when its inputs are half (mem_eff_attention)."""
    query = args[1]
    rows = query.numel() // query.shape[-1]
    gathered = query.numel() * 4 if query.element_size() < 4 else 0
    return [(rows * 4 + gathered, False)]


def _rows_scaled(recorder, args, kwargs, result):
    """Repeated rows that are scaled are copied first (aten/src/ATen/native/sparse/cuda/SparseCUDATensorMath.cu)."""
    rows = args[1]
    if not is_sparse(rows) or rows.is_coalesced() or kwargs.get("alpha", 1) == 1:
        return ()
    return [(rows._values().numel() * rows._values().element_size(), False)]


def _cudnn(recorder, args, kwargs, result):
    caveats.note(
        "convolution", "too_low", "cuDNN's workspaces are not counted: tens to hundreds of MiB, and short"
    )
    return ()


_MATMULS = ("mm", "addmm", "bmm", "baddbmm", "addbmm", "addmv", "mv", "dot")
_CUDA = {
    **{getattr(aten, name).default: _cublas for name in _MATMULS},
    aten.convolution.default: _cudnn,
    aten.add_.Tensor: _rows_scaled,
    aten._scaled_dot_product_flash_attention_backward.default: _flash_backward,
    aten._scaled_dot_product_efficient_attention_backward.default: _efficient_backward,
}
_ON_CUDA = (_ON_BOTH, composites.BOTH, composites.CUDA, _CUDA)
