"""The metric of predictions, what a candidate lost of it, and how sure that is."""

import time

import numpy as np

from .refusal import Refused, first_line

HIGHER = {"accuracy": True, "mae": False, "rmse": False}
RESAMPLES = 2000
CONFIDENCE = 95  # one-sided, percent
MOST_CALLS, FEWEST_CALLS, SCORE_SECONDS = 300, 60, 20.0  # of the caller's own metric, per bound


def check_targets(metric, predictions, y):
    """The targets in the shape of the predictions, or labels within the classes."""
    if y.dtype.kind not in "fiub":
        raise Refused(
            "The targets are no numbers", y.dtype,
            "class numbers from 0 in the order of the model's outputs, or float targets",
        )  # fmt: skip
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        bad = int((~np.isfinite(y)).sum())
        raise Refused("The targets hold NaN or infinity", f"{bad} of {y.size} numbers", "clean targets")
    if metric == "accuracy":
        return _check_labels(predictions, y)
    if metric in HIGHER and np.squeeze(y).shape != np.squeeze(predictions).shape:
        raise Refused(
            "Targets and predictions differ in shape", f"{list(y.shape)} and {list(predictions.shape)}",
            "targets shaped like the model's first output",
        )  # fmt: skip
    return y


def _check_labels(predictions, y):
    labels = np.squeeze(y)
    predictions = classes_last(predictions, labels)
    classes = class_count(predictions)
    if labels.shape != predicted_classes(predictions).shape:
        raise Refused(
            "Labels and predicted classes differ in shape",
            f"{list(y.shape)} and {list(predicted_classes(predictions).shape)}",
            "one class number per row (argmax of one-hot rows); for a regression the metric mae or rmse",
        )  # fmt: skip
    outside = not _are_labels(predictions) and (labels.min() < 0 or labels.max() >= classes)
    if (labels != np.floor(labels)).any() or outside:
        raise Refused(
            "Labels lie outside the model's classes",
            f"{labels.min():g} to {labels.max():g} for {classes} classes",
            f"whole class numbers from 0 to {classes - 1}; of several outputs the first of floats is judged",
        )
    return labels.astype(np.int64)


def classes_last(predictions, labels):
    """Scores with their classes in the last axis; torch puts them second where every pixel or step has a label."""
    one_each = predictions.shape[:1] + predictions.shape[2:]
    is_second = predictions.ndim > 2 and labels.shape == one_each != predictions.shape[:-1]
    return np.moveaxis(predictions, 1, -1) if is_second else predictions


def class_count(predictions):
    if _are_labels(predictions):
        return np.iinfo(np.int64).max
    return predictions.shape[-1] if predictions.ndim > 1 and predictions.shape[-1] > 1 else 2


def _are_labels(predictions):
    """Whether the model hands out class numbers instead of scores."""
    return predictions.dtype.kind in "iu"


def predicted_classes(predictions):
    """Argmax over the last axis; one column is a probability, or a logit where it leaves 0 to 1."""
    if predictions.ndim > 1 and predictions.shape[-1] > 1:
        return predictions.argmax(-1)
    column = np.squeeze(predictions, -1) if predictions.ndim > 1 else predictions
    if _are_labels(predictions):
        return column
    is_probability = column.min() >= 0 and column.max() <= 1
    return (column > (0.5 if is_probability else 0)).astype(np.int64)


def row_losses(metric, predictions, y):
    """One number per row whose mean gives the metric (for rmse, the mean square)."""
    if metric == "accuracy":
        right = predicted_classes(classes_last(predictions, y)) == y
        return right.reshape(len(y), -1).mean(1)
    error = (predictions.reshape(len(y), -1) - y.reshape(len(y), -1)).astype(np.float64)
    return np.abs(error).mean(1) if metric == "mae" else (error**2).mean(1)


def total(metric, losses):
    mean = losses.mean(-1)
    return np.sqrt(mean) if metric == "rmse" else mean


def metric_value(metric, predictions, y):
    return float(total(metric, row_losses(metric, predictions, y)))


def asked_metric(request, predictions, y):
    """The built-in metric or the caller's `file.py:function`, of a training task."""
    if request["metric"] in HIGHER:
        return metric_value(request["metric"], predictions, y)
    from .rows import import_function

    function = import_function(request["metric_file"], request["metric_function"], request["root"])
    return float(function(predictions, y))


def class_numbers(y, classes):
    """Labels as their place among the model's own sorted classes; what is no such label stays, as a place already."""
    alike = classes is not None and (y.dtype.kind in "US") == (classes.dtype.kind in "USO")
    return np.searchsorted(classes, y) if alike and np.isin(y, classes).all() else y


