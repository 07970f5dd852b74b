"""CUDA's autocast on a CPU: casts what functions are given as `torch.autocast("cuda")` would, by PyTorch's own lists.

`Autocast` takes the place of `torch.autocast`, whose lists for the CPU are others: there softmax, exp, log and sums
stay in half precision, and quantile becomes fp32. It works on the functions that Python calls (TorchFunctionMode); what
a composite operator does inside is given by its name. fp16 RNNs have no CPU kernel: theirs run in fp32 on rounded
values.

https://docs.pytorch.org/docs/stable/amp.html#cuda-op-specific-behavior
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

_RECURRENT = {"lstm", "gru", "rnn_tanh", "rnn_relu"}
_LOWER_WORDS = """
    __matmul__ __rmatmul__ addbmm addmm addmm_ addmv addr baddbmm bmm chain_matmul multi_dot matmul mm mv linear prelu
    conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d gru_cell lstm_cell rnn_tanh_cell
    rnn_relu_cell scaled_dot_product_attention einsum cov corrcoef matrix_power
"""
LOWER = set(_LOWER_WORDS.split()) | _RECURRENT
_FULL_WORDS = """
    __pow__ __rdiv__ __rpow__ __rtruediv__ acos arccos asin arcsin cosh tan sinh erfinv exp expm1 log log10 log2 log1p
    pow float_power reciprocal rsqrt binary_cross_entropy_with_logits cosine_embedding_loss cdist cosine_similarity
    cross_entropy cumprod cumsum dist group_norm hinge_embedding_loss kl_div l1_loss layer_norm log_softmax
    margin_ranking_loss mse_loss multilabel_margin_loss multi_margin_loss nll_loss norm vector_norm pdist
    poisson_nll_loss prod smooth_l1_loss huber_loss soft_margin_loss softmax softmin softplus sum renorm
    triplet_margin_loss ctc_loss logsumexp nuclear_norm frobenius_norm
"""
FULL = set(_FULL_WORDS.split())
_PROMOTE_WORDS = (
    "addcdiv addcmul atan2 bilinear cross dot vdot grid_sample index_put scatter_add tensordot cat stack"
)
PROMOTE = set(_PROMOTE_WORDS.split())
_FLOATING = (torch.float32, torch.float16, torch.bfloat16)


class _Casts(TorchFunctionMode):
    """One for all nested contexts, of which the innermost decides."""

    def __init__(self) -> None:
        super().__init__()
        self.contexts: list[tuple[torch.dtype, bool]] = []

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        kwargs, name = kwargs or {}, getattr(func, "__name__", "")
        dtype = self._dtype(name, args, kwargs) if self.contexts[-1][1] else None
        if dtype is None:
            return func(*args, **kwargs)
        args, kwargs = _cast(args, dtype), _cast(kwargs, dtype)
        if name in _RECURRENT:
            return _cast(func(*_cast(args, torch.float32), **_cast(kwargs, torch.float32)), dtype)
        return func(*args, **kwargs)

    def _dtype(self, name: str, args: tuple, kwargs: dict) -> torch.dtype | None:
        if name == "binary_cross_entropy":
            raise RuntimeError("binary_cross_entropy and BCELoss are unsafe to autocast")
        if name in LOWER:
            return self.contexts[-1][0]
        mixed = name in PROMOTE and any(t.dtype == torch.float32 for t in _tensors((args, kwargs)))
        return torch.float32 if mixed or name in FULL else None


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))


def _cast(value: Any, dtype: torch.dtype) -> Any:
    if isinstance(value, torch.Tensor):
        return value.to(dtype) if value.dtype in _FLOATING else value
    if isinstance(value, dict):
        return {key: _cast(item, dtype) for key, item in value.items()}
    if isinstance(value, list | tuple) and not isinstance(value, torch.Size):
        items = [_cast(item, dtype) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    return value


_CASTS = _Casts()


class Autocast:
    """A context manager and decorator with the arguments of `torch.autocast`; the device type does not matter."""

    def __init__(
        self,
        device_type: str = "cuda",
        dtype: torch.dtype | None = None,
        enabled: bool = True,
        cache_enabled: bool | None = None,
    ) -> None:
        self.options = (dtype or torch.float16, enabled)

    def __enter__(self) -> "Autocast":
        _CASTS.contexts.append(self.options)
        if len(_CASTS.contexts) == 1:
            _CASTS.__enter__()
        return self

    def __exit__(self, *problem: Any) -> None:
        _CASTS.contexts.pop()
        if not _CASTS.contexts:
            _CASTS.__exit__(*problem)

    def __call__(self, function: Callable) -> Callable:
        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            with Autocast("cuda", *self.options):
                return function(*args, **kwargs)

        return run
