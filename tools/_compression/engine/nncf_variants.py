"""Candidates for OpenVINO: the model as it is, and what NNCF makes of it."""

import logging
import os

import numpy as np

from . import calibration, judge, prepare
from .floats import float32_source
from .refusal import Refused

KEPT_TYPES = {"Convolution", "MatMul", "GroupConvolution", "Constant", "Parameter", "Result"}
CONTROL_BATCHES, CONTROL_BATCH = 16, 16  # search rows that accuracy control looks at after every layer
BUDGET_SHARE = 0.8  # of the budget may go on those rows, so that the confirmation rows may keep it as well


def convert(request, variant, target):
    """The float model for OpenVINO, in the precision of the variant."""
    return _artifact(_read(request), variant, target)


def quantize(request, variant, target):
    """Static int8 by NNCF; `transformer` and `weighted_only` narrow what is quantized."""
    import nncf

    model, batches = _read(request), calibration.batches(request)
    settings = {"model_type": nncf.ModelType.TRANSFORMER} if variant.get("transformer") else {}
    if variant.get("weighted_only"):
        others = sorted({node.get_type_name() for node in model.get_ops()} - KEPT_TYPES)
        settings["ignored_scope"] = nncf.IgnoredScope(types=others, validate=False)
    model = nncf.quantize(model, nncf.Dataset(batches), subset_size=len(batches), **settings)
    return _artifact(model, variant, target)


def quantize_with_control(request, variant, target):
    """Static int8 whose most harmful operations are set back to float until the metric keeps its budget."""
    import nncf

    batches, labelled = calibration.batches(request), _labelled_batches(request)
    sign = 1 if request["metric"] in ("accuracy",) else -1

    def value(compiled, items):
        items = list(items)
        predictions = np.concatenate([np.array(compiled(feeds)[0]) for feeds, _ in items])
        targets = np.concatenate([y for _, y in items])
        return sign * judge.metric_value(request["metric"], predictions, targets), None

    model = nncf.quantize_with_accuracy_control(
        _read(request), nncf.Dataset(batches), nncf.Dataset(labelled, lambda item: item[0]), value,
        max_drop=BUDGET_SHARE * request["allowed"], subset_size=len(batches),
    )  # fmt: skip
    left = sum(node.get_type_name() == "FakeQuantize" for node in model.get_ops())
    if not left:
        raise Refused(
            "Accuracy control set every operation back to float", "0 int8 operations", "a larger budget"
        )
    return {**_artifact(model, variant, target), "replaced": left}


def _labelled_batches(request):
    feeds = prepare.load_rows(request["folder"], request["names"], "search")
    y = np.load(os.path.join(request["folder"], "y.search.npy"))
    batch = request["fixed_batch"] or CONTROL_BATCH
    rows = np.linspace(0, len(y) - 1, min(len(y) // batch, CONTROL_BATCHES) * batch).astype(int)
    return [
        ({name: array[rows[i : i + batch]] for name, array in feeds.items()}, y[rows[i : i + batch]])
        for i in range(0, len(rows), batch)
    ]


def compress_weights(request, variant, target):
    """Weights in int8, everything else in float."""
    import nncf

    model = nncf.compress_weights(_read(request), mode=nncf.CompressWeightsMode.INT8_ASYM)
    return _artifact(model, variant, target)


def _read(request):
    import openvino as ov

    logging.disable(logging.WARNING)
    return ov.Core().read_model(float32_source(request))


def _artifact(model, variant, target):
    import openvino as ov

    path = os.path.join(target, "model.xml")
    ov.save_model(model, path, compress_to_fp16=False)
    return {"artifact": {"runtime": "openvino", "path": path, "precision": variant.get("precision", "f32")}}
