"""Choices that torch takes in C++, and otherwise for fake tensors than for real ones on CUDA: taken again here.

Each is registered on the autograd key, so it also holds in the recomputation of activation checkpointing, which runs
inside the backward pass where function modes are gone.
"""

import warnings

import torch
from torch._prims_common import suggest_memory_format

from . import caveats
from .fake import real_world

aten = torch.ops.aten
_libraries = []  # a registration lives as long as its library object


def install(kind):
    """Register the choices for the target's autograd key."""
    key = "AutogradCUDA" if kind == "cuda" else "AutogradCPU"
    library = torch.library.Library("aten", "IMPL")
    _libraries.append(library)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # overriding is the point
        library.impl("linear", _linear, key)
        library.impl("_pack_padded_sequence", _pack, key)
        library.impl("_pad_packed_sequence", _unpack, key)
        if kind == "cpu":
            for name in _PACKED:
                library.impl(name, _packed_on_cpu(name), key)
        if kind == "cuda":
            for name, choice in _ON_CUDA.items():
                library.impl(name, choice, key)
            for name in ("silu_backward", "mish_backward"):
                if not torch._C._dispatch_has_kernel_for_dispatch_key(f"aten::{name}", "CUDA"):
                    library.impl(name, _kernel_of_a_cuda_build, "CUDA")
            if hasattr(aten, "_fused_rms_norm"):
                library.impl("rms_norm", _rms_norm, key)


def _kernel_of_a_cuda_build(gradient, x):
    """Stands for a kernel that a CPU-only build lacks, or the operator would fall apart into its composite form."""
    return torch.empty_like(x)


def _linear(x, weight, bias=None):
    """As in aten/src/ATen/native/Linear.cpp, which would add the bias to a fake tensor out of place."""
    if bias is not None and x.dim() == 2:
        return torch.addmm(bias, x, weight.t())
    if bias is not None and x.dim() == 3 and x.is_contiguous():
        flat = torch.addmm(bias, x.reshape(-1, x.shape[-1]), weight.t())
        return flat.view(x.shape[0], x.shape[1], flat.shape[-1])
    product = torch.matmul(x, weight.t())
    return product if bias is None else product.add_(bias)


def _dropout(x, p, train):
    """One kernel with a mask of one byte per element (aten/src/ATen/native/Dropout.cpp), instead of a float mask."""
    if not train or p == 0 or x.numel() == 0:
        return x
    if p == 1:
        return x * torch.zeros((), dtype=x.dtype, device=x.device)
    return torch.native_dropout(x, p, train)[0]


def _batch_norm(x, weight, bias, mean, var, training, momentum, eps, cudnn_enabled):
    """cuDNN's, which reads and keeps a contiguous input (_batch_norm_impl_index in native/Normalization.cpp)."""
    if x.dim() > 2 and weight is not None and bias is not None and cudnn_enabled:
        x = x.contiguous(memory_format=suggest_memory_format(x))
    return aten.native_batch_norm(x, weight, bias, mean, var, training, momentum, eps)[0]


def _rms_norm(x, normalized_shape, weight=None, eps=None):
    return aten._fused_rms_norm(x, normalized_shape, weight, eps)[0]


def _attention(
    query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, *, scale=None, enable_gqa=False
):
    """scaled_dot_product_attention with the kernel that CUDA would pick."""
    tracked = torch.is_grad_enabled() and any(t.requires_grad for t in (query, key, value))
    backend = attention_backend(query, key, value, attn_mask, enable_gqa)
    if backend == "flash":
        width = query.shape[-1]
        scale = width**-0.5 if scale is None else scale
        query, key, value = (_pad_to_eight(t) for t in (query, key, value))
        out = aten._scaled_dot_product_flash_attention(
            query, key, value, dropout_p, is_causal, False, scale=scale
        )
        return out[0][..., :width]
    if backend == "efficient":
        if attn_mask is not None:
            attn_mask = _float_mask(attn_mask, query.dtype)
            shape = (query.shape[0], query.shape[1], query.shape[2], key.shape[2])
            attn_mask = attn_mask.expand(shape)
        out = aten._scaled_dot_product_efficient_attention(
            query, key, value, attn_mask, tracked, dropout_p, is_causal, scale=scale
        )
        return out[0]
    return _math_attention(query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa)


