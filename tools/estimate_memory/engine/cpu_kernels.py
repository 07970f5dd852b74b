"""What kernels of a CPU take beside their outputs: convolutions, by formula or by trial, and oneDNN's LSTM.

As in kernels.py: REPLACED are operators answered here, HIDDEN the rules for blocks that live as long as a kernel.
"""

import math

import torch
from torch._prims_common import suggest_memory_format

from . import caveats, probe

aten = torch.ops.aten


def _channel_block():
    return 16 if "AVX512" in torch.backends.cpu.get_cpu_capability() else 8


def _padded(tensor, channels, axis, block):
    """Bytes of a tensor in oneDNN's blocked layout."""
    return tensor.numel() // channels * (-(-channels // block) * block) * tensor.element_size()


def _uses_onednn(x, weight, stride, dilation, groups):
    """The condition of use_mkldnn in aten/src/ATen/native/Convolution.cpp, for float32 and bfloat16.

    It multiplies the first four sizes only, so a single 3-D sample is often left to the kernel that unfolds it.
    """
    if not torch.backends.mkldnn.is_available() or x.dtype not in (torch.float32, torch.bfloat16):
        return False
    if x.dtype == torch.bfloat16:
        return True
    kernel = list(weight.shape[2:])
    one_by_one_alone = (
        all(s == 1 for s in stride)
        and all(d == 1 for d in dilation)
        and x.shape[0] < 16
        and kernel[-1] == 1
        and (len(kernel) < 2 or kernel[-2] == 1)
        and torch.get_num_threads() == 1
    )
    return not one_by_one_alone and (
        groups > 1
        or (len(kernel) > 1 and kernel[-1] > 3 and kernel[-2] > 3)
        or x.shape[0] > 1
        or math.prod(x.shape[:4]) > 20480
    )


def _onednn_sizes(x, weight, y, groups):
    """Bytes of input, weight and output in oneDNN's own layout; plain input of few channels is read as it is."""
    block = _channel_block()
    channels = x.shape[1]
    inner = _padded(x, channels, 1, block)
    kernel = weight.element_size() * weight.numel()
    if groups == 1:
        kernel = _padded(weight, weight.shape[0], 0, block)
        kernel = kernel // weight.shape[1] * (-(-weight.shape[1] // block) * block)
    return inner, kernel, _padded(y, y.shape[1], 1, block)


def _unfolded(x, weight, y, stride, padding, dilation):
    """Bytes of the columns that torch's own convolutions make: of the whole batch, if dilated of a sample at a time."""
    kernel = weight.shape[2:]
    if all(k == 1 for k in kernel) and all(s == 1 for s in stride) and not any(padding):
        return 0
    samples = 1 if any(d > 1 for d in dilation) else y.shape[0]
    return samples * weight[0].numel() * math.prod(y.shape[2:]) * x.element_size()


def _plain_forward(args, result):
    x, weight, _bias, stride, padding, dilation, transposed, _output_padding, groups = args[:9]
    if not _uses_onednn(x, weight, stride, dilation, groups):
        return 0 if transposed else _unfolded(x, weight, result, stride, padding, dilation)
    inner, kernel, outer = _onednn_sizes(x, weight, result, groups)
    inner = inner if x.shape[1] >= _channel_block() else 0
    y = result.numel() * result.element_size()
    return max(inner + kernel + outer, y + outer) - y


def _plain_backward(args, result):
    gradient, x, weight, _bias, stride, padding, dilation, transposed, _output_padding, groups = args[:10]
    if not _uses_onednn(x, weight, stride, dilation, groups):
        return 0 if transposed else _unfolded(x, weight, gradient, stride, padding, dilation)
    inner, kernel, outer = _onednn_sizes(x, weight, gradient, groups)
    out = sum(t.numel() * t.element_size() for t in result[:2] if t is not None)
    first = max(outer + kernel + inner, inner + x.numel() * x.element_size()) if result[0] is not None else 0
    inner = inner if x.shape[1] >= _channel_block() else 0
    given = x.numel() * x.element_size() if result[0] is not None else 0
    second = given + outer + inner + kernel
    return max(first, second) - out


