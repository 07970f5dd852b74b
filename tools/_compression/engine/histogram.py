"""scikit-learn's histogram gradient boosting as trees in the vocabulary of `trees`; skl2onnx 1.20 fails on them."""

from .refusal import Refused

LINKS = {"squared_error": None, "absolute_error": None, "quantile": None, "poisson": "Exp", "gamma": "Exp"}


def is_histogram(model):
    return type(model).__name__ in ("HistGradientBoostingClassifier", "HistGradientBoostingRegressor")


def read(model, floor):
    """Trees, trees per round, features, link and base values; `floor` rounds a threshold down to a float32."""
    groups = int(model.n_trees_per_iteration_)
    if hasattr(model, "classes_"):
        link = "Sigmoid" if groups == 1 else "Softmax"
    elif model.loss in LINKS:
        link = LINKS[model.loss]
    else:
        raise Refused("No ONNX form of this loss is known", model.loss, ", ".join(LINKS))
    trees = [_node(one.nodes, 0, floor) for iteration in model._predictors for one in iteration]
    base = [float(value) for value in model._baseline_prediction.ravel()]
    return trees, groups, int(model.n_features_in_), link, base


def _node(nodes, index, floor):
    node = nodes[index]
    if node["is_leaf"]:
        return {"leaf": float(node["value"])}
    if node["is_categorical"]:
        raise Refused(
            "Categorical splits have no ONNX form here", "categorical_features", "ordinal or one-hot columns"
        )
    return {
        "feature": int(node["feature_idx"]), "threshold": floor(node["num_threshold"]), "mode": "BRANCH_LEQ",
        "missing": bool(node["missing_go_to_left"]),
        "true": _node(nodes, int(node["left"]), floor), "false": _node(nodes, int(node["right"]), floor),
    }  # fmt: skip
