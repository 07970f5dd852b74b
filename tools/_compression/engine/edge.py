"""Formats that small devices load. Each file is loaded and run once here, and must repeat the model's outputs."""

import os

import numpy as np

from . import agree, prepare, program, runners
from .refusal import Refused, first_line

TOLERANCE = 1e-3


def edge(request, progress):
    """One file in `format` ("ort" or "pte") as an artifact; Refused where it does not convert, load or agree."""
    feeds = prepare.load_rows(
        request["folder"], request["names"], "batch{}".format(request["batch_sizes"][0])
    )
    target = os.path.join(request["folder"], "edge_" + request["format"])
    os.makedirs(target, exist_ok=True)
    try:
        artifact, before = _WRITERS[request["format"]](request, target, feeds)
        after = runners.load(artifact, 1)(feeds)
    except Refused:
        raise
    except Exception as error:  # converters and runtimes raise their own
        raise Refused(
            "The model does not convert to .{}".format(request["format"]), first_line(error), "the ONNX file"
        ) from error
    if before.shape != after.shape or not np.allclose(before, after, rtol=TOLERANCE, atol=TOLERANCE):
        raise Refused("The .{} file gives other outputs".format(request["format"]), target, "the ONNX file")
    return {"artifact": artifact}


def _ort(request, target, feeds):
    """ORT format, without the layouts that bind a file to this processor's vector width."""
    import onnxruntime as ort

    path, options = os.path.join(target, "model.ort"), ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = path
    options.add_session_config_entry("session.save_model_format", "ORT")
    ort.InferenceSession(request["artifact"]["path"], options, providers=["CPUExecutionProvider"])
    return {"runtime": "onnxruntime", "path": path}, runners.load(request["artifact"], 1)(feeds)


def _pte(request, target, feeds):
    """ExecuTorch with the XNNPACK delegate, from the exported program: float, as the caller's model is."""
    torch = program.import_torch()
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    exported, path = torch.export.load(request["program"]), os.path.join(target, "model.pte")
    lowered = to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()]).to_executorch()
    with open(path, "wb") as file:
        file.write(lowered.buffer)
    with torch.no_grad():
        out = exported.module()(*[torch.from_numpy(feeds[name]) for name in request["names"]])
    artifact = {"runtime": "executorch", "path": path, "inputs": request["names"]}
    return artifact, agree.first_output(out).float().numpy()


_WRITERS = {"ort": _ort, "pte": _pte}