def _convolution(recorder, args, kwargs, result):
    x, weight, _bias, _stride, _padding, dilation, transposed, _output_padding, groups = args[:9]
    kinds = _kinds(x, dilation, transposed, groups)
    flops = _flops(weight, x if transposed else result)
    size = _by_trial(aten.convolution.default, args, kinds, flops)
    return _transient(_plain_forward(args, result) if size is None else size)


def _convolution_backward(recorder, args, kwargs, result):
    gradient, x, weight, _bias, _stride, _padding, dilation, transposed, _output_padding, groups = args[:10]
    kinds = _kinds(x, dilation, transposed, groups)
    flops = 2 * _flops(weight, x if transposed else gradient)
    size = _by_trial(aten.convolution_backward.default, args, kinds, flops)
    return _transient(_plain_backward(args, result) if size is None else size)


def _transient(size):
    return [(size, False)] if size > 0 else ()


def _kinds(x, dilation, transposed, groups):
    """What makes oneDNN pick among kernels whose scratch space follows no formula of ours."""
    kinds = (("grouped", groups > 1), ("dilated", any(d > 1 for d in dilation)), ("transposed", transposed),
             ("3-D", x.dim() == 5 and x.shape[0] > 1))  # fmt: skip
    return [name for name, present in kinds if present]


def _flops(weight, places):
    """Every weight meets every place of a sample, of the output or, transposed, of the input."""
    return 2 * weight.numel() * places.shape[0] * math.prod(places.shape[2:])


PLAIN_COSTS = (
    5  # a trial must be this much cheaper where there is a formula, which holds for large convolutions
)


def _by_trial(func, args, kinds, flops):
    """Bytes beside the outputs, or None, for those that follow no formula with a caveat, where it is too large."""
    given = sum(t.numel() * t.element_size() for t in args if isinstance(t, torch.Tensor))
    if probe.affordable(2 * given, flops if kinds else flops * PLAIN_COSTS):
        return probe.tried(func, args)[0]
    if kinds:
        caveats.note(
            f"{' '.join(kinds)} convolution",
            "too_low",
            "its scratch space follows no formula and it is too large to be tried: a fifth of the peak was seen",
        )
    return None


_TRIED_STEPS = (64, 16, 4)  # of an LSTM; a longer sequence is continued in a straight line


def _lstm_layer(recorder, func, args, kwargs):
    """oneDNN's LSTM layer: torch's fake kernel leaves out the workspace that the backward pass reads."""
    result = func(*args, **kwargs)
    *_, workspace = _over_time(_try_forward, args)
    return (*result[:3], args[0].new_empty(workspace, dtype=torch.uint8))


def _lstm_scratch(recorder, args, kwargs, result):
    return _transient(_over_time(_try_forward, args)[0])


def _lstm_backward_scratch(recorder, args, kwargs, result):
    return _transient(_over_time(_try_backward, args)[0])


