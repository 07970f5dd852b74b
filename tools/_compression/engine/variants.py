"""Builds one candidate: a file that another process loads, and what was done to get it.

A variant is {"name", "kind", ...settings}; which are worth trying, and in which order, is decided elsewhere.
"""

import contextlib
import logging
import os
import shutil
import tempfile

from . import graph, nncf_variants, prepare
from .calibration import Rows
from .floats import float32_source
from .refusal import Refused

# Operations whose weights are quantized while everything around them stays in float: level arithmetic
# (subtract the last value, add it back) clips once later rows leave the calibrated range.
WEIGHTED_OPS = ["Conv", "MatMul", "Gemm"]
FOUR_BIT_BLOCK = 32
PER_CHANNEL_OPSET = 13  # DequantizeLinear takes an axis from here on


def build(request, progress):
    """The artifact of one variant, in a folder of its own."""
    logging.disable(logging.WARNING)
    variant = request["variant"]
    target = os.path.join(request["folder"], variant["name"])
    shutil.rmtree(target, ignore_errors=True)
    os.makedirs(target)
    try:
        reply = _BUILDERS[variant["kind"]](request, variant, target)
    except Refused:
        raise
    except Exception as error:  # each library raises its own
        raise Refused("The library cannot make it from this model", _last_line(error)) from error
    os.chdir(request["folder"])
    return reply


def _last_line(error):
    """What a library says in the end; its first lines tell where in its own code that was."""
    lines = [line.strip(" -") for line in str(error).splitlines() if line.strip(" -")]
    return lines[-1] if lines else type(error).__name__


def preprocessed(request):
    """The model after shape inference and ONNX Runtime's own graph optimisation, made once per search."""
    from onnxruntime.quantization.shape_inference import quant_pre_process

    path = os.path.join(request["folder"], "preprocessed.onnx")
    if not os.path.exists(path):
        source = _with_recent_operations(float32_source(request), path + ".recent")
        # symbolic shape inference fails on some graphs: onnxruntime #10484, #21476
        for skip in (False, True):
            try:
                with _elsewhere(request["folder"]):
                    quant_pre_process(source, path + ".part", skip_symbolic_shape=skip)
                break
            except Exception:  # it raises plain Exception("Incomplete symbolic shape inference") among others
                if skip:
                    shutil.copyfile(source, path + ".part")
        os.replace(path + ".part", path)
    return path


@contextlib.contextmanager
def _elsewhere(folder):
    """Another current folder for a while: symbolic shape inference that fails leaves the weights there."""
    with tempfile.TemporaryDirectory(dir=folder) as away:
        os.chdir(away)
        try:
            yield
        finally:
            os.chdir(folder)


def _with_recent_operations(source, target):
    """The model's file, or a copy in an opset that knows scales per channel, as far as it can be converted."""
    import onnx
    from onnx import version_converter

    model = onnx.load(source)
    opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), PER_CHANNEL_OPSET)
    if opset >= PER_CHANNEL_OPSET:
        return source
    try:
        onnx.save(version_converter.convert_version(model, PER_CHANNEL_OPSET), target)
    except Exception:  # RuntimeError from C++ for operations without an adapter, and others
        return source
    return target


def _dynamic(request, variant, target):
    from onnxruntime.quantization import QuantType, quantize_dynamic

    path = os.path.join(target, "model.onnx")
    quantize_dynamic(
        preprocessed(request), path, op_types_to_quantize=variant["ops"], per_channel=variant.get("per_channel", False),
        reduce_range=variant.get("reduce_range", False), weight_type=QuantType.QInt8,
        nodes_to_exclude=variant.get("exclude", []),
        extra_options={"MatMulConstBOnly": True, "DefaultTensorType": 1},
    )  # fmt: skip
    return _onnx_artifact(path, request)


def _static(request, variant, target):
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    path = os.path.join(target, "model.onnx")
    options = {"MatMulConstBOnly": variant.get("ops") is not None, "DefaultTensorType": 1}
    quantize_static(
        preprocessed(request), path, Rows(request), quant_format=QuantFormat.QDQ,
        op_types_to_quantize=variant.get("ops"), per_channel=True, reduce_range=variant.get("reduce_range", False),
        activation_type=QuantType.QInt8 if variant.get("signed") else QuantType.QUInt8, weight_type=QuantType.QInt8,
        calibrate_method=getattr(CalibrationMethod, variant.get("calibration", "MinMax")),
        nodes_to_exclude=variant.get("exclude", []), extra_options=options,
    )  # fmt: skip
    return _onnx_artifact(path, request)


