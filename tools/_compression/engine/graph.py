"""What an ONNX file holds, and why it may be refused: nothing is run before these checks passed."""

import os
from collections import Counter

import numpy as np

from .refusal import Refused, first_line

QUANTIZED_OPS = {
    "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "MatMulInteger", "ConvInteger", "QLinearMatMul",
    "QLinearConv", "MatMulNBits", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM", "QAttention", "QGemm",
}  # fmt: skip
KNOWN_DOMAINS = {"", "ai.onnx", "ai.onnx.ml", "com.microsoft"}
LARGEST_BYTES = 2 * 1024**3  # a protobuf holds no more, and the quantizers write one
DTYPES = {
    1: "float32",
    10: "float16",
    11: "float64",
    6: "int32",
    7: "int64",
    9: "bool",
    2: "uint8",
    3: "int8",
}


def read(path):
    """The parsed model with its external data, checked in the order in which harm could be done."""
    import onnx

    if os.path.getsize(path) > LARGEST_BYTES:
        raise _too_large(os.path.getsize(path))
    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:  # protobuf's DecodeError, which has no public home
        raise Refused(
            "The file is no complete ONNX model", first_line(error), "exporting it again"
        ) from error
    if not model.graph.node:
        raise Refused("The ONNX graph has no operations", path, "exporting it again")
    total = os.path.getsize(path) + _external_bytes(model, os.path.dirname(path))
    if total > LARGEST_BYTES:
        raise _too_large(total)
    onnx.load_external_data_for_model(model, os.path.dirname(path))
    _refuse_unfit(model)
    return model


def _too_large(size):
    return Refused(
        "The model is larger than 2 GiB", f"{size} bytes", "a smaller model; this search is for small ones"
    )


def graphs(graph):
    """The graph and every graph inside its If, Loop and Scan nodes."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in [attribute.g, *attribute.graphs]:
                if inner.node:
                    yield from graphs(inner)


def _tensors(model):
    for graph in graphs(model.graph):
        yield from graph.initializer
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.HasField("t"):
                    yield attribute.t
                yield from attribute.tensors


def _external_bytes(model, folder):
    """Bytes beside the file; each place must lie in the model's own folder, as a plain file that is long enough."""
    places, total = {}, 0
    for tensor in _tensors(model):
        if tensor.data_location != 1:  # EXTERNAL
            continue
        entry = {item.key: item.value for item in tensor.external_data}
        location = entry.get("location", "")
        path = os.path.join(folder, location.replace("\0", ""))
        if (
            not location or "\0" in location or os.path.isabs(location)
            or ".." in location.replace("\\", "/").split("/")
            or os.path.realpath(path) != os.path.join(os.path.realpath(folder), os.path.normpath(location))
        ):  # fmt: skip
            raise Refused(
                "External data must lie in the model's own folder", location, "saving the model as one file"
            )
        if not os.path.isfile(path):
            raise Refused("The model's external data file is missing", location, "moving it beside the model")
        numbers = [entry.get(key) or "0" for key in ("offset", "length")]
        if not all(number.isdecimal() for number in numbers):
            raise Refused("The place of the external data is malformed", numbers, "exporting it again")
        end = sum(map(int, numbers))
        if end > os.path.getsize(path):
            raise Refused(
                "The external data file is too short", f"{location}: {end} bytes needed", "a whole copy"
            )
        places[location] = os.path.getsize(path)
    total = sum(places.values())
    return total