def attention_backend(query, key, value, mask, grouped):
    """The order of aten/src/ATen/native/transformers/cuda/sdp_utils.cpp: flash, efficient, math."""
    cuda = torch.backends.cuda
    same = query.dtype == key.dtype == value.dtype and query.dim() == 4
    half = query.dtype in (torch.float16, torch.bfloat16)
    width = query.shape[-1]
    empty = query.shape[-2] == 0 or key.shape[-2] == 0
    capability = torch.cuda.get_device_capability()
    alike = width == value.shape[-1] == key.shape[-1]
    plain = same and not empty
    if (
        plain
        and half
        and mask is None
        and alike
        and width <= 256
        and capability >= (8, 0)
        and cuda.flash_sdp_enabled()
    ):
        return "flash"
    step = 8 if half else 4
    aligned = width % step == 0 and value.shape[-1] % step == 0
    computable = query.dtype in (torch.float16, torch.float32) or (
        query.dtype == torch.bfloat16 and capability >= (8, 0)
    )
    maskable = mask is None or not mask.requires_grad or mask.dim() == 4
    if plain and computable and aligned and maskable and not grouped and cuda.mem_efficient_sdp_enabled():
        return "efficient"
    return "math"


def _pad_to_eight(tensor):
    missing = -tensor.shape[-1] % 8
    return torch.nn.functional.pad(tensor, (0, missing)) if missing else tensor


def _float_mask(mask, dtype):
    if mask.dtype != torch.bool:
        return mask
    zeros = torch.zeros_like(mask, dtype=dtype)
    return zeros.masked_fill_(mask.logical_not(), float("-inf"))


