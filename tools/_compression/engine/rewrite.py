"""Graph rewrites that leave the result as it is."""

import onnx
from onnx import helper, numpy_helper

from .refusal import Refused


def conv1d_as_conv2d(source, target):
    """Save a copy whose 1-D convolutions are 2-D ones of height 1; returns how many were rewritten.

    ONNX Runtime has blocked kernels (NCHWc) for 4-D tensors only; 1-D convolutions take the slower general path.
    """
    model = onnx.load(source)
    weights = {t.name: t for t in model.graph.initializer}
    nodes, count = [], 0
    axes = "conv2d_axes"
    for node in model.graph.node:
        shape = next((a.ints for a in node.attribute if a.name == "kernel_shape"), ())
        if node.op_type != "Conv" or len(shape) != 1 or node.input[1] not in weights:
            nodes.append(node)
            continue
        count += 1
        tall, wide = f"{node.input[0]}_tall{count}", f"{node.output[0]}_wide{count}"
        weight = numpy_helper.to_array(weights[node.input[1]])[:, :, None, :]
        name = f"{node.input[1]}_2d{count}"
        model.graph.initializer.append(numpy_helper.from_array(weight.copy(), name))
        nodes.append(helper.make_node("Unsqueeze", [node.input[0], axes], [tall]))
        nodes.append(
            helper.make_node(
                "Conv", [tall, name, *node.input[2:]], [wide], name=node.name, **_attributes(node)
            )
        )
        nodes.append(helper.make_node("Squeeze", [wide, axes], [node.output[0]]))
    if not count:
        raise Refused("No 1-D convolution with constant weights", "0 rewritten", "another variant")
    import numpy as np

    model.graph.initializer.append(numpy_helper.from_array(np.array([2], dtype=np.int64), axes))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    used = {name for node in nodes for name in node.input}
    for tensor in list(model.graph.initializer):
        if tensor.name not in used:
            model.graph.initializer.remove(tensor)
    _drop_inverse_pairs(model)
    onnx.save(model, target)
    return count


def _attributes(node):
    """The attributes of the same convolution with a leading dimension of size 1."""
    found = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    for name in ("kernel_shape", "strides", "dilations"):
        if name in found:
            found[name] = [1, *found[name]]
    if "pads" in found:
        found["pads"] = [0, found["pads"][0], 0, found["pads"][1]]
    return found


_BY_ELEMENT = {"Relu", "LeakyRelu", "Sigmoid", "Tanh", "Elu", "Clip", "Identity"}


def _drop_inverse_pairs(model):
    """Squeeze, element-wise operation, Unsqueeze: keep the tensor 4-D throughout."""
    consumers = {}
    for node in model.graph.node:
        for name in node.input:
            consumers.setdefault(name, []).append(node)
    produced = {name: node for node in model.graph.node for name in node.output}
    results = {value.name for value in model.graph.output}
    gone = []
    for node in model.graph.node:
        if node.op_type != "Unsqueeze" or node.input[1] != "conv2d_axes":
            continue
        chain, here = [], produced.get(node.input[0])
        while (
            here is not None
            and here.op_type in _BY_ELEMENT
            and here.output[0] not in results
            and len(consumers[here.output[0]]) == 1
        ):
            chain.append(here)
            here = produced.get(here.input[0])
        if (
            here is None
            or here.op_type != "Squeeze"
            or here.input[1] != "conv2d_axes"
            or here.output[0] in results
        ):
            continue
        if len(consumers[here.output[0]]) > 1:
            continue
        first = chain[-1] if chain else None
        if first is not None:
            first.input[0] = here.input[0]
        last = chain[0].output[0] if chain else here.input[0]
        for user in consumers.get(node.output[0], []):
            for i, name in enumerate(user.input):
                if name == node.output[0]:
                    user.input[i] = last
        gone += [node, here]
    for node in gone:
        model.graph.node.remove(node)
