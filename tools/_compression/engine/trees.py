"""Boosted trees: read without running code, rewritten as one ONNX tree ensemble.

LightGBM compares in double, ONNX Runtime in float: x <= t holds for a float x exactly when x <= the largest float not
above t, so thresholds are rounded down and rows of float32 take the same path in both.
"""

import os

import numpy as np

from . import histogram, sklearn_jobs
from .refusal import Refused, first_line
from .sklearn_files import load_sklearn

SHARES = {
    "ort_trees_first_75_percent": 0.75,
    "ort_trees_first_50_percent": 0.5,
    "ort_trees_first_25_percent": 0.25,
}
_LINKS = {  # what stands between the sum of the leaves and the prediction
    "regression": None, "regression_l1": None, "huber": None, "fair": None, "quantile": None, "mape": None,
    "binary": "Sigmoid", "cross_entropy": "Sigmoid", "multiclass": "Softmax", "multiclassova": "Sigmoid",
    "poisson": "Exp", "gamma": "Exp", "tweedie": "Exp",
    "reg:squarederror": None, "reg:absoluteerror": None, "reg:pseudohubererror": None, "reg:quantileerror": None,
    "binary:logistic": "Sigmoid", "reg:logistic": "Sigmoid", "multi:softprob": "Softmax",
    "count:poisson": "Exp", "reg:gamma": "Exp", "reg:tweedie": "Exp",
    "lambdarank": None, "rank_xendcg": None, "rank:ndcg": None, "rank:pairwise": None, "rank:map": None,
}  # fmt: skip


def outline(artifact):
    """How many columns a row has, the labels that the columns of the model's scores stand for, where it knows, and
    more about a model of scikit-learn."""
    if artifact["runtime"] == "lightgbm":
        return _lightgbm(artifact["path"]).num_feature(), None, {}
    if artifact["runtime"] == "xgboost":
        booster = _xgboost(artifact["path"])
        _refuse_unlike_trees(_learner(booster))
        return booster.num_features(), None, {}
    model = load_sklearn(artifact["path"], artifact["trust"])
    classes = getattr(model, "classes_", None) if hasattr(model, "predict_proba") else None
    is_one_task = isinstance(classes, np.ndarray) and classes.ndim == 1
    about = {"jobs": sklearn_jobs.jobs_of(model), "needs_skl2onnx": not histogram.is_histogram(model)}
    return int(getattr(model, "n_features_in_", 0)) or None, classes if is_one_task else None, about


def _lightgbm(path):
    import lightgbm

    try:
        return lightgbm.Booster(model_file=path)
    except (lightgbm.basic.LightGBMError, ValueError) as error:  # the second for its JSON parts
        raise Refused(
            "The LightGBM model cannot be read", first_line(error), "model.save_model again"
        ) from error


def _xgboost(path):
    import xgboost

    try:
        return xgboost.Booster(model_file=path)
    except xgboost.core.XGBoostError as error:
        raise Refused(
            "The XGBoost model cannot be read", first_line(error), "model.save_model again"
        ) from error


def _learner(booster):
    import json

    return json.loads(booster.save_config())["learner"]


def _refuse_unlike_trees(learner):
    """Boosters without trees, and those that hand out class numbers where scores are compared."""
    if learner["gradient_booster"]["name"] == "gblinear":
        raise Refused("A linear booster holds no trees", "gblinear", "an ONNX file of the same linear model")
    if learner["learner_train_param"]["objective"] == "multi:softmax":
        raise Refused(
            "multi:softmax gives class numbers without their probabilities", "multi:softmax",
            "booster.set_param({'objective': 'multi:softprob'}), then save_model again",
        )  # fmt: skip


