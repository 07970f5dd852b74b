"""Recurrent layers: cuDNN's as one call; packed sequences, whose lengths are values, at full length on any device."""

import torch

from . import caveats
from .fake import real_world

aten = torch.ops.aten


def choices(kind):
    """Operator -> what stands for it on the target's autograd key (see cuda_choices.install)."""
    packing = {"_pack_padded_sequence": _pack, "_pad_packed_sequence": _unpack}
    if kind == "cpu":
        return {**packing, **{name: _packed_on_cpu(name) for name in _PACKED}}
    return {
        **packing,
        **{name: _recurrent(mode) for name, mode in _MODES.items()},
        **{name: _recurrent_packed(mode) for name, mode in _PACKED.items()},
    }


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
