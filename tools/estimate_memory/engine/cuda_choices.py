"""Choices that torch takes in C++, and otherwise for fake tensors than for real ones on CUDA: taken again here.

Each is registered on the autograd key, so it also holds in the recomputation of activation checkpointing, which runs
inside the backward pass where function modes are gone.
"""

import importlib
import types
import warnings

import torch
from torch._prims_common import suggest_memory_format

from . import caveats, recurrent, script

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
        for name, choice in {**recurrent.choices(kind), **(_ON_CUDA if kind == "cuda" else {})}.items():
            library.impl(name, choice, key)
        if kind == "cuda":
            flex = importlib.import_module("torch.nn.attention.flex_attention")
            flex.flex_attention = _flex_attention
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
    backend = attention_backend(query, key, value, attn_mask, enable_gqa, is_causal, dropout_p)
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
            attn_mask = _aligned(_float_mask(attn_mask, query.dtype))
            shape = (query.shape[0], query.shape[1], query.shape[2], key.shape[2])
            attn_mask = attn_mask.expand(shape)
        out = aten._scaled_dot_product_efficient_attention(
            query, key, value, attn_mask, tracked, dropout_p, is_causal, scale=scale
        )
        return out[0]
    return _math_attention(query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa)


def attention_backend(query, key, value, mask, grouped, is_causal=False, dropout_p=0.0):
    """The order of aten/src/ATen/native/transformers/cuda/sdp_utils.cpp: flash, efficient, math.

    On compute capability 9.0 and 10 newer releases take cuDNN's kernel first: counted as flash's or efficient's.
    """
    cuda, capability = torch.backends.cuda, torch.cuda.get_device_capability()
    if not (query.dtype == key.dtype == value.dtype and query.dim() == 4) or 0 in (
        query.shape[-2],
        key.shape[-2],
    ):
        return "math"
    if (
        mask is None
        and cuda.flash_sdp_enabled()
        and _flash_can(query, key, value, is_causal, dropout_p, capability)
    ):
        return "flash"
    half = query.dtype in (torch.float16, torch.bfloat16)
    step = 8 if half else 4 if capability >= (8, 0) else 1
    aligned = query.shape[-1] % step == 0 and value.shape[-1] % step == 0
    computable = query.dtype in (torch.float16, torch.float32) or (
        query.dtype == torch.bfloat16 and capability >= (8, 0)
    )
    maskable = mask is None or not mask.requires_grad or mask.dim() == 4
    if computable and aligned and maskable and not grouped and cuda.mem_efficient_sdp_enabled():
        return "efficient"
    return "math"


def _flash_can(query, key, value, is_causal, dropout_p, capability):
    width = query.shape[-1]
    if query.dtype not in (torch.float16, torch.bfloat16) or capability < (8, 0):
        return False
    if not width == key.shape[-1] == value.shape[-1] or width > 256:
        return False
    if is_causal and query.shape[-2] != key.shape[-2]:
        return False
    tracked = any(t.requires_grad for t in (query, key, value))
    small_card = (8, 6) <= capability <= (8, 9) or (12, 0) <= capability <= (12, 1)
    return not (small_card and tracked) or width <= 192 or (width > 224 and not dropout_p)


def _pad_to_eight(tensor):
    missing = -tensor.shape[-1] % 8
    return torch.nn.functional.pad(tensor, (0, missing)) if missing else tensor


def _aligned(mask):
    """Rows of a mask start at multiples of eight elements (preprocess_mask in native/transformers/attention.cpp)."""
    length = mask.shape[-1]
    if mask.stride(-1) == 1 and all(stride % 8 == 0 for stride in mask.stride()[:-1]):
        return mask
    return torch.nn.functional.pad(mask, (0, 8 - length % 8))[..., :length]


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


def _flex_attention(query, key, value, score_mod=None, block_mask=None, scale=None, enable_gqa=False,
                    return_lse=False, kernel_options=None, *, return_aux=None):  # fmt: skip
    """The compiled kernel of torch.nn.attention.flex_attention, whose scores never exist as a whole."""
    caveats.note("flex_attention", "either" if script.compiled else "too_low",
                 "taken as its compiled kernel; without torch.compile all scores are held in fp32")  # fmt: skip
    out, sums = _Flex.apply(query, key, value)
    if return_aux is not None:
        return out, types.SimpleNamespace(lse=sums, max_scores=sums)
    return (out, sums) if return_lse else out


class _Flex(torch.autograd.Function):
    """Output and one fp32 sum a row; a second row in the backward pass (torch/_inductor/kernel/flex)."""

    @staticmethod
    def forward(ctx, query, key, value):
        out = query.new_empty((*query.shape[:-1], value.shape[-1]))
        sums = query.new_empty(query.shape[:-1], dtype=torch.float32)
        ctx.save_for_backward(query, key, value, out, sums)
        ctx.mark_non_differentiable(sums)
        return out, sums

    @staticmethod
    def backward(ctx, gradient, _sums):
        query, key, value, _out, sums = ctx.saved_tensors
        products = torch.empty_like(sums)
        gradients = tuple(torch.empty_like(t) for t in (query, key, value))
        del products
        return gradients


_ON_CUDA = {
    "batch_norm": _batch_norm,
    "dropout": _dropout,
    "scaled_dot_product_attention": _attention,
}
