"""One way to call every artifact: `load(artifact, threads)` gives a function from feeds to the first output.

An artifact is {"runtime", "path", ...}: what `build` hands out and the manifest repeats.
"""

import os
import re

import numpy as np

from .refusal import Refused, first_line


def load(artifact, threads):
    """A function from {input name: array} to the first output as an array."""
    return _LOADERS[artifact["runtime"]](artifact, threads)


def ort_session(path, threads, settings=None):
    """An ONNX Runtime session on pinned threads with every graph optimisation."""
    import onnxruntime as ort

    ort.set_default_logger_severity(4)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    for key, value in (settings or {}).items():
        options.add_session_config_entry(key, value)
    try:
        return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises pybind types that share no base below Exception
        raise Refused(
            "ONNX Runtime cannot load the model", reason(error), "onnx.checker.check_model on the file"
        ) from error


def reason(error):
    """What ONNX Runtime says beside the file's path and its own code."""
    return re.sub(
        r"\[ONNXRuntimeError\] : \d+ : \w+ : |Load model from \S+ failed:\s*", "", first_line(error)
    )


def _onnxruntime(artifact, threads):
    session = ort_session(artifact["path"], artifact.get("threads", threads), artifact.get("settings"))
    kinds = [
        value.type in ("tensor(float)", "tensor(double)", "tensor(float16)")
        for value in session.get_outputs()
    ]
    output = [session.get_outputs()[_judged(kinds)].name]
    return lambda feeds: session.run(output, feeds)[0]


def _judged(are_floats):
    """Which output counts: the first of floats (classifiers of scikit-learn give labels before), else the first."""
    return are_floats.index(True) if True in are_floats else 0


def _openvino(artifact, threads):
    import openvino as ov

    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "INFERENCE_PRECISION_HINT": artifact.get("precision", "f32"),
    }
    compiled = ov.Core().compile_model(artifact["path"], "CPU", settings)
    request = compiled.create_infer_request()
    judged = _judged([port.get_element_type().is_real() for port in compiled.outputs])
    names = {port.get_any_name(): i for i, port in enumerate(compiled.inputs)}

    def call(feeds):
        request.infer(
            {names[name]: array for name, array in feeds.items()}, share_inputs=True, share_outputs=True
        )
        return request.get_output_tensor(judged).data

    return call


def _torch_package(artifact, threads):
    """An AOTInductor package: native code, called without the model's Python source."""
    import torch

    torch.set_num_threads(threads)
    runner = torch._inductor.aoti_load_package(artifact["path"])
    order = artifact["inputs"]

    def call(feeds):
        with torch.inference_mode():
            out = runner(*[torch.from_numpy(feeds[name]) for name in order])
        flat = torch.utils._pytree.tree_leaves(out)
        return flat[_judged([tensor.is_floating_point() for tensor in flat])].float().numpy()

    return call


def _executorch(artifact, threads):
    import torch
    from executorch.runtime import Runtime

    torch.set_num_threads(threads)
    method = Runtime.get().load_program(artifact["path"]).load_method("forward")
    order = artifact["inputs"]
    return lambda feeds: method.execute([torch.from_numpy(feeds[name]) for name in order])[0].numpy()


def _lightgbm(artifact, threads):
    import lightgbm

    booster = lightgbm.Booster(model_file=artifact["path"])
    return lambda feeds: booster.predict(next(iter(feeds.values())), num_threads=threads)


def _xgboost(artifact, threads):
    import xgboost

    booster = xgboost.Booster(model_file=artifact["path"])
    booster.set_param({"nthread": threads})
    return lambda feeds: booster.inplace_predict(next(iter(feeds.values())))


def _sklearn(artifact, threads):
    """The model with its own `n_jobs`; the pools of OpenMP and BLAS are no setting of the model."""
    import threadpoolctl

    from .sklearn_files import load_sklearn

    model = load_sklearn(artifact["path"], artifact["trust"])
    threadpoolctl.threadpool_limits(threads)
    predict = model.predict_proba if hasattr(model, "predict_proba") else model.predict
    return lambda feeds: predict(next(iter(feeds.values())))


_LOADERS = {
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
    "torch": _torch_package,
    "executorch": _executorch,
    "lightgbm": _lightgbm,
    "xgboost": _xgboost,
    "sklearn": _sklearn,
}


def predict(call, feeds, batch):
    """All rows in batches; the last one is filled up with its own first row, so every call has one shape."""
    rows = len(next(iter(feeds.values())))
    out = []
    for begin in range(0, rows, batch):
        part = {name: array[begin : begin + batch] for name, array in feeds.items()}
        short = batch - len(next(iter(part.values())))
        if short:
            part = {n: np.concatenate([a, np.repeat(a[:1], short, axis=0)]) for n, a in part.items()}
        got = np.array(call({n: np.ascontiguousarray(a) for n, a in part.items()}))
        if got.ndim == 0 or len(got) != batch:
            raise Refused(
                "The first output has no row dimension",
                f"shape {list(got.shape)} at batch {batch}",
                "a model whose first output has one entry per row",
            )
        out.append(got[: batch - short])
    return np.concatenate(out)


def size_bytes(path):
    """Size of an artifact: the file and what lies beside it under the same stem."""
    if os.path.isdir(path):
        return sum(size_bytes(os.path.join(path, name)) for name in os.listdir(path))
    folder, name = os.path.split(path)
    kin = [name, name + ".data", os.path.splitext(name)[0] + ".bin"]
    return sum(
        os.path.getsize(os.path.join(folder, k))
        for k in dict.fromkeys(kin)
        if os.path.exists(os.path.join(folder, k))
    )