def build(request, variant, target):
    """The model as ONNX, with all of its trees or the first part of them."""
    import onnx

    from . import sklearn_onnx

    artifact = request["baseline"]
    path = os.path.join(target, "model.onnx")
    if artifact["runtime"] == "sklearn":
        onnx.save(sklearn_onnx.convert(load_sklearn(artifact["path"], artifact["trust"])), path)
    else:
        onnx.save(convert(artifact, SHARES.get(variant["name"], 1.0)), path)
    return {"artifact": {"runtime": "onnxruntime", "path": path}}


def convert(artifact, share=1.0):
    """A LightGBM or XGBoost file as an ONNX model; the first `share` of its rounds."""
    read = _read_lightgbm if artifact["runtime"] == "lightgbm" else _read_xgboost
    trees, groups, features, objective, base = read(artifact["path"])
    rounds = max(1, int(len(trees) / groups * share))
    if objective not in _LINKS:
        raise Refused("No ONNX form of this objective is known", objective, "another objective")
    return ensemble(trees[: rounds * groups], groups, features, _LINKS[objective], base)


def _read_lightgbm(path):
    """Trees as nested dicts with a common vocabulary."""
    dump = _lightgbm(path).dump_model()
    if dump.get("average_output"):
        raise Refused("A LightGBM random forest averages its trees; no ONNX form is made", path, "boosting")
    objective = str(dump.get("objective", "regression")).split(" ")
    if "sqrt" in objective or any(o.startswith("sigmoid:") and float(o[8:]) != 1 for o in objective):
        raise Refused("No ONNX form of this objective is known", " ".join(objective), "another objective")
    trees = [_lightgbm_node(info["tree_structure"]) for info in dump["tree_info"]]
    groups = int(dump.get("num_tree_per_iteration", 1))
    return trees, groups, dump["max_feature_idx"] + 1, objective[0], [0.0] * groups


def _lightgbm_node(node):
    if "leaf_value" in node and "split_feature" not in node:
        if node.get("leaf_coeff"):
            raise Refused("Linear leaves have no ONNX form", "linear_tree", "linear_tree: false")
        return {"leaf": float(node["leaf_value"])}
    if node["decision_type"] != "<=":
        raise Refused(
            "Categorical splits have no ONNX form here", node["decision_type"], "one-hot or ordinal columns"
        )
    threshold = floor_float32(node["threshold"])
    below = bool(threshold >= 0.0)
    left_if_missing = bool(node["default_left"]) if node["missing_type"] == "NaN" else below
    if node["missing_type"] == "Zero" and below != bool(node["default_left"]):
        raise Refused(
            "zero_as_missing has no ONNX form here", f"split at {threshold:g}", "zero_as_missing: false"
        )
    return {
        "feature": int(node["split_feature"]), "threshold": threshold, "mode": "BRANCH_LEQ", "missing": left_if_missing,
        "true": _lightgbm_node(node["left_child"]), "false": _lightgbm_node(node["right_child"]),
    }  # fmt: skip


def floor_float32(value):
    rounded = np.float32(value)
    return float(rounded if float(rounded) <= value else np.nextafter(rounded, np.float32(-np.inf)))


def _read_xgboost(path):
    import json

    booster = _xgboost(path)
    config = _learner(booster)
    objective = config["learner_train_param"]["objective"]
    sizes = config["learner_model_param"]
    groups = max(1, int(sizes.get("num_class", "0")), int(sizes.get("num_target", "1")))
    text = str(config["learner_model_param"]["base_score"]).strip("[]")
    scores = [float(part) for part in text.split(",")]
    base = [_margin(scores[i % len(scores)], objective) for i in range(groups)]
    booster.feature_names = None  # the columns' numbers stand for them in the dump
    dumped = booster.get_dump(dump_format="json")
    saved = json.loads(booster.save_raw("json"))["learner"]["gradient_booster"]
    shares = saved.get("weight_drop", [1.0] * len(dumped))
    trees = [_xgboost_node(json.loads(tree), share) for tree, share in zip(dumped, shares)]
    order = saved.get("gbtree", saved)["model"]["tree_info"]
    if order != [i % groups for i in range(len(dumped))]:
        raise Refused(
            "Several trees per round and class have no ONNX form here", f"{len(dumped)} trees", "boosting"
        )
    return trees, groups, booster.num_features(), objective, base