def _sensitive(request, variant, target):
    """Static int8 with the layers that drift most left in float; they are found by quantizing each alone."""
    from .sensitivity import most_sensitive

    source = preprocessed(request)
    ranges = _ranges(request, source, target)
    rows = prepare.load_rows(request["folder"], request["names"], "calibration")
    about = {**request, "preprocessed": source, "rows": rows}
    worst, drifts = most_sensitive(
        about, lambda path, only: _quantize_nodes(source, path, ranges, variant, only=only), variant["share"]
    )
    path = os.path.join(target, "model.onnx")
    _quantize_nodes(source, path, ranges, variant, exclude=worst)
    return {**_onnx_artifact(path, request), "kept_float": worst, "layer_drift": drifts}


def _ranges(request, source, target):
    """The activations' ranges, calibrated once."""
    from onnxruntime.quantization.calibrate import CalibrationMethod, create_calibrator

    calibrator = create_calibrator(
        source, WEIGHTED_OPS, augmented_model_path=os.path.join(target, "augmented.onnx"),
        calibrate_method=CalibrationMethod.MinMax,
    )  # fmt: skip
    calibrator.collect_data(Rows(request))
    found = calibrator.compute_data()
    os.remove(os.path.join(target, "augmented.onnx"))
    return found


def _quantize_nodes(source, path, ranges, variant, only=(), exclude=()):
    import onnx
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    quantizer = QDQQuantizer(
        onnx.load(source), True, variant.get("reduce_range", False), QuantType.QInt8,
        QuantType.QInt8 if variant.get("signed") else QuantType.QUInt8, ranges, list(only), list(exclude), WEIGHTED_OPS,
        {"MatMulConstBOnly": True, "DefaultTensorType": 1},
    )  # fmt: skip
    quantizer.quantize_model()
    quantizer.model.save_model_to_file(path, False)


def _weight_only(request, variant, target):
    import onnx
    from onnxruntime.quantization.matmul_nbits_quantizer import (
        DefaultWeightOnlyQuantConfig,
        MatMulNBitsQuantizer,
    )

    config = DefaultWeightOnlyQuantConfig(
        block_size=FOUR_BIT_BLOCK, is_symmetric=True, accuracy_level=4, bits=variant["bits"]
    )
    quantizer = MatMulNBitsQuantizer(onnx.load(preprocessed(request)), algo_config=config)
    quantizer.process()
    path = os.path.join(target, "model.onnx")
    quantizer.model.save_model_to_file(path, False)
    return _onnx_artifact(path, request)


def _float16(request, variant, target):
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    model = convert_float_to_float16(onnx.load(request["model"]), keep_io_types=True)
    path = os.path.join(target, "model.onnx")
    onnx.save(model, path)
    return {"artifact": {"runtime": "onnxruntime", "path": path}}


def _float32(request, variant, target):
    path = os.path.join(target, "model.onnx")
    shutil.copyfile(float32_source(request), path)
    return {"artifact": {"runtime": "onnxruntime", "path": path}}


def _rewrite_conv1d(request, variant, target):
    from .rewrite import conv1d_as_conv2d

    path = os.path.join(target, "model.onnx")
    return {
        "artifact": {"runtime": "onnxruntime", "path": path},
        "replaced": conv1d_as_conv2d(request["model"], path),
    }


def _onnx_artifact(path, request):
    """The artifact with the number of operations that were replaced; none is a failed candidate."""
    import onnx

    ops = graph.op_counts(onnx.load(path, load_external_data=False))
    replaced = sum(count for name, count in ops.items() if name in graph.QUANTIZED_OPS - {"QuantizeLinear"})
    if not replaced:
        raise Refused(
            "No operation was replaced", "ops: " + ", ".join(list(ops)[:8]), "another kind of quantization"
        )
    return {"artifact": {"runtime": "onnxruntime", "path": path}, "replaced": int(replaced)}


def _torch_package(request, variant, target):
    import torch

    torch.set_num_threads(request["threads"])
    program = torch.export.load(request["program"])
    path = os.path.join(target, "model.pt2")
    torch._inductor.aoti_compile_and_package(
        program, package_path=path, inductor_configs={"max_autotune": False, "freezing": True}
    )
    return {"artifact": {"runtime": "torch", "path": path, "inputs": request["names"]}}


def _trees(request, variant, target):
    from . import trees

    return trees.build(request, variant, target)


def _n_jobs(request, variant, target):
    from . import sklearn_jobs

    return sklearn_jobs.build(request, variant, target)


_BUILDERS = {
    "dynamic": _dynamic,
    "static": _static,
    "sensitive": _sensitive,
    "weight_only": _weight_only,
    "float16": _float16,
    "float32": _float32,
    "conv1d": _rewrite_conv1d,
    "openvino": nncf_variants.convert,
    "nncf": nncf_variants.quantize,
    "nncf_control": nncf_variants.quantize_with_control,
    "nncf_weights": nncf_variants.compress_weights,
    "torch": _torch_package,
    "trees": _trees,
    "n_jobs": _n_jobs,
}
