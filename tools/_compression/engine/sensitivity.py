"""Which layers int8 hurts most: each is quantized alone, and the outputs' drift is measured."""

import os

import numpy as np

from . import runners

MOST_LAYERS = 24  # the largest ones; each costs one quantized file and one pass over the rows
ROWS = 64


def most_sensitive(request, make, share):
    """Names of the nodes with the largest drift, that share of all; `make(path, only)` quantizes only those nodes."""
    import onnx

    model = onnx.load(request["preprocessed"])
    names = _largest_nodes(model)
    feeds = {name: array[:ROWS] for name, array in request["rows"].items()}
    batch = request["fixed_batch"] or ROWS
    reference = runners.predict(_session(request["preprocessed"]), feeds, batch)
    drifts = {}
    for name in names:
        path = os.path.join(request["folder"], "one-layer.onnx")
        make(path, [name])
        drifts[name] = float(np.abs(runners.predict(_session(path), feeds, batch) - reference).mean())
        os.remove(path)
    worst = sorted(drifts, key=lambda name: -drifts[name])
    return worst[: max(1, round(share * len(worst)))], drifts


def _session(path):
    return runners.load({"runtime": "onnxruntime", "path": path}, 1)


def _largest_nodes(model):
    sizes = {t.name: int(np.prod(t.dims)) for t in model.graph.initializer}
    weighted = [
        (sum(sizes.get(name, 0) for name in node.input), node.name)
        for node in model.graph.node
        if node.op_type in ("Conv", "MatMul", "Gemm") and node.name
    ]
    return [name for size, name in sorted(weighted, reverse=True)[:MOST_LAYERS] if size]
