"""Writes model.onnx (a classifier of 64 features) and data.npz (rows that it labels itself)."""

import itertools

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

rng = np.random.default_rng(0)
sizes, nodes, tensors, last = (64, 1024, 1024, 5), [], [], "x"
for i, (a, b) in enumerate(itertools.pairwise(sizes)):
    for name, shape in ((f"w{i}", (a, b)), (f"b{i}", (b,))):
        tensors.append(numpy_helper.from_array((rng.standard_normal(shape) / a**0.5).astype("float32"), name))
    nodes.append(helper.make_node("Gemm", [last, f"w{i}", f"b{i}"], [f"h{i}" if i < 2 else "y"]))
    if i < 2:
        nodes.append(helper.make_node("Relu", [f"h{i}"], [f"r{i}"]))
        last = f"r{i}"
shape = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", k]) for n, k in (("x", 64), ("y", 5))]
graph = helper.make_graph(nodes, "classifier", shape[:1], shape[1:], tensors)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()
open("model.onnx", "wb").write(model)
x = rng.standard_normal((1200, 64)).astype("float32")
session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
np.savez("data.npz", x=x, y=session.run(None, {"x": x})[0].argmax(1))
