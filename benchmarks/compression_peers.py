"""What quantize_model is compared with: presets of the libraries, each as a function from feeds to outputs."""

import contextlib
import copy
import logging
import os
import tempfile
from pathlib import Path

import numpy as np
import torch
from optimizing_resources.tools._compression.engine import runners, variants

_DYNAMIC = {"kind": "dynamic", "ops": ["MatMul", "Gemm", "LSTM", "Attention"]}
PRESETS = {
    "ort_dynamic": _DYNAMIC,
    "ort_dynamic_per_channel": {**_DYNAMIC, "per_channel": True},
    "ort_static_all": {"kind": "static"},
    "ort_static_weighted": {"kind": "static", "ops": ["Conv", "MatMul", "Gemm"]},
    "nncf_default": {"kind": "nncf"},
}
CALIBRATION_ROWS = 128


def presets(model, calibration):
    """Name -> call for the ONNX file `model`; a preset that cannot be built is no peer."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "input0.calibration.npy", calibration)
        about = {"folder": folder, "model": model, "names": ["x"], "fixed_batch": None, "threads": 1}
        for name, settings in PRESETS.items():
            with contextlib.suppress(Exception):
                built = variants.build({**about, "variant": {"name": name, **settings}}, None)
                found[name] = runners.load(built["artifact"], 1)
        os.chdir("/")
    return found


def in_torch(model, calibration):
    """Name -> call of torch.compile, torchao and Intel Neural Compressor, as far as they are installed."""
    from torch._inductor import config

    config.freezing = True  # folds the weights; int8 patterns of PT2E are only fused then
    torch.set_num_threads(1)
    rows = torch.from_numpy(np.ascontiguousarray(calibration[:CALIBRATION_ROWS]))
    makers = {
        "torch_compile": lambda example: model,
        "torchao_int8": lambda example: _torchao(model, "Int8DynamicActivationInt8WeightConfig"),
        "torchao_weight_int8": lambda example: _torchao(model, "Int8WeightOnlyConfig"),
        "inc_static": lambda example: _inc(model, example, rows, "get_default_static_config"),
        "inc_dynamic": lambda example: _inc(model, example, rows, "get_default_dynamic_config"),
    }
    found = {}
    for name, make in makers.items():
        try:
            call = _by_shape(make)
            for count in (1, 64):
                call({"x": rows[:count].numpy()})
        except Exception as error:  # not installed, or an operation that it does not take
            print(f"no {name}: {type(error).__name__}: {str(error).splitlines()[0][:120]}", flush=True)
        else:
            found[name] = call
    return found


def _by_shape(make):
    """Compiled for each input shape by itself, which is the fastest that torch offers."""
    compiled = {}

    def call(feeds):
        x = torch.from_numpy(feeds["x"])
        with torch.inference_mode():
            if x.shape not in compiled:
                compiled[x.shape] = torch.compile(make(x), dynamic=False)
            return compiled[x.shape](x).numpy()

    return call


def _torchao(model, config):
    from torchao import quantization

    quantized = copy.deepcopy(model)
    quantization.quantize_(quantized, getattr(quantization, config)())
    return quantized


def _inc(model, example, rows, config):
    from neural_compressor.torch import quantization
    from neural_compressor.torch.export import export

    logging.disable(logging.WARNING)
    prepared = quantization.prepare(
        export(copy.deepcopy(model), example_inputs=(example,)), quant_config=getattr(quantization, config)()
    )
    for i in range(0, len(rows) - len(example) + 1, len(example)):
        prepared(rows[i : i + len(example)])
    return quantization.convert(prepared)
