"""Everything the search stands on: a checked model, split rows, the baseline's predictions and metric."""

import os
import time

import numpy as np

from . import agree, graph, judge, npz, rows, runners, sklearn_jobs, stress
from .refusal import Refused

EVALUATION_BATCH = 64
# What the baseline may take on the rows of each part: seconds, and the share of the search's time.
MOST_SECONDS = {"search": (2.5, 0.02), "confirmation": (8.0, 0.07)}


def prepare(request, progress):
    """Facts of model and rows; the arrays lie in the folder as NAME.PART.npy and baseline.PART.npy."""
    facts = _model_facts(request) if request["artifact"]["runtime"] == "onnxruntime" else _tree_facts(request)
    artifact = {**request["artifact"], "path": facts.pop("path", request["artifact"]["path"])}
    if (jobs := facts.pop("jobs", 1)) > 1:
        artifact["jobs"] = jobs
    rows.check_inputs(npz.outline(request["data"]), facts["inputs"])  # before any row is unpacked
    feeds, y = rows.match_inputs(npz.read(request["data"]), facts["inputs"])
    classes = facts.pop("classes", None)
    y = judge.class_numbers(y, classes) if request["metric"] == "accuracy" else y
    call = runners.load(artifact, request["threads"])
    batch = facts["fixed_batch"] or min(
        EVALUATION_BATCH, int(rows.SHARES[1] * len(y))
    )  # one of search rows at most
    targets, seconds_per_row = _check_outputs(call, feeds, y, batch, request["metric"])
    parts, cut = rows.split(
        feeds, targets, rows.SHARES if request.get("calibrate", True) else rows.TRAINED_SHARES
    )
    parts = _affordable(parts, seconds_per_row, request.get("max_seconds", np.inf))
    reply = {**facts, "artifact": artifact, "evaluation_batch": batch, "cut": cut}
    reply["classes"] = None if classes is None else classes.tolist()
    reply["rows"] = {name: len(index) for name, index in parts.items()}
    _save(request["folder"], feeds, targets, parts)
    _save_timing_rows(request["folder"], feeds, request["batch_sizes"])
    reply["metric"] = {}
    for part in ("search", "confirmation"):
        began = time.perf_counter()
        predictions = _predict(call, _take(feeds, parts[part]), batch)
        _refuse_non_finite(predictions, f"{part} rows")
        reply[f"{part}_seconds"] = time.perf_counter() - began
        np.save(os.path.join(request["folder"], f"baseline.{part}.npy"), predictions)
        if request["metric"] in judge.HIGHER:
            reply["metric"][part] = judge.metric_value(request["metric"], predictions, targets[parts[part]])
    reply["moves_on"] = stress.save(request["folder"], feeds, parts, call, batch, request["metric"])
    reply["size_bytes"] = runners.size_bytes(artifact["path"])
    reply["output_shape"] = list(predictions.shape[1:])
    if request["metric"] in judge.HIGHER:
        reply["constant"] = judge.constant_answer(request["metric"], targets[parts["confirmation"]])
    clipped = _range_warning(feeds, parts) if request.get("calibrate", True) else []  # no int8 is tried then
    reply["warnings"] = (
        clipped + facts["warnings"] + _suspicion(request, reply, targets[parts["confirmation"]])
    )
    return reply


def _suspicion(request, reply, y):
    if request["metric"] not in judge.HIGHER:
        return []
    told = judge.worse_than_constant(request["metric"], reply["metric"]["confirmation"], y)
    return [told] if told else []


def _model_facts(request):
    """Checks, operation counts, and a self-contained copy with a free batch where that can be had."""
    import onnx

    model = graph.read(request["artifact"]["path"])
    inputs = graph.inputs_of(model)
    facts = {"inputs": inputs, "graph": graph.describe(model), "warnings": [], "fixed_batch": None}
    facts["path"] = os.path.join(request["folder"], "model.onnx")
    outputs = [value.name for value in model.graph.output]
    judged = graph.judged_output(model)
    facts["output"] = outputs.index(judged)
    if len(outputs) > 1:
        facts["warnings"].append(f"Of the outputs {', '.join(outputs)} only {judged} is judged")
    _refuse_without_rows(inputs)
    fixed = inputs[0]["shape"][0] if inputs[0]["shape"] else None
    onnx.save(model, facts["path"])
    wanted = set(request["batch_sizes"]) | {EVALUATION_BATCH}
    if isinstance(fixed, int) and wanted != {fixed}:
        if _holds_with_free_batch(model, inputs, fixed, facts["path"], request["threads"]):
            facts["warnings"].append(
                f"The export was fixed to batch {fixed}; the copies made here take any batch"
            )
        elif set(request["batch_sizes"]) == {fixed}:
            facts["fixed_batch"] = fixed
        else:
            raise Refused(
                f"The export is fixed to batch {fixed} and breaks at others",
                "batch_sizes {}".format(request["batch_sizes"]),
                f"batch_sizes [{fixed}], or an export with a dynamic batch",
            )
    return facts


def _refuse_without_rows(inputs):
    """Every input has one entry per row in its first dimension; a state or a sampling rate beside the rows has not."""
    firsts = [spec["shape"][0] if spec["shape"] else None for spec in inputs]
    sizes = {first for first in firsts if isinstance(first, int)}
    if (
        [] in [spec["shape"] for spec in inputs]
        or len(sizes) > 1
        or (sizes and not isinstance(firsts[0], int))
    ):
        raise Refused(
            "The inputs do not share their rows in the first dimension",
            ", ".join("{} {}".format(spec["name"], spec["shape"]) for spec in inputs),
            "an export that takes one entry per row in dimension 0 of every input, with states and settings inside",
        )


