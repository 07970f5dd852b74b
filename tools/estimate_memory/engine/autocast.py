"""Mixed precision for fake CUDA tensors.

Autocast's own kernels ask C++ whether a tensor is on CUDA, which a fake one denies. So each operator of the key
AutocastCUDA gets a kernel here, by the lists of aten/src/ATen/autocast_mode.h. Operators of that key which are on
none of the lists fall through, uncast.
"""

import functools
import warnings
import weakref

import torch

LOWER = [
    "_convolution", "_convolution.deprecated", "conv1d", "conv2d", "conv3d", "conv_tbc",
    "conv_transpose1d", "conv_transpose2d.input", "conv_transpose3d.input", "convolution", "prelu",
    "addmm", "addmv", "addr", "matmul", "einsum", "mm", "mv", "linalg_vecdot", "linear", "addbmm",
    "baddbmm", "bmm", "chain_matmul", "linalg_multi_dot", "_thnn_fused_lstm_cell",
    "_thnn_fused_gru_cell", "lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell",
    "_scaled_dot_product_flash_attention", "scaled_dot_product_attention",
]  # fmt: skip
RAISED = [
    "acos", "asin", "cosh", "erfinv", "exp", "expm1", "log", "log10", "log2", "log1p", "reciprocal",
    "rsqrt", "sinh", "tan", "pow.Tensor_Scalar", "pow.Tensor_Tensor", "pow.Scalar", "softplus",
    "layer_norm", "native_layer_norm", "group_norm", "rms_norm", "frobenius_norm.dim", "nuclear_norm",
    "nuclear_norm.dim", "cosine_similarity", "poisson_nll_loss", "cosine_embedding_loss", "nll_loss",
    "nll_loss2d", "hinge_embedding_loss", "kl_div", "l1_loss", "smooth_l1_loss", "huber_loss",
    "mse_loss", "margin_ranking_loss", "multilabel_margin_loss", "soft_margin_loss",
    "triplet_margin_loss", "multi_margin_loss", "binary_cross_entropy_with_logits", "dist", "pdist",
    "cdist", "renorm", "logsumexp", "upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d",
    "_upsample_nearest_exact1d", "_upsample_nearest_exact2d", "_upsample_nearest_exact3d",
    "upsample_linear1d", "upsample_bilinear2d", "_upsample_bilinear2d_aa", "upsample_trilinear3d",
    "upsample_bicubic2d", "_upsample_bicubic2d_aa",
]  # fmt: skip
RESULT_RAISED = [
    "prod", "prod.dim_int", "softmax.int", "log_softmax.int", "cumprod", "cumsum", "linalg_vector_norm",
    "linalg_matrix_norm", "linalg_matrix_norm.str_ord", "sum", "sum.dim_IntList",
]  # fmt: skip
WIDEST = [
    "addcdiv", "addcmul", "atan2", "bilinear", "cross", "dot", "vdot", "grid_sampler", "index_put",
    "tensordot", "scatter_add",
]  # fmt: skip

_libraries = []
_copies = {}  # id of a leaf weight -> (weak reference, its low-precision copy), until the outermost autocast ends


def install():
    """Register the casts; also the cache of cast weights that autocast keeps until its outermost exit."""
    known = set(torch._C._dispatch_get_registrations_for_dispatch_key("AutocastCUDA"))
    library = torch.library.Library("aten", "IMPL")
    _libraries.append(library)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for names, rule in (
            (LOWER, _lower),
            (RAISED, _raise),
            (RESULT_RAISED, _raise_result),
            (WIDEST, _widest),
        ):
            for name in names:
                if f"aten::{name}" in known:
                    library.impl(name, rule(_overload(name)), "AutocastCUDA")
    clear = torch.clear_autocast_cache

    def clear_both():
        _copies.clear()
        clear()

    torch.clear_autocast_cache = clear_both


def _overload(name):
    packet, _, overload = name.partition(".")
    return getattr(getattr(torch.ops.aten, packet), overload or "default")


def _below(function):
    """Call with the autocast key off, so that the operator itself is reached."""
    keys = torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastCUDA)

    @functools.wraps(function)
    def call(*args, **kwargs):
        with torch._C._ExcludeDispatchKeyGuard(keys):
            return function(*args, **kwargs)

    return call


def _eligible(value):
    return (
        isinstance(value, torch.Tensor)
        and value.is_floating_point()
        and value.dtype != torch.float64
        and value.device.type == "cuda"
    )


def _cast(value, dtype):
    if _eligible(value) and value.dtype != dtype:
        return _cached(value, dtype)
    if isinstance(value, (list, tuple)):
        return type(value)(_cast(item, dtype) for item in value)
    return value


def _cached(tensor, dtype):
    cacheable = (
        torch.is_autocast_cache_enabled()
        and dtype == torch.get_autocast_dtype("cuda")
        and tensor.dtype == torch.float32
        and tensor.requires_grad
        and tensor.is_leaf
        and not tensor._is_view()
    )
    if not cacheable:
        return tensor.to(dtype)
    found = _copies.get(id(tensor))
    if found is not None and found[0]() is tensor:
        return found[1]
    copy = tensor.to(dtype)
    _copies[id(tensor)] = (weakref.ref(tensor), copy)
    return copy


def _lower(function):
    @_below
    def call(*args, **kwargs):
        dtype = torch.get_autocast_dtype("cuda")
        return function(*_cast(args, dtype), **{k: _cast(v, dtype) for k, v in kwargs.items()})

    return call


def _raise(function):
    @_below
    def call(*args, **kwargs):
        return function(
            *_cast(args, torch.float32), **{k: _cast(v, torch.float32) for k, v in kwargs.items()}
        )

    return call


def _raise_result(function):
    """No cast of the input: the operator is asked for an fp32 result, unless the caller named a dtype."""

    @_below
    def call(*args, **kwargs):
        if (
            _eligible(args[0])
            and kwargs.get("dtype") is None
            and not any(isinstance(a, torch.dtype) for a in args)
        ):
            kwargs = {**kwargs, "dtype": torch.float32}
        return function(*args, **kwargs)

    return call


def _widest(function):
    @_below
    def call(*args, **kwargs):
        found = [a.dtype for a in args if _eligible(a)]
        widest = torch.float32 if torch.float32 in found else torch.get_autocast_dtype("cuda")
        return function(*_cast(args, widest), **kwargs)

    return call
