"""scikit-learn models as ONNX: by skl2onnx, and histogram gradient boosting, which that cannot write, by our own."""

from . import histogram
from .refusal import Refused, first_line
from .trees import ensemble, floor_float32, with_two_columns


def convert(model):
    """The ONNX model of what `predict_proba` gives, or `predict` where there is no such method."""
    if histogram.is_histogram(model):
        return _trees(model)
    steps = getattr(model, "steps", None)
    if steps and histogram.is_histogram(steps[-1][1]):  # skl2onnx cannot write its ensemble
        return _one_after_the_other(_by_skl2onnx(model[:-1]), _trees(steps[-1][1]))
    converted = _by_skl2onnx(model)
    if hasattr(model, "predict_proba"):  # the label comes first there; probabilities are what is compared
        del converted.graph.output[0]
    else:  # scores would be judged before the label that `predict` gives
        del converted.graph.output[1:]
    return converted


def _trees(model):
    read, groups, features, link, base = histogram.read(model, floor_float32)
    converted = ensemble(read, groups, features, link, base)
    return with_two_columns(converted) if link == "Sigmoid" else converted


def _one_after_the_other(first, second):
    """The trees on what the steps before them give, in the operation sets of those, which the trees' nodes share."""
    from onnx import compose

    first.ir_version = second.ir_version
    known = {entry.domain for entry in first.opset_import}
    first.opset_import.extend(entry for entry in second.opset_import if entry.domain not in known)
    del second.opset_import[:]
    second.opset_import.extend(first.opset_import)
    second = compose.add_prefix(second, "trees_")
    return compose.merge_models(first, second, [(first.graph.output[0].name, second.graph.input[0].name)])


def _by_skl2onnx(model):
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType

    options = {id(model): {"zipmap": False}} if hasattr(model, "predict_proba") else None
    try:
        return convert_sklearn(
            model,
            initial_types=[("x", FloatTensorType([None, model.n_features_in_]))],
            options=options,
            target_opset={"": 17, "ai.onnx.ml": 3},  # what isolation forests are converted to
        )
    except Exception as error:  # skl2onnx raises its own and plain RuntimeError
        raise Refused(
            "skl2onnx does not convert this model", first_line(error), "another kind of model"
        ) from error