def _holds_with_free_batch(model, inputs, fixed, path, threads):
    """Whether the graph, with its batch set free, gives at another batch size what it gives at its own."""
    import onnx

    rng = np.random.default_rng(0)
    once = {s["name"]: _noise(rng, s, fixed) for s in inputs}
    free = graph.free_batch(onnx.ModelProto.FromString(model.SerializeToString()))
    trial = path + ".free.onnx"
    onnx.save(free, trial)
    try:
        before = runners.ort_session(path, threads).run(None, once)[0]
        session = runners.ort_session(trial, threads)
        thrice = session.run(None, {n: np.concatenate([a, a, a]) for n, a in once.items()})[0]
    except Exception:  # onnxruntime's exceptions share no base; any of them means the batch is built in
        os.remove(trial)
        return False
    if thrice.shape != (3 * len(before), *before.shape[1:]) or not np.allclose(
        thrice, np.concatenate([before] * 3), rtol=1e-3, atol=1e-4
    ):
        os.remove(trial)
        return False
    os.replace(trial, path)
    for spec in inputs:
        spec["shape"][0] = "batch"
    return True


def _noise(rng, spec, batch):
    shape = [batch, *[d if isinstance(d, int) else 8 for d in spec["shape"][1:]]]
    return (rng.standard_normal(shape) if spec["dtype"].startswith("float") else np.zeros(shape)).astype(
        spec["dtype"]
    )


def _tree_facts(request):
    from . import trees

    features, classes, about = trees.outline(request["artifact"])
    own = about.get("jobs", set())
    dtype = request["artifact"].get("dtype", "float32")
    inputs = [
        {"name": "x", "dtype": dtype, "shape": ["batch", features], "missing": True}
    ]  # NaN is a value to trees
    return {
        "inputs": inputs,
        "graph": {
            "ops": {},
            "trees": True,
            "boosted": not about,
            "needs_skl2onnx": about.get("needs_skl2onnx"),
            "jobs": sklearn_jobs.worth_trying(own, request["threads"]),
        },
        "jobs": max(own, default=1),
        "warnings": [],
        "fixed_batch": None,
        "classes": classes,
    }


def _check_outputs(call, feeds, y, batch, metric):
    """Targets that fit what the model gives for one batch, and the seconds that it took per row."""
    few = {name: array[:batch] for name, array in feeds.items()}
    taken = []

    def once():
        began = time.perf_counter()
        predictions = _predict(call, few, batch)
        taken.append(time.perf_counter() - began)
        return predictions

    predictions = agree.refuse_random(once)
    _refuse_non_finite(predictions, f"first {len(predictions)} rows")
    whole = np.broadcast_to(predictions[:1], (len(y), *predictions.shape[1:]))
    return judge.check_targets(metric, predictions if len(y) == len(predictions) else whole, y), min(
        taken
    ) / batch


def _refuse_non_finite(predictions, where):
    if not np.isfinite(predictions).all():
        raise Refused("The model's outputs hold NaN or infinity", where, "another checkpoint")


def _predict(call, feeds, batch):
    try:
        return runners.predict(call, feeds, batch)
    except Refused:
        raise
    except Exception as error:  # each runtime raises its own
        raise Refused(
            "The model does not run on the data",
            runners.reason(error),
            "inputs like those it was exported with",
        ) from error


def _affordable(parts, seconds_per_row, max_seconds):
    """Fewer rows where the baseline itself would take too long on all of them; evenly thinned."""
    kept = dict(parts)
    for part, (most, share) in MOST_SECONDS.items():
        seconds = min(most, share * max_seconds)
        kept[part] = rows._thin(parts[part], max(128, int(seconds / seconds_per_row)))
    return kept


def _take(feeds, index):
    return {name: array[index] for name, array in feeds.items()}


def _save(folder, feeds, y, parts):
    for part, index in parts.items():
        np.save(os.path.join(folder, f"y.{part}.npy"), y[index])
        for i, array in enumerate(feeds.values()):
            np.save(os.path.join(folder, f"input{i}.{part}.npy"), array[index])


def _save_timing_rows(folder, feeds, batch_sizes):
    """One batch of real rows per batch size, repeated where there are too few."""
    for batch in batch_sizes:
        for i, array in enumerate(feeds.values()):
            np.save(os.path.join(folder, f"input{i}.batch{batch}.npy"), array[np.arange(batch) % len(array)])


def load_rows(folder, names, part):
    """The feeds of one part, as `prepare` left them."""
    return {n: np.load(os.path.join(folder, f"input{i}.{part}.npy")) for i, n in enumerate(names)}


def _range_warning(feeds, parts):
    found = []
    for name, array in feeds.items():
        if array.dtype.kind != "f":
            continue
        seen, later = (
            array[parts["calibration"]],
            array[np.concatenate([parts["search"], parts["confirmation"]])],
        )
        low, high = float(seen.min()), float(seen.max())
        outside = float(((later < low) | (later > high)).mean())
        if outside > 0.02:
            found.append(
                f"{100 * outside:.0f} % of the values of {name} in later rows lie outside the calibration rows' range "
                f"({low:.3g} to {high:.3g}): static int8 will clip them"
            )
    return found