def _margin(score, objective):
    if _LINKS.get(objective) == "Sigmoid":
        return float(np.log(score / (1 - score)))
    return float(np.log(score)) if _LINKS.get(objective) == "Exp" else score


def _xgboost_node(node, share):
    """A node as a nested dict; `share` is what dropout left of the tree's weight (dart)."""
    if "leaf" in node:
        if isinstance(node["leaf"], list):
            raise Refused("Leaves of several targets have no ONNX form here", "multi_output_tree", "boosting")
        return {"leaf": float(node["leaf"]) * share}
    children = {child["nodeid"]: child for child in node["children"]}
    if not isinstance(node["split_condition"], (int, float)):
        raise Refused(
            "Categorical splits have no ONNX form here", node["split"], "one-hot or ordinal columns"
        )
    return {
        "feature": int(node["split"][1:]), "threshold": float(node["split_condition"]), "mode": "BRANCH_LT",
        "missing": node["missing"] == node["yes"],
        "true": _xgboost_node(children[node["yes"]], share), "false": _xgboost_node(children[node["no"]], share),
    }  # fmt: skip


def ensemble(trees, groups, features, link, base):
    """The trees in the arrays of TreeEnsembleRegressor, followed by the link."""
    from onnx import TensorProto, helper

    columns = {
        name: []
        for name in ("treeids", "nodeids", "featureids", "values", "modes", "truenodeids", "falsenodeids")
    }
    tracks, target = [], {"treeids": [], "nodeids": [], "ids": [], "weights": []}
    for number, tree in enumerate(trees):
        for index, node, true, false in _flatten(tree):
            leaf = "leaf" in node
            row = (
                number,
                index,
                node.get("feature", 0),
                node.get("threshold", 0.0),
                node.get("mode", "LEAF"),
                true,
                false,
            )
            for name, value in zip(columns, row):
                columns[name].append(value)
            tracks.append(0 if leaf else int(node["missing"]))
            if leaf:
                for name, value in zip(target, (number, index, number % groups, node["leaf"])):
                    target[name].append(value)
    out = "raw" if link else "output"
    attributes = {"nodes_" + name: values for name, values in columns.items()}
    attributes.update({"target_" + name: values for name, values in target.items()})
    nodes = [helper.make_node(
        "TreeEnsembleRegressor", ["x"], [out], domain="ai.onnx.ml", n_targets=groups, base_values=base,
        nodes_missing_value_tracks_true=tracks, **attributes,
    )]  # fmt: skip
    if link:
        nodes.append(helper.make_node(link, [out], ["output"], **({"axis": 1} if link == "Softmax" else {})))
    graph = helper.make_graph(
        nodes, "trees", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", features])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch", groups])],
    )  # fmt: skip
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)], ir_version=9
    )


def with_two_columns(model):
    """The model with both classes' probabilities as its output, where it gave the second one's only."""
    from onnx import helper, numpy_helper

    graph = model.graph
    graph.node[-1].output[0] = "second"
    graph.initializer.append(numpy_helper.from_array(np.array(1, dtype=np.float32), "one"))
    graph.node.append(helper.make_node("Sub", ["one", "second"], ["first"]))
    graph.node.append(helper.make_node("Concat", ["first", "second"], ["output"], axis=1))
    graph.output[0].type.tensor_type.shape.dim[1].dim_value = 2
    return model


def _flatten(tree):
    """(number, node, number if true, number if false) in depth-first order, without recursion limits."""
    rows, stack, count = [], [(tree, None, None)], 0
    while stack:
        node, parent, side = stack.pop()
        rows.append([count, node, 0, 0])
        if parent is not None:
            rows[parent][side] = count
        if "leaf" not in node:
            stack += [(node["false"], count, 3), (node["true"], count, 2)]
        count += 1
    return rows
