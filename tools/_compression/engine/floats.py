"""A copy of a model whose half or double precision is float32 inside; what it takes and gives keeps its type.

ONNX Runtime's CPU kernels compute in float32, so half precision pays a conversion around most operations, and the
quantizers take float32 only.
"""

import os

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from . import graph

OTHERS = (TensorProto.FLOAT16, TensorProto.DOUBLE)
_SUFFIX = "_float32"


def float32_source(request):
    """The file that quantizers start from: the model, or its float32 copy, made once per search."""
    if not request.get("other_floats"):
        return request["model"]
    path = os.path.join(request["folder"], "float32.onnx")
    if not os.path.exists(path):
        onnx.save(as_float32(onnx.load(request["model"])), path)
    return path


def as_float32(model):
    """The model, changed in place."""
    for inner in graph.graphs(model.graph):
        _convert(inner)
        if inner is not model.graph:
            for value in [*inner.input, *inner.output]:
                if value.type.tensor_type.elem_type in OTHERS:
                    value.type.tensor_type.elem_type = TensorProto.FLOAT
    _cast_at_borders(model)
    return model


def _convert(inner):
    """Weights, constants and the types that operations name."""
    del inner.value_info[:]
    for tensor in inner.initializer:
        _narrow(tensor)
    for node in inner.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                _narrow(attribute.t)
            elif attribute.name in ("to", "dtype") and attribute.i in OTHERS:
                attribute.i = TensorProto.FLOAT


def _narrow(tensor):
    if tensor.data_type in OTHERS:
        array = numpy_helper.to_array(tensor).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def _cast_at_borders(model):
    weights = {tensor.name for tensor in model.graph.initializer}
    taken = [v for v in model.graph.input if _is_other(v) and v.name not in weights]
    given = [v for v in model.graph.output if _is_other(v)]
    names = {value.name: value.name + _SUFFIX for value in [*taken, *given]}
    for inner in graph.graphs(model.graph):
        for node in inner.node:
            for used in (node.input, node.output):
                for i, name in enumerate(used):
                    used[i] = names.get(name, name)
    first = [helper.make_node("Cast", [v.name], [names[v.name]], to=TensorProto.FLOAT) for v in taken]
    last = [
        helper.make_node("Cast", [names[v.name]], [v.name], to=v.type.tensor_type.elem_type) for v in given
    ]
    nodes = [*first, *model.graph.node, *last]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _is_other(value):
    return value.type.tensor_type.elem_type in OTHERS
