"""A scikit-learn model runs with its own number of jobs, beside itself with the threads that were asked for."""

import importlib
import pickle
from pathlib import Path
from types import SimpleNamespace

import pytest
from optimizing_resources.tools._compression.choose import Outcome
from optimizing_resources.tools._compression.interpreters import Interpreter
from optimizing_resources.tools._compression.plan import Target, make_plan
from optimizing_resources.tools._compression.search import Metric
from optimizing_resources.tools._compression.table import summarise

np = pytest.importorskip("numpy")
ensemble = pytest.importorskip("sklearn.ensemble")
joblib = pytest.importorskip("joblib")
GRAPH = {"trees": True, "boosted": False, "jobs": [1], "needs_skl2onnx": True}


def engine(name):
    return importlib.import_module(f"optimizing_resources.tools._compression.engine.{name}")


@pytest.fixture
def voting():
    """Two forests behind a pipeline; the fitted ones are out of the reach of get_params."""
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x = np.random.default_rng(0).standard_normal((200, 4)).astype("float32")
    forests = [(f"f{jobs}", ensemble.RandomForestClassifier(4, n_jobs=jobs)) for jobs in (None, 2)]
    model = make_pipeline(StandardScaler(), ensemble.VotingClassifier(forests, voting="soft", n_jobs=2))
    return model.fit(x, x[:, 0] > 0), x


@pytest.mark.parametrize("compress", [0, 3])
def test_the_same_model_with_another_number_of_jobs_inside_everything_it_is_made_of(
    tmp_path, voting, compress
):
    model, x = voting
    source, target = tmp_path / "model.pkl", tmp_path / "target"
    target.mkdir()
    joblib.dump(model, source, compress=compress)
    baseline = {"runtime": "sklearn", "path": str(source), "trust": True}
    columns, _, about = engine("trees").outline(baseline)
    assert (columns, about) == (4, {"jobs": {1, 2}, "needs_skl2onnx": True})

    built = engine("sklearn_jobs").build({"baseline": baseline}, {"jobs": 1}, str(target))["artifact"]
    again = joblib.load(built["path"])
    fitted = [again, *(forest for forest in again[-1].estimators_)]
    assert {f.n_jobs for f in [*fitted[1:], again[-1]]} == {1} and engine("trees").outline(built)[2][
        "jobs"
    ] == {1}
    loaded = engine("runners").load(built, 1)({"x": x})
    assert np.allclose(loaded, model.predict_proba(x), rtol=0, atol=1e-12)
    if not compress:  # a plain pickle stays one
        pickle.loads(Path(built["path"]).read_bytes())


@pytest.mark.parametrize(
    ("own", "threads", "tried"),
    [
        ({2}, 1, [1]),
        ({1}, 1, []),
        ({2}, 2, [1]),
        ({1}, 4, [4]),
        ({1, 2}, 1, [1]),
        ({8}, 4, [1, 4]),
        (set(), 4, []),
    ],
)
def test_numbers_of_jobs_that_the_model_does_not_run_with(own, threads, tried):
    assert engine("sklearn_jobs").worth_trying(own, threads) == tried


def test_jobs_of_the_model_count_as_threads_where_times_are_compared():
    most = engine("measure")._most_threads
    assert most({"threads": 1, "baseline": {"jobs": 2}}) == 2 and most({"threads": 1, "baseline": {}}) == 1


def test_a_missing_package_is_named_with_its_command_and_free_speed_beside_the_chosen_file():
    def plan(**modules):
        return make_plan(GRAPH, Target("avx2", has_bf16=False), Interpreter(Path("py"), modules), [], False)

    lacking = plan()
    assert [v.name for v in lacking.variants] == ["sklearn_n_jobs_1"]
    assert lacking.missing == {"ort_sklearn": "py -m pip install skl2onnx"}
    assert [v.name for v in plan(skl2onnx="1").variants] == ["sklearn_n_jobs_1", "ort_sklearn"]

    def row(speed, **more):
        judged = {"ratio": {"1": speed}, "drop": 0.0, "drop_bound": 0.0, "drift": {"max_abs": 0.0}}
        return {**judged, "status": "", "artifact": more}

    search = SimpleNamespace(
        rows={
            "ort_sklearn": row(20.0), "sklearn_n_jobs_1": row(11.0, jobs=1),
            "other": {"status": "skipped", "install": "py -m pip install other"},
        },
        metric=Metric("accuracy", True, {"share": 0.01}),
    )  # fmt: skip
    onnx = summarise(search, Outcome("ort_sklearn", {"1": "ort_sklearn"}, 0.03, {}), 0.9)
    assert onnx.startswith("Use ort_sklearn: 20.00x")
    assert (
        "n_jobs=1 alone gives 11.00x at batch 1, same outputs" in onnx and "py -m pip install other" in onnx
    )
    same = summarise(search, Outcome("sklearn_n_jobs_1", {"1": "sklearn_n_jobs_1"}, 0.03, {}), 0.9)
    assert same.startswith("Set n_jobs=1 (sklearn_n_jobs_1, otherwise the same model, same outputs): 11.00x")
    assert "alone" not in same