def _refuse_unfit(model):
    from onnx import numpy_helper

    ops = op_counts(model)
    if found := sorted(QUANTIZED_OPS & set(ops)):
        raise Refused(
            "The model is quantized already", ", ".join(found), "the float model that it was made from"
        )
    own = {(f.domain, f.name) for f in model.functions}
    custom = sorted({
        f"{node.domain}::{node.op_type}"
        for graph in graphs(model.graph) for node in graph.node
        if node.domain not in KNOWN_DOMAINS and (node.domain, node.op_type) not in own
    })  # fmt: skip
    if custom:
        raise Refused(
            "The model uses custom operations", ", ".join(custom[:5]), "an export to standard operations"
        )
    for tensor in _tensors(model):
        if tensor.data_type in (1, 10, 11):
            try:
                finite = np.isfinite(numpy_helper.to_array(tensor)).all()
            except (ValueError, TypeError) as error:
                raise Refused(
                    "A weight of the model is malformed",
                    f"{tensor.name}: {error}",
                    "exporting it again",
                ) from error
            # masks hold -inf in one-element or attention constants: only NaN is always a fault
            if not finite and np.isnan(numpy_helper.to_array(tensor)).any():
                raise Refused(
                    "The model's weights hold NaN", tensor.name, "a checkpoint from before training diverged"
                )


def op_counts(model):
    return Counter(node.op_type for graph in graphs(model.graph) for node in graph.node)


def describe(model):
    """Operation counts and what the order of the search depends on."""
    ops = op_counts(model)
    constants = {t.name for g in graphs(model.graph) for t in g.initializer}
    constants |= {n.output[0] for g in graphs(model.graph) for n in g.node if n.op_type == "Constant"}
    weighted = Counter(
        n.op_type for g in graphs(model.graph) for n in g.node
        if n.op_type in ("MatMul", "Gemm") and len(n.input) > 1 and n.input[1] in constants
    )  # fmt: skip
    numbers = Counter()
    for tensor in _tensors(model):
        numbers[tensor.data_type] += int(np.prod(tensor.dims))
    convolutions = [n for g in graphs(model.graph) for n in g.node if n.op_type == "Conv"]
    one_dimensional = sum(
        any(a.name == "kernel_shape" and len(a.ints) == 1 for a in node.attribute) for node in convolutions
    )
    return {
        "ops": dict(ops.most_common()),
        "weighted_matmuls": sum(weighted.values()),
        "constant_matmuls": weighted["MatMul"],  # 4-bit kernels take these, not Gemm
        "convolutions": len(convolutions),
        "convolutions_1d": int(one_dimensional),
        "recurrent": int(ops["LSTM"] + ops["GRU"] + ops["RNN"]),
        "lstm": int(ops["LSTM"]),
        "attention": bool(ops["Softmax"] and ops["MatMul"] > weighted["MatMul"]) or bool(ops["Attention"]),
        "parameters": numbers[1] + numbers[10] + numbers[11],
        "other_floats": numbers[10] + numbers[11] > numbers[1],  # half or double precision
        "opset": next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), None),
    }


def inputs_of(model):
    """Name, dtype and shape (None or a name where free) of what the caller feeds."""
    constants = {t.name for t in model.graph.initializer}
    found = []
    for value in model.graph.input:
        if value.name in constants:
            continue
        kind = value.type.tensor_type
        if kind.elem_type not in DTYPES:
            raise Refused(
                "An input type of the model is not supported", value.name, "number or boolean inputs"
            )
        # some exporters write a free dimension as -1
        dims = [d.dim_value if d.dim_value > 0 else d.dim_param or None for d in kind.shape.dim]
        shape = dims if kind.HasField("shape") else None
        found.append({"name": value.name, "dtype": DTYPES[kind.elem_type], "shape": shape})
    if not found:
        raise Refused("The model takes no input", "", "a model of one input at least")
    return found


def judged_output(model):
    """Name of the first output of floats, else of the first output; runners.py chooses alike."""
    floats = [value for value in model.graph.output if value.type.tensor_type.elem_type in (1, 10, 11)]
    return [*floats, model.graph.output[0]][0].name


def free_batch(model):
    """Make a fixed first dimension symbolic, for inputs and outputs, and forget the shapes in between."""
    for value in [*model.graph.input, *model.graph.output]:
        shape = value.type.tensor_type.shape
        if shape.dim:
            shape.dim[0].dim_param = "batch"
    del model.graph.value_info[:]
    return model