def _math_attention(query, key, value, mask, dropout_p, is_causal, scale, grouped):
    """_scaled_dot_product_attention_math: softmax over explicit scores; half inputs are raised to fp32 by default."""
    kept = query.dtype
    raised = kept in (torch.float16, torch.bfloat16) and not _half_math_allowed()
    if raised:
        query, key, value = query.float(), key.float(), value.float()
    if is_causal:
        mask = torch.ones(query.shape[-2], key.shape[-2], dtype=torch.bool, device=query.device).tril()
    if grouped:
        key = key.repeat_interleave(query.shape[-3] // key.shape[-3], -3)
        value = value.repeat_interleave(query.shape[-3] // value.shape[-3], -3)
    factor = (query.shape[-1] ** -0.5 if scale is None else scale) ** 0.5
    scores = torch.matmul(query * factor, (key * factor).transpose(-2, -1))
    if mask is not None:
        scores.add_(_float_mask(mask, query.dtype))
    weights = torch.softmax(scores, -1)
    if dropout_p > 0:
        weights = torch.dropout(weights, dropout_p, True)
    out = torch.matmul(weights, value)
    return out.to(kept) if raised else out


def _half_math_allowed():
    allowed = getattr(torch._C, "_get_math_sdp_allow_fp16_bf16_reduction", None)
    return bool(allowed and allowed())


_MODES = {
    "rnn_relu.input": 0,
    "rnn_tanh.input": 1,
    "lstm.input": 2,
    "gru.input": 3,
}  # CUDNN_RNN_RELU and so on
_PACKED = {"rnn_relu.data": 0, "rnn_tanh.data": 1, "lstm.data": 2, "gru.data": 3}


def _recurrent(mode):
    """An RNN over a padded batch as one cuDNN call (aten/src/ATen/native/cudnn/RNN.cpp)."""

    def run(x, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first):
        hidden, cell = hx if mode == 2 else (hx, None)
        out, h, c = _cudnn(mode, x, [], hidden, cell, params, has_biases, num_layers, dropout, train,
                           bidirectional, batch_first)  # fmt: skip
        return (out, h, c) if mode == 2 else (out, h)

    return run


def _pack(x, lengths, batch_first):
    """Every sequence at full length, since lengths are values; the batch sizes are then known."""
    caveats.note("packed sequences", "too_high", "taken at their full, padded length")
    time, batch = (x.shape[1], x.shape[0]) if batch_first else x.shape[:2]
    data = (x.transpose(0, 1) if batch_first else x).reshape(batch * time, *x.shape[2:]).clone()
    with real_world():
        known = torch.full((time,), batch, dtype=torch.int64)
    sizes = torch.full((time,), batch, dtype=torch.int64, device="cpu")
    sizes.constant = known
    return data, sizes


def _unpack(data, sizes, batch_first, padding_value, total_length):
    time = sizes.shape[0]
    y = data.reshape(time, data.shape[0] // time, *data.shape[1:])
    if total_length > time:
        y = torch.cat([y, y.new_full((total_length - time, *y.shape[1:]), padding_value)])
    lengths = torch.full((y.shape[1],), time, dtype=torch.int64, device="cpu")
    return (y.transpose(0, 1) if batch_first else y).clone(), lengths


def _packed_on_cpu(name):
    """torch's own loop over the steps of a packed sequence, which reads the batch sizes: _pack knows them."""
    operator = getattr(aten, name.partition(".")[0]).data

    def run(data, sizes, *rest):
        return operator._op_dk(torch._C.DispatchKey.CompositeImplicitAutograd, data, sizes.constant, *rest)

    return run


def _recurrent_packed(mode):
    """The same over a packed sequence."""

    def run(data, batch_sizes, hx, params, has_biases, num_layers, dropout, train, bidirectional):
        hidden, cell = hx if mode == 2 else (hx, None)
        sizes = [hidden.shape[1]] * max(1, data.shape[0] // max(1, hidden.shape[1]))
        out, h, c = _cudnn(mode, data, sizes, hidden, cell, params, has_biases, num_layers, dropout, train,
                           bidirectional, False)  # fmt: skip
        return (out, h, c) if mode == 2 else (out, h)

    return run


def _cudnn(
    mode, x, sizes, hidden, cell, params, has_biases, layers, dropout, train, bidirectional, batch_first
):
    if torch.is_autocast_enabled("cuda"):
        dtype = torch.get_autocast_dtype("cuda")
        x, hidden, cell = (t if t is None or t.dtype == dtype else t.to(dtype) for t in (x, hidden, cell))
        params = [p if p.dtype == dtype else p.to(dtype) for p in params]
    caveats.note("cuDNN's RNN", "either", "its buffers follow a formula that no GPU has confirmed")
    per_layer = len(params) // (layers * (2 if bidirectional else 1))
    gates = {0: 1, 1: 1, 2: 4, 3: 3}[mode]
    hidden_size = params[0].shape[0] // gates
    projection = hidden.shape[-1] if hidden.shape[-1] != hidden_size else 0
    return _Recurrent.apply(mode, x, tuple(sizes), hidden, cell, per_layer, hidden_size, projection, layers,
                            bool(train), bool(bidirectional), bool(batch_first), *params)[:3]  # fmt: skip


class _Recurrent(torch.autograd.Function):
    """cuDNN's RNN: output, last states, and the reserve space that backward reads.

    Reserve and workspace follow the formula layers x directions x batch x time x hidden x (gates + 2) and x gates;
    no GPU has confirmed it.
    """

    @staticmethod
    def forward(ctx, mode, x, sizes, hidden, cell, per_layer, size, projection, layers, train, both, batch_first,
                *params):  # fmt: skip
        directions = 2 if both else 1
        width = (projection or size) * directions
        out = x.new_empty((*x.shape[:-1], width))
        gates = {0: 1, 1: 1, 2: 4, 3: 3}[mode]
        cells = layers * directions * x.numel() // x.shape[-1] * size
        workspace = x.new_empty(cells * gates)
        reserve = x.new_empty(cells * (gates + 2)) if train else x.new_empty(0)
        del workspace
        ctx.cells, ctx.gates, ctx.has_cell = cells, gates, cell is not None
        saved = [x, hidden, out, reserve] + ([cell] if cell is not None else [])
        ctx.save_for_backward(*saved, *params)
        ctx.params = len(params)
        last = torch.empty_like(cell) if cell is not None else None
        return out, torch.empty_like(hidden), last

    @staticmethod
    def backward(ctx, out, hidden_out, cell_out):
        saved = ctx.saved_tensors
        x, hidden, params = saved[0], saved[1], saved[len(saved) - ctx.params :]
        workspace = x.new_empty(ctx.cells * ctx.gates)
        gradient = torch.empty_like(x)
        flat = params[0].new_empty(
            sum(p.numel() for p in params)
        )  # the weights' gradients are views of one buffer
        parts, at = [], 0
        for p in params:
            parts.append(flat[at : at + p.numel()].view(p.shape))
            at += p.numel()
        del workspace
        states = (torch.empty_like(hidden), torch.empty_like(saved[4]) if ctx.has_cell else None)
        return (None, gradient, None, *states, None, None, None, None, None, None, None, *parts)


_ON_CUDA = {
    "batch_norm": _batch_norm,
    "dropout": _dropout,
    "scaled_dot_product_attention": _attention,
    **{name: _recurrent(mode) for name, mode in _MODES.items()},
    **{name: _recurrent_packed(mode) for name, mode in _PACKED.items()},
}