def _over_time(measure, args):
    """[bytes beside the outputs, bytes of each output] of a layer over its whole sequence."""
    x, weight = args[0], args[2]
    steps, rows = x.shape[:2]  # time comes first here, whatever the layer's flag says
    flops = 6 * rows * weight.shape[0] * (x.shape[2] + weight.shape[1])  # of one step, forward and backward
    for tried in _TRIED_STEPS:
        if tried * flops <= probe.LARGEST_FLOPS and probe.affordable(0, 0):
            break
    else:
        caveats.note(
            "LSTM", "too_low", "oneDNN's workspace could not be tried at this size; it can be the most of all"
        )
        return [0, 0]
    if steps <= tried:
        return measure(args, steps)
    half, whole = measure(args, tried // 2), measure(args, tried)
    return [round(b + (b - a) / (tried - tried // 2) * (steps - tried)) for a, b in zip(half, whole)]


def _try_forward(args, steps):
    extra, sizes = probe.tried(aten.mkldnn_rnn_layer.default, [args[0][:steps], *args[1:]])
    return [extra, *sizes]


def _try_backward(args, steps):
    forward = [*args[:7], args[13], args[20], *args[14:18], args[19], args[21], args[18]]
    *_, workspace = _try_forward(forward, steps)
    short = list(args)
    for at in (0, 7, 10):  # input, output, the output's gradient
        short[at] = args[at] if args[at] is None else args[at][:steps]
    short[22] = args[22].new_empty(workspace)
    extra, sizes = probe.tried(aten.mkldnn_rnn_layer_backward.default, short)
    return [extra, *sizes]


def _promoted(recorder, args, kwargs, result):
    """Operands of another type than the result's are copied into it first (aten/src/ATen/TensorIterator.cpp)."""
    other = [t for t in args[:2] if isinstance(t, torch.Tensor) and t.dim() and t.dtype != result.dtype]
    return [(t.numel() * result.element_size(), False) for t in other]


def _batch_norm(recorder, func, args, kwargs):
    """Its output is contiguous, where torch's fake kernel keeps strides (aten/src/ATen/native/Normalization.cpp)."""
    y, *rest = func(*args, **kwargs)
    if recorder.device.type == "cpu" and y.dim() > 2:
        layout = suggest_memory_format(args[0])
        y = y if y.is_contiguous(memory_format=layout) else torch.empty_like(y, memory_format=layout)
    return y, *rest


SMALL_PRODUCT_FLOPS = 1e9  # beyond, what oneDNN takes for a half product is nothing beside its operands


def _half_product(func):
    """oneDNN's scratch space for a matrix product in half precision: by trial, or the repeated factors it copies."""

    def rule(recorder, args, kwargs, result):
        a, b = args[-2:]
        if result.dtype not in (torch.bfloat16, torch.float16) or a.dtype != b.dtype:
            return ()
        if 2 * result.numel() * a.shape[-1] > SMALL_PRODUCT_FLOPS or not probe.affordable(0, 0):
            return _transient(sum(t.numel() * t.element_size() for t in (a, b) if 0 in t.stride()))
        return _transient(probe.tried(func, args)[0])

    return rule


def _attention(func, at):
    """The tiles of the CPU's attention kernel, by trial; beyond its limits they are nothing beside the activations.

    `at`: where query and key stand among the arguments.
    """

    def rule(recorder, args, kwargs, result):
        query, key = args[at], args[at + 1]
        size = sum(t.numel() * t.element_size() for t in args if isinstance(t, torch.Tensor))
        if not probe.affordable(2 * size, 8 * query.numel() * key.shape[-2]):
            return ()
        return _transient(probe.tried(func, args, kwargs)[0])

    return rule


_ATTENTION = aten._scaled_dot_product_flash_attention_for_cpu.default
_ATTENTION_BACKWARD = aten._scaled_dot_product_flash_attention_for_cpu_backward.default
_PRODUCTS = (aten.mm.default, aten.addmm.default, aten.bmm.default, aten.baddbmm.default)
_ARITHMETIC = ("add", "sub", "mul", "div", "add_", "sub_", "mul_", "div_")
REPLACED = {aten.mkldnn_rnn_layer.default: _lstm_layer, aten.native_batch_norm.default: _batch_norm}
HIDDEN = {
    **{getattr(aten, name).Tensor: _promoted for name in _ARITHMETIC},
    **{product: _half_product(product) for product in _PRODUCTS},
    _ATTENTION: _attention(_ATTENTION, 0),
    _ATTENTION_BACKWARD: _attention(_ATTENTION_BACKWARD, 1),
    aten.convolution.default: _convolution,
    aten.convolution_backward.default: _convolution_backward,
    aten.mkldnn_rnn_layer.default: _lstm_scratch,
    aten.mkldnn_rnn_layer_backward.default: _lstm_backward_scratch,
}
