"""Choices that torch takes in C++ and takes differently for tensors with a Python class, or not on CUDA: taken again here.

Each is registered on the autograd key, so it also holds in the recomputation of activation checkpointing, which runs
inside the backward pass where function modes are gone.
"""

import warnings

import torch

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


def _linear(x, weight, bias=None):
    """aten/src/ATen/native/Linear.cpp: the bias is added in place, which torch avoids for tensors with a Python class."""
    if bias is not None and x.dim() == 2:
        return torch.addmm(bias, x, weight.t())
    if bias is not None and x.dim() == 3 and x.is_contiguous():
        flat = torch.addmm(bias, x.reshape(-1, x.shape[-1]), weight.t())
        return flat.view(x.shape[0], x.shape[1], flat.shape[-1])
    product = torch.matmul(x, weight.t())
    return product if bias is None else product.add_(bias)