def constant_answer(metric, y):
    """The metric of the best constant answer: the commonest class, the median or the mean."""
    if metric == "accuracy":
        return float(np.unique(y, return_counts=True)[1].max() / y.size)
    centre = np.median(y, axis=0) if metric == "mae" else y.mean(axis=0)
    return metric_value(metric, np.broadcast_to(centre, y.shape), y)


def worse_than_constant(metric, value, y):
    """A sentence where one constant answer would score as well as the model, within two standard errors, else None."""
    constant = constant_answer(metric, y)
    if metric == "accuracy":
        suspect = value <= constant + 2 * (constant * (1 - constant) / y.size) ** 0.5
    else:
        suspect = value >= constant
    if not suspect:
        return None
    return (
        f"The model's {metric} of {value:.4g} is hardly better than one constant answer ({constant:.4g}): check that "
        "rows and targets belong together, and that the rows are prepared as for training"
    )


def drop_bounds(metric, base, candidate, block):
    """The drop (positive is worse) on these rows between its bounds from a paired bootstrap over blocks of rows."""
    sign = 1.0 if HIGHER[metric] else -1.0
    point = sign * float(total(metric, base) - total(metric, candidate))
    if np.array_equal(base, candidate):
        return point, point, point
    picks = resamples(len(base), block)
    drops = [sign * (total(metric, base[rows]) - total(metric, candidate[rows])) for rows in picks]
    least, most = np.percentile(drops, (100 - CONFIDENCE, CONFIDENCE))
    return min(point, float(least)), point, max(point, float(most))


def resamples(count, block):
    """Row numbers of each resample, drawn as blocks of neighbours where rows overlap."""
    block = int(min(max(1, block), max(1, count // 8)))
    rng = np.random.default_rng(0)
    starts = -(-count // block)
    for _ in range(RESAMPLES):
        first = rng.integers(0, count - block + 1, starts)
        yield (first[:, None] + np.arange(block)).ravel()[:count] if block > 1 else first


def drift(reference, predictions):
    """How far the outputs moved, whatever the metric says."""
    gap = np.abs(predictions.astype(np.float64) - reference.astype(np.float64))
    moved = {"max_abs": float(gap.max()), "mean_abs": float(gap.mean())}
    scale = float(np.abs(reference).mean())
    moved["mean_relative"] = float(gap.mean() / scale) if scale else None
    if reference.ndim == 2 and reference.shape[1] > 1:
        moved["argmax_flips"] = float((reference.argmax(1) != predictions.argmax(1)).mean())
    return moved


def score(request, progress):
    """The caller's metric on files of predictions: value and bootstrap bound, for `file.py:function`."""
    from .rows import import_function

    function = import_function(request["file"], request["function"], request["root"])
    y = np.load(request["targets"], allow_pickle=False)
    base = np.load(request["baseline"], allow_pickle=False)
    candidate = np.load(request["predictions"], allow_pickle=False)
    sign = 1.0 if request["higher"] else -1.0
    try:
        began = time.monotonic()
        before, after = float(function(base, y)), float(function(candidate, y))
        two_calls = time.monotonic() - began
        if not request["bound"]:
            return {"baseline": before, "metric": after, "drop": sign * (before - after)}
        drops, ends, same = [], time.monotonic() + SCORE_SECONDS, np.array_equal(base, candidate)
        for i, rows in enumerate(() if same else resamples(len(y), request["block"])):
            if i >= MOST_CALLS or (i >= FEWEST_CALLS and time.monotonic() > ends):  # the function may be slow
                break
            drops.append(
                sign * (float(function(base[rows], y[rows])) - float(function(candidate[rows], y[rows])))
            )
    except Exception as error:  # the caller's code may raise anything
        raise Refused(
            "The metric {} failed".format(request["function"]),
            first_line(error),
            "calling it as f(predictions, y)",
        ) from error
    if not np.isfinite([before, after]).all():
        raise Refused("The metric is not a finite number", f"{before!r} and {after!r}", "another metric")
    point = sign * (before - after)
    bound = point if same else max(point, float(np.percentile(drops, CONFIDENCE)))
    calls = min(MOST_CALLS, max(FEWEST_CALLS, SCORE_SECONDS / max(two_calls, 1e-6)))
    return {
        "baseline": before, "metric": after, "drop": point, "drop_bound": bound, "bound_seconds": calls * two_calls,
    }  # fmt: skip
