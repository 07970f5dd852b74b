"""Trees as ONNX give what their own library gives, missing values included."""

import importlib

import pytest

np = pytest.importorskip("numpy")
ensemble = pytest.importorskip("sklearn.ensemble")
onnxruntime = pytest.importorskip("onnxruntime")
onnx = pytest.importorskip("onnx")


@pytest.mark.parametrize("classes", [0, 2, 3])
def test_histogram_gradient_boosting_survives_the_conversion(classes):
    sklearn_onnx = importlib.import_module("optimizing_resources.tools._compression.engine.sklearn_onnx")
    rng = np.random.default_rng(0)
    x = rng.standard_normal((400, 6)).astype("float32")
    y = x[:, 0] + 0.1 * rng.standard_normal(400)
    x[rng.random(x.shape) < 0.05] = np.nan
    if classes:
        y = np.digitize(y, np.quantile(y, np.linspace(0, 1, classes + 1)[1:-1]))
    make = ensemble.HistGradientBoostingClassifier if classes else ensemble.HistGradientBoostingRegressor
    model = make(max_iter=8).fit(x, y)
    predict = model.predict_proba if classes else lambda rows: model.predict(rows)[:, None]
    assert np.allclose(run(sklearn_onnx.convert(model), x), predict(x), atol=1e-5)

    # behind a step that was written for an older version of ONNX, as in a pipeline
    helper = onnx.helper
    ends = [helper.make_tensor_value_info(name, 1, ["batch", 6]) for name in ("x", "y")]
    step = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "step", ends[:1], ends[1:])
    pre = helper.make_model(step, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    chained = sklearn_onnx._one_after_the_other(pre, sklearn_onnx.convert(model))
    assert np.allclose(run(chained, x), predict(2 * x), atol=1e-5)


def run(model, x):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


def test_a_missing_value_is_a_value_to_trees_and_a_fault_to_networks():
    rows = importlib.import_module("optimizing_resources.tools._compression.engine.rows")
    refusal = importlib.import_module("optimizing_resources.tools._compression.engine.refusal")
    x = np.where(np.eye(30, 4) > 0, np.nan, 1.0).astype("float32")
    spec = {"name": "x", "dtype": "float32", "shape": ["batch", 4]}
    assert np.isnan(rows.match_inputs({"x": x, "y": x[:, 0]}, [{**spec, "missing": True}])[0]["x"]).any()
    for bad, settings in ((x, spec), (np.where(np.isnan(x), np.inf, x), {**spec, "missing": True})):
        with pytest.raises(refusal.Refused, match="NaN or infinity"):
            rows.match_inputs({"x": bad, "y": np.zeros(30)}, [settings])


@pytest.mark.parametrize(
    "settings",
    [
        {"objective": "binary:logistic", "booster": "dart", "rate_drop": 0.5},
        {"objective": "binary:logistic", "num_parallel_tree": 3, "subsample": 0.7},
        {"objective": "multi:softprob", "num_class": 3},
        {"objective": "rank:pairwise"},
    ],
)
def test_a_booster_of_any_kind_gives_the_same_as_onnx(settings, tmp_path):
    xgboost = pytest.importorskip("xgboost")
    trees = importlib.import_module("optimizing_resources.tools._compression.engine.trees")
    x = np.random.default_rng(0).standard_normal((300, 5)).astype("float32")
    y = np.digitize(x[:, 0], [0.0, 0.7]) if "num_class" in settings else (x[:, 0] > 0).astype(int)
    booster = xgboost.train({"nthread": 1, **settings}, xgboost.DMatrix(x, y), 6)
    booster.save_model(tmp_path / "model.json")
    content = trees.convert({"runtime": "xgboost", "path": str(tmp_path / "model.json")}).SerializeToString()
    found = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
    assert np.allclose(found, booster.inplace_predict(x).reshape(found.shape), atol=1e-5)


def test_named_columns_and_several_targets_of_xgboost_are_read_by_their_place(tmp_path):
    xgboost = pytest.importorskip("xgboost")
    trees = importlib.import_module("optimizing_resources.tools._compression.engine.trees")
    x = np.random.default_rng(0).standard_normal((300, 3)).astype("float32")
    rows = xgboost.DMatrix(x, np.c_[x[:, 0], x[:, 1] * x[:, 2]], feature_names=["price", "f9", "age"])
    booster = xgboost.train({"nthread": 1, "base_score": 0.2}, rows, 6)
    booster.save_model(tmp_path / "model.ubj")
    artifact = {"runtime": "xgboost", "path": str(tmp_path / "model.ubj")}
    content = trees.convert(artifact).SerializeToString()
    found = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
    assert np.allclose(found, booster.inplace_predict(x), atol=1e-5)


@pytest.mark.parametrize("labels", [["no", "yes"], [-1, 1]])
def test_labels_are_those_of_the_classifier_whatever_they_are(labels, monkeypatch):
    linear = pytest.importorskip("sklearn.linear_model")
    trees, judge = (
        importlib.import_module(f"optimizing_resources.tools._compression.engine.{name}")
        for name in ("trees", "judge")
    )
    x = np.random.default_rng(0).standard_normal((200, 3))
    y = np.array(labels)[(x[:, 0] > 0).astype(int)]
    model = linear.LogisticRegression().fit(x, y)
    monkeypatch.setattr(trees, "load_sklearn", lambda path, trust: model)
    columns, classes, _ = trees.outline({"runtime": "sklearn", "path": "", "trust": False})
    assert columns == 3 and np.array_equal(judge.class_numbers(y, classes), x[:, 0] > 0)
    places = np.arange(200) % 2
    assert judge.class_numbers(places, classes) is places and judge.class_numbers(y, None) is y
    alone = np.array([-1, 1, 1])  # what a model without scores hands out
    assert np.array_equal(judge.check_targets("accuracy", alone, alone), alone)
